from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from serving.server import control, triton
from slipway import tools
from slipway.contract import manifest
from slipway.contract.records import HOST, REPOSITORY
from slipway.errors import ManifestError, ServerError, ToolError
from tests.support import clock
from tests.support.experiments import Experiment
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_no_region_and_no_log_of_a_server(tmp_path: Path) -> None:
    run = tiny_repository.sleepers(tmp_path / "run", ("one",))
    with triton.running(run / "model_repository") as server:
        regions = list(Path("/dev/shm").glob(f"{server.shared_memory}*"))
        assert regions
        assert read_by_nobody([*regions, server.log]) == []
        server.log.chmod(0o644)
        assert read_by_nobody([server.log]) == [server.log]  # or this would not show anything


def read_by_nobody(paths: Iterable[Path]) -> list[Path]:
    """Those that user 65534 can open; by descriptor, as the directories above are closed too."""
    read = []
    for path in paths:
        with path.open("rb") as file:
            command = ["head", "--bytes=1", f"/proc/self/fd/{file.fileno()}"]
            done = subprocess.run(
                command, pass_fds=[file.fileno()], user=65534, group=65534, extra_groups=[], capture_output=True, check=False
            )
        if done.returncode == 0:
            read.append(path)
    return read


def test_without_the_library_that_hands_it_over_no_server_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TRITON_KEY", tmp_path / "absent.so")
    with pytest.raises(ToolError, match=r"absent\.so"):
        triton.start_process([], "key")


def test_a_server_without_any_key_ends_at_once() -> None:
    process = triton.start_process(["--help"], "")
    assert process.stdout
    process.stdout.close()
    assert process.wait(10) == 70


@pytest.mark.experiment("incomplete versions")
@pytest.mark.parametrize("empty", ["one/2", "three", "one/1/assets"])
def test_an_empty_directory_is_refused_by_name_before_triton_is_asked(tmp_path: Path, empty: str, experiment: Experiment) -> None:
    """Triton waits for ever for the model of an empty version."""
    repository = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository"
    (repository / empty).mkdir()
    with clock.running() as seconds:
        started = seconds()
        with pytest.raises(ManifestError, match=empty), triton.running(repository):
            pass
        experiment.measure(f"with {empty} empty, refused after", seconds() - started, "s", at_most=1)
    assert not (tmp_path / "run" / f"triton.{os.getpid()}.log").exists()  # nothing was started


@pytest.mark.experiment("incomplete versions")
def test_an_empty_version_that_was_sealed_so_is_refused_too(tmp_path: Path) -> None:
    repository = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository"
    (repository / "one" / "2").mkdir()
    manifest.seal(repository, REPOSITORY, {})
    with pytest.raises(ManifestError, match="one/2"), triton.running(repository):
        pass


def test_more_clients_than_the_soft_limit_on_open_files_harm_nobody(tmp_path: Path) -> None:
    repository = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1024:
        pytest.skip(f"the hard limit on open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with triton.running(repository) as server, contextlib.ExitStack() as idle:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(300):
                client = idle.enter_context(socket.create_connection((HOST, server.ports.http)))
                client.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert control.ready(server.http, server.key) == {("one", "1")}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
