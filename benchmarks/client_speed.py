"""How close to perf_analyzer does one Python process with slipway.client.client come?

Ratios, run in turn on one server.

Reads the run's repository and golden texts; writes benchmarks/records/client_speed.json. Takes 5
minutes. Exits with 1 unless every ratio is at least 0.9 with its whole 95 % interval, which a busy
machine makes wide:

    python -m benchmarks.client_speed --run runs/agnews

Both are closed loops of single texts, with as many requests in flight and for as long;
perf_analyzer is C++ with a thread for each. The client runs on the server's cores, and what it
takes from them is part of the comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Signed, Table
from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load
from serving.server import triton
from slipway import errors, provenance
from slipway.client import client
from slipway.client.client import AsyncClient
from slipway.contract import bundle, manifest
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ToolError
from slipway.statistics import Ratio, ratio

LIMIT = 0.9
_WINDOWS = 3  # perf_analyzer's


@dataclass(frozen=True)
class ClientRates:
    """Texts per second of both, and the CPU time of the client's process, one value a round."""

    client: list[float] = field(default_factory=list)
    perf_analyzer: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)  # a request


@dataclass(frozen=True)
class ClientRow(Ratio):
    """One load: client ÷ perf_analyzer."""

    protocol: str
    concurrency: int
    client: list[float]  # texts/s, by round
    perf_analyzer: list[float]
    client_cpu_ms: float
    verdict: str


@dataclass(frozen=True)
class ClientSpeed(Signed):
    limit: float
    load_average_before: float  # of others: a quiet machine has 0
    rows: list[ClientRow]
    rounds: int
    window_ms: int
    texts: int
    variant: str


def main() -> int:
    arguments, load_average = _parse(), os.getloadavg()[0]
    source = bundle.load(arguments.run / "bundle")
    repository = arguments.run / "model_repository"
    texts = bundle.load_golden(source).texts[: arguments.texts]
    with tempfile.TemporaryDirectory() as scratch, triton.running(repository) as server:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(texts, source.task, inputs)
        loads = perf_analyzer.closed_loops(TEXT_MODEL, server.address, arguments.concurrency, arguments.window_ms)
        rates = measure(loads, inputs, texts, source.task, arguments.rounds)
    record = ClientSpeed(
        limit=LIMIT,
        load_average_before=load_average,
        rows=[row(load, measured) for load, measured in rates.items()],
        rounds=arguments.rounds,
        window_ms=arguments.window_ms,
        texts=len(texts),
        variant=manifest.read(repository, REPOSITORY, errors.command("build", arguments.run))[TEXT_MODEL],
        **provenance.record("tritonclient", "aiohttp", "grpc", "numpy"),
    )
    harness.finish(arguments.record, record, table(record))
    return int(any(row.verdict != "reached" for row in record.rows))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "client_speed.json", rounds=5)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/agnews")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64], help="requests in flight")
    parser.add_argument("--window-ms", type=int, default=1000, help="length of each of perf_analyzer's three windows")
    parser.add_argument("--texts", type=int, default=1000, help="golden texts sent in turn")
    return parser.parse_args()


def measure(loads: list[Load], inputs: Path, texts: Sequence[Any], task: str, rounds: int) -> dict[Load, ClientRates]:
    """Run every load in every round with both clients in random order.

    Raises ToolError when perf_analyzer fails, ServerError when our client does.
    """
    order, rates = random.Random(0), {load: ClientRates() for load in loads}

    def run_client(load: Load) -> None:
        rate, cpu_ms = process.submit(_ask, load, texts, task, _WINDOWS * load.window_ms / 1000).result()
        rates[load].client.append(rate)
        rates[load].cpu_ms.append(cpu_ms)

    def run_perf_analyzer(load: Load) -> None:
        rates[load].perf_analyzer.append(_analyzed(load, inputs))

    with harness.client_process() as process:  # as perf_analyzer is one
        process.submit(_ask, loads[0], texts, task, 1.0).result()  # not counted: the first requests warm the engine up
        for number in range(rounds):
            for load in loads:
                for run in order.sample((run_client, run_perf_analyzer), 2):
                    run(load)
            print(f"round {number + 1} of {rounds}", flush=True)
    return rates


def _ask(load: Load, texts: Sequence[Any], task: str, seconds: float) -> tuple[float, float]:
    return asyncio.run(ask(load, texts, task, seconds))


async def ask(load: Load, texts: Sequence[Any], task: str, seconds: float) -> tuple[float, float]:
    """Keep `load.concurrency` texts in flight; return texts/s, and this process's CPU ms a text."""
    async with client.AsyncClient(f"{load.protocol}://{load.address}") as server:
        turn = itertools.cycle(texts)
        cpu, started = harness.cpu_seconds(), time.perf_counter()
        counts = await asyncio.gather(*(_loop(server, task, turn, started + seconds) for _ in range(load.concurrency)))
        spent, answered = time.perf_counter() - started, sum(counts)
        return answered / spent, (harness.cpu_seconds() - cpu) * 1000 / answered


async def _loop(server: AsyncClient, task: str, turn: Iterator[Any], end: float) -> int:
    question = server.tag if task == "tagging" else server.classify
    answered = 0
    while time.perf_counter() < end:
        await question([next(turn)])
        answered += 1
    return answered


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


def row(load: Load, rates: ClientRates) -> ClientRow:
    """Compare one load; certain is a verdict with the whole interval on one side of LIMIT."""
    compared = ratio([np.array(rates.client)], [np.array(rates.perf_analyzer)])
    low, high = compared.interval
    return ClientRow(
        **vars(compared),
        protocol=load.protocol,
        concurrency=load.concurrency,
        client=rates.client,
        perf_analyzer=rates.perf_analyzer,
        client_cpu_ms=float(np.median(rates.cpu_ms)),
        verdict="reached" if low >= LIMIT else "missed" if high < LIMIT else "not certain",
    )


def table(record: ClientSpeed) -> Table:
    return Table(
        "slipway.client.client ÷ perf_analyzer",
        ("over", "in flight", "client ÷ perf_analyzer (95 %)", "the client's CPU, ms a text", f"{record.limit} is"),
        [(row.protocol, str(row.concurrency), row.text(3), f"{row.client_cpu_ms:.2f}", row.verdict) for row in record.rows],
        f"Texts a second, one text a request, {record.variant}, {record.rounds} rounds; load average before, of others: "
        f"{record.load_average_before:.1f}. {record.signature}",
    )


if __name__ == "__main__":
    errors.run(main)
