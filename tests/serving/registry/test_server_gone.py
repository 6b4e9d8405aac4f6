"""A server that requests end again and again keeps nobody from going back, and a half-given answer
ends nobody who looks after it.
"""

from __future__ import annotations

import argparse
import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.registry import commands, promotion, rollout
from serving.registry.registry import (
    Compiled,
    LockedError,
    Origin,
    Registry,
    add_version,
    make_active,
    promoted,
    publishing_lock,
    read_published,
    rolled_back,
)
from serving.registry.rollout import RunningServer
from serving.server import control, triton
from slipway.contract.records import HOST, TEXT_MODEL
from slipway.errors import PublishingError, ServerError
from tests.support.serving import tiny_repository


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Version 2 is active, and version 1 was before."""
    registry = Registry(tmp_path / "model_repository")
    directory = tiny_repository.sleepers(tmp_path / "run", (TEXT_MODEL,)) / "model_repository"
    for _ in range(2):
        add_version(registry, Compiled(directory, Origin("run", "", "", {}, {TEXT_MODEL: "none"}, ["no", "yes"])))
    make_active(registry, promoted(read_published(registry), 2))
    registry.state.mkdir(parents=True)
    return registry


@contextmanager
def no_answer(registry: Registry) -> Iterator[RunningServer]:
    """Have a server on record that has just ended, as its supervisor has."""
    ports = triton.free_ports()
    server = RunningServer(f"{HOST}:{ports.http}", f"{HOST}:{ports.grpc}", control.new_key(), standby=True)
    with control.record(registry.state, server.to_json()):
        yield server


@contextmanager
def answering(page: str, length: int) -> Iterator[str]:
    """Serve a page that promises `length` bytes; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_rollback_goes_without_a_server_that_does_not_answer(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    with no_answer(registry) as server:
        assert commands.rollback(argparse.Namespace(repository=registry.repository)) == 0
    assert read_published(registry).active == 1
    assert not rollout.is_unfinished(registry)
    assert f"{server.http} does not answer" in capsys.readouterr().out


def test_a_server_that_ends_in_a_rollback_does_not_undo_it(registry: Registry) -> None:
    before = read_published(registry)
    with no_answer(registry) as server:
        assert not rollout.roll_back(server, registry, before, rolled_back(before))
    assert read_published(registry).active == 1
    assert not rollout.is_unfinished(registry)


def test_promote_without_an_answer_names_rollback(registry: Registry) -> None:
    with no_answer(registry), pytest.raises(ServerError) as raised, rollout.running_or_own_server(registry):
        pass
    assert "rollback" in raised.value.fix


def test_a_standby_that_does_not_load_is_no_failure_of_the_promotion(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with no_answer(registry) as server:
        promotion._keep_standby(server, registry, read_published(registry))
    assert "version 1 is not loaded yet" in capsys.readouterr().out


@pytest.mark.parametrize(("page", "length"), [("[{", 100), ("[{", 2)], ids=["cut off", "no JSON"])
def test_half_an_index_is_no_answer(page: str, length: int) -> None:
    with answering(page, length) as http, pytest.raises(ServerError, match="does not answer"):
        RunningServer(http, http, "").served_versions()


def test_a_server_that_is_killed_amid_its_first_answer_is_a_server_error() -> None:
    with answering("[{", 100) as http, pytest.raises(ServerError):
        triton._check_key(SimpleNamespace(http=http, key=""))


@pytest.mark.parametrize(("served", "cut_off"), [("", False), ("2", False), ("1", True)])
def test_a_model_that_is_missing_for_a_moment_is_no_promotion_that_was_cut_off(
    registry: Registry, served: str, cut_off: bool
) -> None:
    state = "READY" if served else "UNAVAILABLE"
    page = f'[{{"name": "{TEXT_MODEL}", "version": "{served or 2}", "state": "{state}"}}]'
    with answering(page, len(page)) as http:
        assert rollout.is_cut_off(RunningServer(http, http, ""), registry, read_published(registry)) is cut_off


def test_who_looks_at_the_lock_for_a_moment_is_no_other_publisher(registry: Registry) -> None:
    with publishing_lock(registry):  # leaves its own process behind, as somebody in the lock
        pass
    with (registry.state / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        with publishing_lock(registry):
            pass
        timer.join()


def test_a_keeper_that_hangs_is_not_waited_for_until_it_ends(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.registry.registry._WAITED", 0.1)
    started = time.monotonic()
    with (
        publishing_lock(registry, keeper=True),
        pytest.raises(LockedError, match="the registry's server is loading") as raised,
        publishing_lock(registry),
    ):
        pass
    assert time.monotonic() - started < 30
    assert "until it has ended" not in raised.value.fix


@pytest.mark.parametrize("gone", [True, False])
def test_what_fails_because_the_server_ended_is_done_as_soon_as_it_is_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    looks: list[int] = []

    def look_after(*_: object) -> None:
        looks.append(1)
        raise PublishingError("it does not load", expected="it loads", found="Socket closed", where="there", fix="again")

    monkeypatch.setattr(rollout, "_look_after", look_after)
    monkeypatch.setattr(rollout, "_LOOK_EVERY", 0.01)
    said: list[str] = []
    with answering("[]", 2) as http, no_answer(registry) as server:
        monkeypatch.setattr(rollout, "running_server", lambda _: server if gone else RunningServer(http, http, ""))
        with rollout.keeper(registry, said.append):
            time.sleep(1)
    assert (len(looks) > 1, bool(said)) == (gone, not gone)
