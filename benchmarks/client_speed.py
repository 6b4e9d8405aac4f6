"""How close to perf_analyzer does one Python process with serving.client come? Ratios, run in turn on one server.

Reads the run's repository and golden texts; writes benchmarks/client_speed.json. Some 5 minutes; exits 1 unless every ratio
is at least 0.9 with its whole 95 % interval, which a busy machine makes wide:

    python -m benchmarks.client_speed --run runs/agnews

Both are closed loops of single texts, with as many requests in flight and for as long; perf_analyzer is C++ with a thread for each.
What the client costs the server's cores is part of the comparison, as it is for whoever runs both on one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratios import ratio
from serving import client, perf_analyzer, triton
from serving.client import AsyncClient
from serving.perf_analyzer import Load
from serving.records import REPOSITORY, TEXT_MODEL
from train import bundle, errors, manifest, provenance
from train.errors import ToolError
from train.terminal import console, table

RECORD = Path(__file__).parent / "client_speed.json"
LIMIT = 0.9
_WINDOWS = 3  # perf_analyzer's


@dataclass(frozen=True)
class Rates:
    """Answers a second, one a round."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)  # of the client's process, a request


def main() -> int:
    arguments, busy = _parse(), os.getloadavg()[0]
    source = bundle.load(arguments.run / "bundle")
    repository = arguments.run / "model_repository"
    texts = bundle.load_golden(source).texts[: arguments.texts]
    with tempfile.TemporaryDirectory() as scratch, triton.running(repository) as server:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(texts, source.task, inputs)
        loads = perf_analyzer.closed_loops(TEXT_MODEL, server.address, arguments.concurrency, arguments.window_ms)
        rates = measure(loads, inputs, texts, source.task, arguments.rounds)
    record = {
        "limit": LIMIT,
        "load_average_before": busy,  # of others: a quiet machine has 0
        "rows": [row(load, found) for load, found in rates.items()],
        "rounds": arguments.rounds,
        "window_ms": arguments.window_ms,
        "texts": len(texts),
        "variant": manifest.read(repository, REPOSITORY, f"make repository RUN={arguments.run}")[TEXT_MODEL],
        **provenance.record("tritonclient", "aiohttp", "grpc", "numpy"),
    }
    manifest.write_json(arguments.out, record)
    _show(record)
    return int(any(one["verdict"] != "reached" for one in record["rows"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/agnews")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64], help="requests in flight")
    parser.add_argument("--rounds", type=int, default=5, help="how often both are run with each load")
    parser.add_argument("--window-ms", type=int, default=1000, help="length of each of perf_analyzer's three windows")
    parser.add_argument("--texts", type=int, default=1000, help="golden texts sent in turn")
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    return parser.parse_args()


def measure(loads: list[Load], inputs: Path, texts: Sequence[Any], task: str, rounds: int) -> dict[Load, Rates]:
    """Every load in every round, by both in random order. Raises ToolError when perf_analyzer fails, ServerError when we do."""
    order, rates = random.Random(0), {load: Rates() for load in loads}

    def ours(load: Load) -> None:
        rate, cpu_ms = process.submit(_asked, load, texts, task, _WINDOWS * load.window_ms / 1000).result()
        rates[load].ours.append(rate)
        rates[load].cpu_ms.append(cpu_ms)

    def theirs(load: Load) -> None:
        rates[load].theirs.append(_analyzed(load, inputs))

    # A process of its own, as perf_analyzer is: in this one a thread reads the server's log.
    with ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as process:
        process.submit(_asked, loads[0], texts, task, 1.0).result()  # the first requests warm the engine up and are not counted
        for number in range(rounds):
            for load in loads:
                for turn in order.sample((ours, theirs), 2):
                    turn(load)
            print(f"round {number + 1} of {rounds}", flush=True)
    return rates


def _asked(load: Load, texts: Sequence[Any], task: str, seconds: float) -> tuple[float, float]:
    return asyncio.run(ask(load, texts, task, seconds))


async def ask(load: Load, texts: Sequence[Any], task: str, seconds: float) -> tuple[float, float]:
    """Answers a second, and the CPU milliseconds each took here: `load.concurrency` single texts in flight, for `seconds`."""
    async with client.connect_async(load.address, load.protocol) as server:
        turn = itertools.cycle(texts)
        cpu, started = _cpu_seconds(), time.perf_counter()
        counts = await asyncio.gather(*(_loop(server, task, turn, started + seconds) for _ in range(load.concurrency)))
        spent, answered = time.perf_counter() - started, sum(counts)
        return answered / spent, (_cpu_seconds() - cpu) * 1000 / answered


async def _loop(server: AsyncClient, task: str, turn: Iterator[Any], end: float) -> int:
    question = server.tag if task == "tagging" else server.classify
    answered = 0
    while time.perf_counter() < end:
        await question([next(turn)])
        answered += 1
    return answered


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _analyzed(load: Load, inputs: Path) -> float:
    result = perf_analyzer.run(load, inputs)
    if result.failure or result.errors:
        raise ToolError(
            "perf_analyzer did not measure",
            expected="every request answered",
            found=result.failure or f"{result.errors} requests without an answer",
            where=result.command,
            fix="run it again; on a busy machine with a longer --window-ms",
        )
    return result.throughput


def row(load: Load, found: Rates) -> dict[str, Any]:
    compared = ratio([np.array(found.ours)], [np.array(found.theirs)])
    low, high = compared["interval"]
    return {
        "protocol": load.protocol,
        "concurrency": load.concurrency,
        "client": found.ours,
        "perf_analyzer": found.theirs,
        "client_cpu_ms": float(np.median(found.cpu_ms)),
        **compared,
        "verdict": "reached" if low >= LIMIT else "missed" if high < LIMIT else "not certain",
    }


def _show(record: dict[str, Any]) -> None:
    columns = ("over", "in flight", "client, texts/s", "perf_analyzer", "ratio (95 %)", "CPU ms a text", f"{LIMIT} is")
    shown = table(f"serving.client beside perf_analyzer, {record['variant']}", *columns, left=("over", f"{LIMIT} is"))
    for one in record["rows"]:
        low, high = one["interval"]
        shown.add_row(
            one["protocol"],
            str(one["concurrency"]),
            f"{np.median(one['client']):.0f}",
            f"{np.median(one['perf_analyzer']):.0f}",
            f"{one['ratio']:.3f} ({low:.3f} to {high:.3f})",
            f"{one['client_cpu_ms']:.2f}",
            one["verdict"],
        )
    console().print(shown)


if __name__ == "__main__":
    errors.run(main)
