"""The server of a benchmark: it opens what shared memory needs, and what a load broke is fixed before the next."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from serving import busy_machine, control, loopback, supervisor, triton
from serving.triton import Server

_RELOADED_WITHIN = 60  # s
# `make serve` keeps this API closed: a client could read any region. This server is up for a benchmark, on loopback.
_CLOSED = tuple(one for one in control.CLOSED if one != "shared-memory")


@dataclass
class Clock:
    """Seconds that are not the harness's: spent in what is measured, or on starting it."""

    seconds: float = 0.0

    @contextmanager
    def stopped(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - started


@dataclass
class BenchServer:
    """`server` is another one after a `fix`."""

    repository: Path
    server: Server
    clock: Clock
    processes: list[psutil.Process]  # all of the server's

    def fix(self) -> None:
        """After a failure: a server that is gone is started again, a model whose Python process is gone loaded anew.

        Raises ServerError when the server does not start.
        """
        with self.clock.stopped():
            if self.server.process.poll() is not None:
                triton.stop(self.server)  # what it left behind
                self.server = _start(self.repository)
            else:
                with contextlib.suppress(OSError):  # it will fail again, and its row says why
                    for model in supervisor.lost(self.server):
                        control.reload(self.server.grpc, self.server.key, model, _RELOADED_WITHIN)
        self.processes = busy_machine.tree(self.server.process.pid)


@contextmanager
def running(repository: Path, clock: Clock) -> Iterator[BenchServer]:
    """A server of the repository for the block; its log lies beside the repository. Raises as triton.start."""
    with clock.stopped():
        server = _start(repository)
    bench = BenchServer(repository, server, clock, busy_machine.tree(server.process.pid))
    try:
        yield bench
    finally:
        with clock.stopped():
            triton.stop(bench.server)


def _start(repository: Path) -> Server:
    log = repository.parent / "triton.log"
    return triton.start(repository, loopback.free_ports(), log, control.new_key(), closed=_CLOSED)
