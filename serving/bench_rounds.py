"""Measuring: every load once a round, in another order each, so that a drift of the machine meets them all; and the engine alone.

What was measured is in the journal at once. A load that fails costs its own row and no other: the server is fixed behind it.
"""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving import bench_plan, busy_machine, energy, perf_analyzer, stages
from serving.bench_inputs import Inputs
from serving.bench_journal import Journal
from serving.bench_plan import Planned, Setting
from serving.bench_repository import Subject
from serving.bench_server import BenchServer, Clock
from serving.gpu_watch import GpuWatch
from serving.perf_analyzer import Load, Result
from serving.records import MAX_BATCH
from train.errors import ServerError

_SHARED_MEMORY = {bench_plan.NETWORK: "none", bench_plan.SYSTEM: "system", bench_plan.CUDA: "cuda"}
_WARM_CLIENTS, _WARM_MS = 2, 300
_MOST_TRIES = 3  # of a load or a limit that something else disturbs, before its round is lost
_LONGEST_WINDOW = 5000  # ms
_LIMIT_TEXTS = {False: 16 * MAX_BATCH, True: 32 * MAX_BATCH}  # golden texts the engine alone is measured on; in the full setting


@dataclass(frozen=True)
class Bench:
    """What all loads are measured with."""

    run: Path
    setting: Setting
    planned: Sequence[Planned]
    subjects: Sequence[Subject]
    inputs: Inputs
    journal: Journal
    served: BenchServer
    gpu: GpuWatch
    clock: Clock


def measure(bench: Bench) -> None:
    """All that the journal does not have yet. Raises ServerError when a server that ended cannot be started again."""
    _warm_up(bench)
    for number in range(bench.setting.rounds):
        for one in _order(bench.planned, number):
            if bench.journal.get("load", number, one.id) is None:
                bench.journal.add("load", number, one.id, _load(bench, one, number))
        for version in _limits(bench, number):
            if bench.journal.get("limit", number, version.parent.name) is None:
                bench.journal.add("limit", number, version.parent.name, _engine_limit(bench, version))
        print(f"            round {number + 1} of {bench.setting.rounds}", flush=True)


def _order(planned: Sequence[Planned], number: int) -> list[Planned]:
    """The closed loops in a random order, then those at random: their rates are shares of what the closed loops reached."""
    closed, at_random = ([one for one in planned if bool(one.share) == open_] for open_ in (False, True))
    shuffled = random.Random(number)
    return [*shuffled.sample(closed, len(closed)), *shuffled.sample(at_random, len(at_random))]


def _warm_up(bench: Bench) -> None:
    """The first requests of every subject, which are not counted, and about how many a second it answers.

    A benchmark that goes on warms up too, but keeps the pace it had: its windows shall be as long as before.
    """
    for one in bench.subjects:
        way = Planned(one.name, one.kind, "grpc", bench_plan.NETWORK, "own", _WARM_CLIENTS)
        result = _sent(bench, replace(_as_load(bench, way), window_ms=_WARM_MS), bench.inputs[one.kind, "own"][0])
        if result.failure:
            print(f"            {one.name}, warming up: {result.failure}", flush=True)
            bench.served.fix()
        elif bench.journal.get("pace", 0, one.name) is None:
            bench.journal.add("pace", 0, one.name, {"texts_per_second": result.throughput})


def _sent(bench: Bench, load: Load, inputs: Path) -> Result:
    with bench.clock.stopped():
        return perf_analyzer.run(load, inputs)


def _as_load(bench: Bench, one: Planned) -> Load:
    """How perf_analyzer is told. A window is as long as the requests it has to hold take, and not shorter than the setting's."""
    pace, rate = bench.journal.get("pace", 0, one.subject), _rate(bench, one)
    seconds = one.requests / (rate or (pace or {}).get("texts_per_second", np.inf))
    window = max(bench.setting.window_ms, min(_LONGEST_WINDOW, round(1000 * seconds)))
    address = bench.served.server.address(one.protocol)
    return Load(one.subject, one.protocol, address, one.concurrency or 0, window, rate, _SHARED_MEMORY[one.transport])


