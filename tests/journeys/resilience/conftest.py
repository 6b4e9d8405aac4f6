"""A run that `slipway serve` serves as a user does, with its front, and the innocent clients: they
ask what they know the answer of, while something happens to the server or somebody else asks badly.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from serving.server import triton
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS, Options
from slipway.contract import bundle
from slipway.contract.records import HOST, Ports
from slipway.errors import ServerError
from tests.support import clock
from tests.support.command import CHECKOUT
from tests.support.experiments import Experiment

_READY_WITHIN, _STOPPED_WITHIN = 120, 30  # seconds
_TEXTS = 64  # that innocents ask
_PAUSE = 0.01  # seconds between two requests of an innocent: the others want a core, too
_LEFT_OUT = shutil.ignore_patterns("triton.log*", "serving.json", "triton.*.log")


@dataclass(frozen=True)
class Served:
    """A run that `slipway serve` serves in a process of its own, until the test ends it."""

    run: Path  # a copy
    port: int
    process: psutil.Popen
    said: Path  # what it has printed

    def address(self, protocol: str) -> str:
        """Return the front's address for a protocol, as the client takes it."""
        return f"{protocol}://{HOST}:{self.port + PROTOCOLS.index(protocol)}"

    def triton(self) -> psutil.Process:
        """Return the living Triton."""
        [server] = [child for child in self.process.children() if child.name() == "tritonserver"]
        return server

    def wait(self, holds: Callable[[], bool], within: float) -> float:
        """Return after how many seconds something holds; AssertionError if not `within` so many."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < within, self.said.read_text()
            time.sleep(0.02)
        return time.monotonic() - began


def served_run(finished: Path, directory: Path) -> Path:
    """Copy a run into the directory, as links where that can be: serving writes into it."""

    def link(source: str, target: str) -> str:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)
        return target

    return Path(shutil.copytree(finished, directory / "run", copy_function=link, ignore=_LEFT_OUT))


@contextmanager
def serving(run: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Serve a run by the command that a person types; stop it in the end, if a test did not."""
    said, port = run.parent / "said", _free_port()
    command = [sys.executable, "-m", "slipway.cli", "serve", str(run), "--port", str(port), *flags]
    with said.open("wb") as file:
        process = psutil.Popen(command, cwd=CHECKOUT, env={**os.environ, **(environment or {})}, stdout=file, stderr=file)
    served = Served(run, port, process, said)
    try:
        served.wait(lambda: "stop it" in said.read_text() or process.poll() is not None, _READY_WITHIN)
        assert process.poll() is None, said.read_text()
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(_STOPPED_WITHIN)
        if process.poll() is None:
            process.kill()
            process.wait()


def _free_port() -> int:
    while True:
        port = triton.free_ports().http
        with contextlib.suppress(ServerError):
            triton.check_ports(Ports(port - 2, port - 1, port))
            return port


@pytest.fixture(scope="module")
def run_to_serve(request: pytest.FixtureRequest) -> Path:
    """The user's run of --served-run, or the suite's tiny one. Read only."""
    given: Path | None = request.config.getoption("--served-run")
    finished: Path = given.absolute() if given else request.getfixturevalue("finished_run")
    return finished


@pytest.fixture(scope="module")
def served(run_to_serve: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for the tests of a module, which leave it serving."""
    with serving(served_run(run_to_serve, tmp_path_factory.mktemp("served"))) as running:
        yield running


@dataclass
class Innocents:
    """What clients saw who asked nothing but what they know the answer of."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)  # why, of each request
    slowest: float = 0.0  # seconds, without those in which the machine stood still
    longest_gap: float = 0.0  # seconds between two right answers of one client
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, failure: str | None, seconds: float, gap: float) -> None:
        with self._lock:
            self.asked += 1
            self.slowest, self.longest_gap = max(self.slowest, seconds), max(self.longest_gap, gap)
            if failure is not None:
                self.failed.append(failure)

    def measure(self, experiment: Experiment, *, failed_percent: float = 0.0, slowest: float | None = None) -> None:
        """Record what they saw, and hold it to the limits: percent of requests, and seconds."""
        experiment.log("innocents", asked=self.asked, failed=len(self.failed), examples=sorted(set(self.failed))[:5])
        experiment.measure("requests of innocent clients", self.asked, at_least=1)
        experiment.measure("of these failed", 100 * len(self.failed) / self.asked, "%", at_most=failed_percent)
        experiment.measure("slowest of these", self.slowest, "s", at_most=slowest)


Crowd = Callable[..., contextlib.AbstractContextManager[Innocents]]


@pytest.fixture(scope="module")
def innocents(served: Served) -> Crowd:
    """Clients of `served`: `with innocents(retries=3) as crowd: …`; what they saw is whole after
    the block.
    """
    asked = known(served.run)

    @contextmanager
    def crowd(clients: int = 4, retries: int = 0, deadline: float = 20.0) -> Iterator[Innocents]:
        addresses = [served.address(protocol) for protocol in PROTOCOLS]
        with asking(addresses, asked, clients, Options(deadline=deadline, retries=retries)) as seen:
            yield seen

    return crowd


def known(run: Path) -> list[tuple[str, str]]:
    """Return golden texts with their labels: those about which the reference is surest, so that a
    quantized model answers them as it does.
    """
    source = bundle.load(run / "bundle")
    golden = bundle.load_golden(source)
    two = np.sort(golden.logits, axis=1)[:, -2:]
    surest = np.argsort(two[:, 0] - two[:, 1], kind="stable")[:_TEXTS]
    return [(golden.texts[row], source.labels[int(golden.logits[row].argmax())]) for row in surest]


@contextmanager
def asking(addresses: Sequence[str], texts: list[tuple[str, str]], clients: int, options: Options) -> Iterator[Innocents]:
    """Let as many clients, in turn of each address, ask for the block, each in a thread of its own.

    The block begins once each has had its first answer, and may read what they have seen by then.
    """
    seen, stop, began = Innocents(), threading.Event(), threading.Barrier(clients + 1)

    def ask(number: int, seconds: Callable[[], float]) -> None:
        with Client(addresses[number % len(addresses)], options) as client:
            last = seconds()
            for count, (text, label) in enumerate(itertools.cycle(texts[number:] + texts[:number])):
                sent, failure = seconds(), None
                try:
                    [answer] = client.classify([text])
                    failure = None if answer.label == label else f"{answer.label} for {label}: {text[:60]}"
                except ServerError as error:
                    failure = f"{error.summary}: {error.found}"
                now = seconds()
                seen.note(failure, now - sent, 0.0 if failure else now - last)
                last = last if failure else now
                if count == 0:
                    began.wait(options.deadline + 10)
                if stop.wait(_PAUSE):
                    return

    with clock.running() as seconds:
        threads = [threading.Thread(target=ask, args=(number, seconds), daemon=True) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            began.wait(options.deadline + 10)
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join(options.deadline + 10)
