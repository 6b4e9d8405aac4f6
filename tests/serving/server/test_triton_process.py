from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from serving.server import control, triton
from slipway import tools
from slipway.errors import ServerError, ToolError
from tests.support.serving import tiny_repository


def test_a_server_that_was_not_handed_its_key_is_not_called_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key would be the placeholder, which everyone can read."""
    idle = next(tools.TRITON_LIBRARIES.glob("libb64*"))
    monkeypatch.setattr(tools, "TRITON_KEY", idle)
    run = tiny_repository.sleepers(tmp_path / "run", ("one",))
    with pytest.raises(ServerError, match="Triton did not take its key"), triton.running(run / "model_repository"):
        pass


def test_a_path_that_a_shell_would_take_apart_is_served_and_nothing_of_it_run(tmp_path: Path) -> None:
    """Triton's Python backend quotes nothing; and the path may be relative."""
    run = tiny_repository.sleepers(tmp_path / "my $(touch ran) 'größe'; `touch ran`", ("one",))
    (tmp_path / "cwd").mkdir()
    with contextlib.chdir(tmp_path / "cwd"):
        repository = Path("..") / run.name / "model_repository"
        with triton.running(repository) as server:
            assert control.ready(server.http, server.key) == {("one", "1")}
        assert list(Path.cwd().iterdir()) == []
    assert not list(Path("/dev/shm").glob(f"{server.shared_memory}*"))


def test_without_the_library_that_hands_it_over_no_server_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TRITON_KEY", tmp_path / "absent.so")
    with pytest.raises(ToolError, match=r"absent\.so"):
        triton.start_process([], "key")


def test_a_server_without_any_key_ends_at_once() -> None:
    process = triton.start_process(["--help"], "")
    assert process.stdout
    process.stdout.close()
    assert process.wait(10) == 70