def _rate(bench: Bench, one: Planned) -> float:
    """Texts/s to offer at random, the same in all rounds: a share of what closed loops reached in the first. Of those, 0."""
    if not one.share:
        return 0.0
    alike = [other.id for other in bench.planned if other.subject == one.subject and other.lengths == "own" and not other.share]
    first = [bench.journal.get("load", 0, name) for name in alike]
    return round(one.share * max((found["throughput"] or 0.0 for found in first if found), default=0.0), 2)


def _load(bench: Bench, one: Planned, number: int) -> dict[str, Any]:
    """One round of one row, as the journal keeps it: the first that was not disturbed, or the last of _MOST_TRIES."""
    load = replace(_as_load(bench, one), seed=number)
    if one.share and not load.rate:
        failed = Result("", np.zeros(0), 0.0, 0, "its capacity is unknown: no closed loop was answered in the first round", None)
        return {**_kept(failed, load), **_unmeasured()}
    for tries in range(1, _MOST_TRIES + 1):
        found = {**_tried(bench, load, bench.inputs[one.kind, one.lengths][number]), "tries": tries}
        if found["failure"] or not _disturbed(found):
            break
    if found["failure"]:
        print(f"            {one.id}: {found['failure']}", flush=True)
        bench.served.fix()
    return found


def _disturbed(found: dict[str, Any]) -> bool:
    return busy_machine.disturbed([found]) != [[]]


def _tried(bench: Bench, load: Load, inputs: Path) -> dict[str, Any]:
    counted = _counted(bench, load.model)
    before, joules, since = busy_machine.look(bench.served.processes), energy.joules(), time.monotonic()
    result = _sent(bench, load, inputs)
    after, spent = busy_machine.look(bench.served.processes), energy.spent(joules, energy.joules())
    return {
        **_kept(result, load),
        **busy_machine.between(before, after),
        "counted": _difference(counted, _counted(bench, load.model)),
        "joules": spent,
        "gpu": bench.gpu.since(since),
    }


def _kept(result: Result, load: Load) -> dict[str, Any]:
    return {
        "command": result.command,
        "exit_status": result.exit_status,
        "failure": result.failure,
        "errors": result.errors,
        "rejected": result.rejected,
        "rate": load.rate or None,
        "sent": result.sent,
        "client_ms": result.client_ms,
        "throughput": None if result.failure else result.throughput,
        "latencies": [round(float(one), 3) for one in result.latencies],
    }


def _unmeasured() -> dict[str, Any]:
    return {"others_share": 0.0, "steal_share": 0.0, "mhz": None, "counted": None, "joules": None, "gpu": None, "tries": 0}


def _counted(bench: Bench, model: str) -> dict[str, float] | None:
    with suppress(OSError, KeyError, LookupError):  # a server that is gone; its load says so
        return stages.read(bench.served.server, model)
    return None


def _difference(before: dict[str, float] | None, after: dict[str, float] | None) -> dict[str, float] | None:
    return {name: value - before.get(name, 0.0) for name, value in after.items()} if before and after else None


def _limits(bench: Bench, number: int) -> list[Path]:
    """Version directories whose engine is measured in this round: text_classifier's in all, the other variants' in the first."""
    every = bench.setting.everything or number == 0
    names = [one.name for one in bench.subjects if one.kind == "text" and not one.baseline]
    return [bench.served.repository / name / "1" for name in (names if every else names[:1])]


def _engine_limit(bench: Bench, version: Path) -> dict[str, Any]:
    """With what others took of the cores meanwhile; tried again as a load is."""
    for tries in range(1, _MOST_TRIES + 1):
        before = busy_machine.look(bench.served.processes)
        found = _alone(bench, version)
        found |= {**busy_machine.between(before, busy_machine.look(bench.served.processes)), "tries": tries}
        if not _disturbed(found):
            break
    return found


def _alone(bench: Bench, version: Path) -> dict[str, Any]:
    texts = min(bench.setting.texts, _LIMIT_TEXTS[bench.setting.everything])
    command = [sys.executable, "-m", "serving.engine_limit", str(version), str(bench.run / "bundle" / "golden.jsonl")]
    with bench.clock.stopped():
        done = subprocess.run([*command, "--texts", str(texts)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerError(
            "the engine alone did not run",
            expected="texts a second, as JSON",
            found="\n    ".join(done.stderr.splitlines()[-3:]) or f"exit status {done.returncode}",
            where=shlex.join(command[1:]),
            fix="that command with --texts 8 says more; then the same benchmark again: it goes on with the next",
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
