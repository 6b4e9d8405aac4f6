from __future__ import annotations

from pathlib import Path

import pytest

from serving.server import triton
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


def test_without_the_library_that_hands_it_over_no_server_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TRITON_KEY", tmp_path / "absent.so")
    with pytest.raises(ToolError, match=r"absent\.so"):
        triton.start_process([], "key")


def test_a_server_without_any_key_ends_at_once() -> None:
    process = triton.start_process(["--help"], "")
    assert process.stdout
    process.stdout.close()
    assert process.wait(10) == 70
