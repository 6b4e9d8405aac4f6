"""The server of a benchmark: open for shared memory, and fixed after a load that broke it."""

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
# `slipway serve` keeps this API closed, because a client could read any region. The server of a
# benchmark is on loopback, and up for the benchmark alone.
_CLOSED = tuple(api for api in control.CLOSED if api != "shared-memory")


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
    """A running server of the benchmark's repository; `fix` may replace `server` by another."""

    repository: Path
    server: Server
    clock: Clock
    processes: list[psutil.Process]  # of the server

    def fix(self) -> None:
        """Start a server again that is gone, or load the models again whose Python process is gone.

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
def bench_server(repository: Path, clock: Clock) -> Iterator[BenchServer]:
    """Run a server of the repository for the block; its log lies beside the repository.

    Raises as triton.start.
    """
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
