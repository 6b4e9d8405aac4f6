"""The rounds of a benchmark: every load and the engine alone, once a round, in another order each.

The server is open for shared memory, and is fixed after a load that broke it. Every measurement
goes into the journal at once.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from serving.benchmark import plan
from serving.benchmark.journal import Journal, LoadRound, Pace
from serving.benchmark.plan import BenchSetting, Planned
from serving.benchmark.record import EngineRound, MeasuredModel
from serving.load import interference, latency_breakdown, perf_analyzer
from serving.load.interference import GpuWatch
from serving.load.latency_breakdown import Counters
from serving.load.perf_analyzer import InputFiles, Load, LoadResult
from serving.server import control, supervisor, triton
from serving.server.triton import Server
from slipway import errors
from slipway.contract.records import MAX_BATCH, from_json
from slipway.errors import ServerError

_RELOADED_WITHIN = 60  # s
# `slipway serve` keeps this API closed, because a client could read any region. The server of a
# benchmark is on loopback, and up for the benchmark alone.
_CLOSED = tuple(api for api in control.CLOSED if api != "shared-memory")
_SHARED_MEMORY = {plan.NETWORK: "none", plan.SYSTEM: "system", plan.CUDA: "cuda"}
_MOST_TRIES = 3  # of a load or an engine alone that is disturbed, before its round is lost
_LIMIT_TEXTS = {False: 16 * MAX_BATCH, True: 32 * MAX_BATCH}  # of the engine alone; True: the full setting


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
        """Start a server again that is gone, or reload models whose process is gone."""
        with self.clock.stopped():
            if self.server.process.poll() is not None:
                triton.stop(self.server)  # what it left behind
                self.server = _start(self.repository)
            else:
                with suppress(OSError):  # it will fail again, and its row says why
                    for model in supervisor.lost(self.server):
                        control.reload(self.server.grpc, self.server.key, model, _RELOADED_WITHIN)
        self.processes = interference.tree(self.server.process.pid)


@dataclass(frozen=True)
class BenchSetup:
    """Everything that all loads of a benchmark are measured with."""

    run: Path
    setting: BenchSetting
    planned: Sequence[Planned]
    subjects: Sequence[MeasuredModel]
    inputs: InputFiles
    journal: Journal
    served: BenchServer
    gpu: GpuWatch


def measure_rounds(bench: BenchSetup) -> None:
    """Measure what the journal lacks. Raises ServerError when a server cannot be started again."""
    journal = bench.journal
    _warm_up(bench)
    for number in range(bench.setting.rounds):
        for load in plan.order(bench.planned, number):
            if journal.get(LoadRound, number, load.id) is None:
                journal.add(number, load.id, _measure_load(bench, load, number))
        for version in _engines(bench, number):
            if journal.get(EngineRound, number, version.parent.name) is None:
                journal.add(number, version.parent.name, _measure_engine(bench, version))
        print(f"            round {number + 1} of {bench.setting.rounds}", flush=True)


def _warm_up(bench: BenchSetup) -> None:
    """Send every subject its first requests, not counted, and note its pace the first time."""
    for subject in bench.subjects:
        warming = Planned(subject.name, subject.kind, "grpc", plan.NETWORK, "own", plan.WARM_CLIENTS)
        result = _send(bench, replace(_load(bench, warming), window_ms=plan.WARM_MS), bench.inputs[subject.kind, "own"][0])
        if result.failure:
            print(f"            {subject.name}, warming up: {result.failure}", flush=True)
            bench.served.fix()
        elif bench.journal.get(Pace, 0, subject.name) is None:
            bench.journal.add(0, subject.name, Pace(result.throughput))


def _measure_load(bench: BenchSetup, planned: Planned, number: int) -> LoadRound:
    """Return one round of a load: the first try that ended well and undisturbed, or the last.

    A call that found no end is not made again: its next try would take as long.
    """
    load = replace(_load(bench, planned), seed=number)
    if planned.share and not load.rate:
        why = "its capacity is unknown: no closed loop was answered in the first round"
        return LoadRound(result=LoadResult("", np.zeros(0), 0.0, 0, why, None))
    for tries in range(1, _MOST_TRIES + 1):
        measured = replace(_try_load(bench, load, bench.inputs[planned.kind, planned.lengths][number]), tries=tries)
        if measured.result.failure:
            print(f"            {planned.id}: {measured.result.failure}", flush=True)
            bench.served.fix()
            if measured.result.exit_status is None:
                break
        elif not _disturbed(measured):
            break
    return measured


def _disturbed(measured: LoadRound | EngineRound) -> bool:
    return interference.disturbed([measured]) != [[]]


def _try_load(bench: BenchSetup, load: Load, inputs: Path) -> LoadRound:
    counted = _counters(bench, load.model)
    before, since = interference.look(bench.served.processes), time.monotonic()
    result = _send(bench, load, inputs)
    disturbance = interference.between(before, interference.look(bench.served.processes))
    after = _counters(bench, load.model)
    counted = {name: value - counted.get(name, 0.0) for name, value in after.items()} if counted and after else None
    gpu = bench.gpu.since(since)
    return LoadRound(**vars(disturbance), result=result, rate=load.rate or None, counted=counted, gpu=gpu)


def _send(bench: BenchSetup, load: Load, inputs: Path) -> LoadResult:
    with bench.served.clock.stopped():
        return perf_analyzer.run(load, inputs)


def _load(bench: BenchSetup, planned: Planned) -> Load:
    """Return the load for perf_analyzer, with a window long enough for `planned.requests`."""
    pace, rate = bench.journal.get(Pace, 0, planned.subject), _rate(bench, planned)
    window = plan.window(bench.setting, planned, rate or (pace.texts_per_second if pace else None))
    address = bench.served.server.address(planned.protocol)
    shared_memory = _SHARED_MEMORY[planned.transport]
    return Load(planned.subject, planned.protocol, address, planned.concurrency or 0, window, rate, shared_memory)


def _rate(bench: BenchSetup, planned: Planned) -> float:
    """Return the texts/s to offer: a share of what closed loops reached in round 0, or 0."""
    if not planned.share:
        return 0.0
    closed = [load.id for load in bench.planned if load.subject == planned.subject and load.lengths == "own" and not load.share]
    first = [bench.journal.get(LoadRound, 0, name) for name in closed]
    return round(planned.share * max((measured.result.throughput for measured in first if measured), default=0.0), 2)


def _counters(bench: BenchSetup, model: str) -> Counters | None:
    with suppress(OSError, KeyError, LookupError):  # a server that is gone; its load says so
        return latency_breakdown.read(bench.served.server, model)
    return None


def _engines(bench: BenchSetup, number: int) -> list[Path]:
    """Return the versions whose engine is measured alone: text_classifier's in every round."""
    every = bench.setting.everything or number == 0
    names = [subject.name for subject in bench.subjects if subject.kind == "text" and not subject.baseline]
    return [bench.served.repository / name / "1" for name in (names if every else names[:1])]


