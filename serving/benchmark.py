"""Measure the served model with perf_analyzer: golden texts with their own lengths, a concurrency sweep, HTTP and gRPC.

All loads are repeated in rounds, one after the other in each, so that a drift of the machine meets them all. The
engine's own limit is measured in the same rounds. Writes benchmark.json.

    python -m serving.benchmark --run runs/demo
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from serving import client, perf_analyzer, triton
from serving.perf_analyzer import Load, Result
from serving.records import BENCHMARK, REPOSITORY, TEXT_MODEL
from serving.triton import Server
from train import bundle, errors, manifest, provenance, terminal

_PERCENTILES = (50, 90, 99)


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    repository = arguments.run / "model_repository"
    texts = bundle.load_golden(source).texts[: arguments.texts]
    print(_cost_card(arguments), flush=True)
    with tempfile.TemporaryDirectory() as scratch, triton.running(repository) as server:
        inputs = Path(scratch) / "texts.json"
        perf_analyzer.write_texts(texts, source.task, inputs)
        loads = [
            Load(TEXT_MODEL, protocol, server.address(protocol), concurrency, arguments.window_ms)
            for protocol in client.PROTOCOLS
            for concurrency in arguments.concurrency
        ]
        measured, limits = _rounds(loads, inputs, arguments)
        padding = _padding(server)
    rows = [_row(load, results) for load, results in measured.items()]
    limit = float(np.median([one["texts_per_second"] for one in limits]))
    record = {
        "model": TEXT_MODEL,
        "variant": manifest.read(repository, REPOSITORY, f"make repository RUN={arguments.run}")[TEXT_MODEL],
        "repository_sha256": manifest.sha256(repository / REPOSITORY),
        "rounds": arguments.rounds,
        "texts": len(texts),
        "rows": rows,
        "engine_limit": {"texts_per_second": limit, "rounds": limits},
        "padding": padding,
        **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy"),
    }
    manifest.write_json(arguments.run / BENCHMARK, record)
    _show(record)
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16, 64], help="clients in the closed loop")
    parser.add_argument("--rounds", type=int, default=3, help="how often every load is repeated")
    parser.add_argument("--window-ms", type=int, default=1000, help="length of each of perf_analyzer's windows, three or more")
    parser.add_argument("--texts", type=int, default=1000, help="golden texts sent in turn")
    return parser.parse_args()


def _cost_card(arguments: argparse.Namespace) -> str:
    calls = arguments.rounds * len(client.PROTOCOLS) * len(arguments.concurrency)
    minutes = calls * (3 * arguments.window_ms / 1000 + 2) / 60
    return f"benchmark   {calls} runs of perf_analyzer, and the engine alone {arguments.rounds} times: about {minutes:.0f} minutes"


def _rounds(
    loads: list[Load], inputs: Path, arguments: argparse.Namespace
) -> tuple[dict[Load, list[Result]], list[dict[str, Any]]]:
    """Every load once a round, and the engine alone once a round."""
    measured: dict[Load, list[Result]] = defaultdict(list)
    limits = []
    perf_analyzer.run(loads[0], inputs)  # the first requests warm the engine up and are not counted
    for number in range(arguments.rounds):
        for load in loads:
            measured[load].append(perf_analyzer.run(load, inputs))
        limits.append(_engine_limit(arguments.run, arguments.texts))
        print(f"            round {number + 1} of {arguments.rounds}", flush=True)
    return measured, limits


def _engine_limit(run: Path, texts: int) -> dict[str, Any]:
    version = run / "model_repository" / TEXT_MODEL / "1"
    command = [sys.executable, "-m", "serving.engine_limit", str(version), str(run / "bundle" / "golden.jsonl")]
    done = subprocess.run([*command, "--texts", str(texts)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _padding(server: Server) -> dict[str, float]:
    """Padding as the served model counted it over all rounds."""
    counted = {}
    for line in server.metrics().splitlines():
        name, _, rest = line.partition("{")
        if name.startswith("slipway_") and "_seconds" not in name and f'model="{TEXT_MODEL}"' in rest:
            counted[name.removeprefix("slipway_")] = float(rest.rpartition(" ")[2])
    return {**counted, "waste": counted["padding_tokens"] / (counted["tokens"] + counted["padding_tokens"])}


def _row(load: Load, results: list[Result]) -> dict[str, Any]:
    """One load over all rounds: throughput by round, percentiles over every request."""
    failures = [result.failure for result in results if result.failure]
    row: dict[str, Any] = {
        "protocol": load.protocol,
        "concurrency": load.concurrency,
        "status": "FAILED" if failures else "ok",
        "failures": failures,
        "errors": sum(result.errors for result in results),  # counted at the client
        "command": results[0].command,
    }
    latencies = np.concatenate([result.latencies for result in results])
    if latencies.size:
        rates = [result.throughput for result in results if not result.failure]
        row |= {
            "requests": int(latencies.size),
            "throughput": float(np.median(rates)),
            "throughput_least": min(rates),
            "throughput_most": max(rates),
            **{f"p{p}_ms": float(np.percentile(latencies, p)) for p in _PERCENTILES},
        }
    return row


def _show(record: dict[str, Any]) -> None:
    columns = ("over", "clients", "texts/s", "least–most", "of engine", "p50 ms", "p90 ms", "p99 ms", "errors")
    table = terminal.table(f"{TEXT_MODEL} on {record['variant']}, texts of their own lengths", *columns, left=("over",))
    limit = record["engine_limit"]["texts_per_second"]
    for row in record["rows"]:
        if row["status"] == "FAILED":
            table.add_row(row["protocol"], str(row["concurrency"]), terminal.VERDICTS["FAILED"], row["failures"][0])
            continue
        table.add_row(
            row["protocol"],
            str(row["concurrency"]),
            f"{row['throughput']:.0f}",
            f"{row['throughput_least']:.0f}–{row['throughput_most']:.0f}",
            f"{row['throughput'] / limit:.0%}",
            *(f"{row[f'p{p}_ms']:.1f}" for p in _PERCENTILES),
            str(row["errors"]),
        )
    console = terminal.console()
    console.print(table)
    console.print(
        f"[dim]the engine alone: {limit:.0f} texts/s; padding: {record['padding']['waste']:.1%} of the tokens computed[/]"
    )


if __name__ == "__main__":
    errors.run(main)