def _measure_engine(bench: BenchSetup, version: Path) -> EngineRound:
    """Return one round of an engine alone: the first try that nothing disturbed, or the last."""
    for tries in range(1, _MOST_TRIES + 1):
        before = interference.look(bench.served.processes)
        measured = _try_engine(bench, version)
        disturbance = interference.between(before, interference.look(bench.served.processes))
        measured = replace(measured, **vars(disturbance), tries=tries)
        if not _disturbed(measured):
            break
    return measured


def _try_engine(bench: BenchSetup, version: Path) -> EngineRound:
    texts = min(bench.setting.texts, _LIMIT_TEXTS[bench.setting.everything])
    command = [sys.executable, "-m", "serving.load.engine_limit", str(version), str(bench.run / "bundle" / "golden.jsonl")]
    with bench.served.clock.stopped():
        done = subprocess.run([*command, "--texts", str(texts)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(
            "the engine alone did not run",
            expected="texts a second, as JSON",
            found="\n    ".join(done.stderr.splitlines()[-3:]) or f"exit status {done.returncode}",
            where=shlex.join(command),
            fix=f"{errors.command('build', bench.run)}, then the same benchmark again: it goes on with the next",
        )
    measured: EngineRound = from_json(EngineRound, json.loads(done.stdout))
    return measured


@contextmanager
def bench_server(repository: Path, clock: Clock) -> Iterator[BenchServer]:
    """Run a server of the repository for the block. Raises as triton.start."""
    with clock.stopped():
        server = _start(repository)
    bench = BenchServer(repository, server, clock, interference.tree(server.process.pid))
    try:
        yield bench
    finally:
        with clock.stopped():
            triton.stop(bench.server)


def _start(repository: Path) -> Server:
    log = repository.parent / "triton.log"
    return triton.start(repository, triton.free_ports(), log, control.new_key(), closed=_CLOSED)
