"""Measure a run with perf_analyzer: what it serves, its other variants and two usual baselines, on golden texts, in one server.

Every load is run once a round, in another order each, and the engine alone beside them. What was measured is kept at once, so that
the same command goes on after Ctrl-C. Writes benchmark.json (docs/benchmark.schema.json); exits 1 when a load FAILED.

    python -m serving.benchmark --run runs/demo                     four minutes on 2 cores
    python -m serving.benchmark --run runs/demo --setting full      half an hour
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from export import artifact
from serving import (
    bench_inputs,
    bench_plan,
    bench_repository,
    bench_rounds,
    bench_rows,
    bench_server,
    bench_table,
    busy_machine,
    choice,
    embedded_models,
    energy,
    flags,
)
from serving.bench_journal import PARTIAL, Journal, alone
from serving.bench_plan import SETTINGS, Planned, Setting
from serving.bench_repository import Origin, Subject
from serving.bench_rounds import Bench
from serving.bench_server import Clock
from serving.gpu_watch import GpuWatch
from serving.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, TEXT_MODEL
from train import bundle, errors, manifest, provenance
from train.errors import Interrupted


def main() -> int:
    arguments, started = _parse(), time.monotonic()
    of = bench_repository.origin(arguments.run)
    with alone(of.run):
        return _benchmark(arguments, of, started)


def _benchmark(arguments: argparse.Namespace, of: Origin, started: float) -> int:
    clock, setting, no_cuda = Clock(), _setting(arguments), bench_repository.no_cuda()
    every = bench_repository.subjects(of, not no_cuda)
    wanted, skipped = bench_repository.chosen(every, arguments.subjects, arguments.run)
    subjects, unmeasured = bench_plan.with_loads(setting, wanted)
    skipped |= unmeasured | bench_repository.left_out(of, every, no_cuda)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=arguments.run) as scratch, GpuWatch() as gpu:
        planned, journal = _measure(Path(scratch), of, setting, subjects, gpu, clock)
        skipped |= _gpu_skipped(gpu, no_cuda) | bench_inputs.left_out(setting.lengths, {one.lengths for one in planned}, of.source)
    record = _record(arguments, setting, of, subjects, skipped, planned, journal)
    seconds = time.monotonic() - started
    record |= {"seconds": seconds, "harness_share": max(0.0, 1 - clock.seconds / seconds)}
    manifest.write_json(arguments.run / BENCHMARK, record)
    journal.remove()
    bench_table.show(record)
    return int(any(row["status"] == "FAILED" for row in record["rows"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    parser.add_argument("--setting", choices=tuple(SETTINGS), default="quick", help="how much is measured; default: quick")
    parser.add_argument("--subjects", nargs="+", default=[], help="only these beside text_classifier; default: all")
    parser.add_argument("--rounds", type=flags.count(100_000), help="how often every load is repeated; 5 for verdicts")
    parser.add_argument("--concurrency", type=flags.count(100_000), nargs="+", help="clients in the closed loops")
    parser.add_argument("--window-ms", type=flags.count(100_000), help="the shortest of perf_analyzer's windows, three a round")
    parser.add_argument("--texts", type=flags.count(100_000), help="golden texts sent in turn")
    parser.add_argument("--p99-ms", type=flags.positive, default=100.0, help="what 99 of 100 texts have to be answered within")
    parser.add_argument("--price-per-hour", type=flags.positive, help="of this machine, for the cost of a million texts")
    parser.add_argument("--currency", default="USD", help="of that price")
    return parser.parse_args()


def _setting(arguments: argparse.Namespace) -> Setting:
    """The one named, or one's own where a flag changes it."""
    changes: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("rounds", "window_ms", "texts") if getattr(arguments, name)
    }
    if arguments.concurrency:
        changes["concurrency"] = tuple(sorted(set(arguments.concurrency)))
    if changes or arguments.subjects:
        changes["name"] = "own"
    return dataclasses.replace(SETTINGS[arguments.setting], **changes)


def _measure(
    scratch: Path, of: Origin, setting: Setting, subjects: list[Subject], gpu: GpuWatch, clock: Clock
) -> tuple[list[Planned], Journal]:
    """All loads in all rounds, or those that are missing. Raises Interrupted after Ctrl-C."""
    inputs = bench_inputs.write(
        scratch, of.source, bundle.load_golden(of.source), setting.texts, set(setting.lengths), setting.rounds
    )
    every = bench_plan.plan(setting, subjects, of.source.max_seq_len, gpu.there)
    planned = [one for one in every if (one.kind, one.lengths) in inputs]
    print(bench_plan.cost_card(setting, planned, subjects), flush=True)
    repository = scratch / "model_repository"
    with clock.stopped():  # tf2onnx takes half a minute, once
        bench_repository.write(repository, of, subjects)
    journal = Journal(of.run, bench_plan.key(setting, planned, manifest.sha256(repository / REPOSITORY)))
    if journal.taken_over:
        print(f"            going on: {journal.taken_over} measurements are there already", flush=True)
    try:
        with bench_server.running(repository, clock) as served:
            bench_rounds.measure(Bench(of.run, setting, planned, subjects, inputs, journal, served, gpu, clock))
    except KeyboardInterrupt:
        raise _interrupted(of.run, journal, planned, setting) from None
    return planned, journal


def _interrupted(run: Path, journal: Journal, planned: list[Planned], setting: Setting) -> Interrupted:
    done, all_ = journal.count("load"), len(planned) * setting.rounds
    return Interrupted(
        "the benchmark was interrupted",
        expected=f"{all_} measurements",
        found=f"{done}, which are kept",
        where=str(run / PARTIAL),
        fix="the same command again: it goes on with the next",
    )


def _gpu_skipped(gpu: GpuWatch, no_cuda: str) -> dict[str, str]:
    """Of what a machine with a GPU measures more."""
    skipped = {} if gpu.there else {bench_plan.CUDA: "no NVIDIA GPU: nvidia-smi is not there"}
    return skipped | ({"text_<variant>_cuda": no_cuda} if no_cuda else {})


def _record(
    arguments: argparse.Namespace,
    setting: Setting,
    of: Origin,
    subjects: list[Subject],
    skipped: dict[str, str],
    planned: list[Planned],
    journal: Journal,
) -> dict[str, Any]:
    found = [bench_rows.measured(one, journal) for one in planned]
    rows = [bench_rows.row(one, bench_rows.capacity(found, one.planned.subject)) for one in found]
    facts = {one.name: one.facts() for one in subjects}
    limits = journal.rounds("limit", TEXT_MODEL)
    return {
        "schema": BENCHMARK_SCHEMA,
        "setting": setting.name,
        "rounds": setting.rounds,
        "texts": setting.texts,
        "window_ms": setting.window_ms,
        "bundle_sha256": of.source.sha256,
        "repository_sha256": manifest.sha256(of.run / "model_repository" / REPOSITORY),
        "model": TEXT_MODEL,
        "variant": of.served[TEXT_MODEL],
        "subjects": facts,
        "skipped": skipped,
        "rows": rows,
        "comparisons": bench_rows.comparisons(found),
        "engine_limit": {
            "texts_per_second": _median(limits),
            "rounds": limits,
            "by_variant": {
                str(one.variant): _median(each)
                for one in subjects
                if one.provider == embedded_models.PROVIDER and (each := journal.rounds("limit", one.name))
            },
        },
        "padding": {"waste": limits[0]["padding_waste"], "by_length": limits[0]["by_length"]},
        "choice": choice.choice(rows, facts, _losses(of, subjects), arguments.p99_ms, arguments.price_per_hour, arguments.currency),
        "energy": energy.readable(),
        "resumed_loads": journal.taken_over,
        **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy", "tensorflow"),
    }


def _median(limits: list[dict[str, Any]]) -> float:
    """Of those that nothing disturbed, where there are any."""
    counting = [one for one, why in zip(limits, busy_machine.disturbed(limits), strict=True) if not why]
    return float(np.median([one["texts_per_second"] for one in counting or limits]))


def _losses(of: Origin, subjects: list[Subject]) -> dict[str, float]:
    """Subject → upper bound of the accuracy it loses against the SavedModel, as its gate found it; the SavedModel loses none."""
    bounds = {name: artifact.verdict(one, of.source.sha256)["accuracy_loss_bound"] for name, one in of.artifacts.items()}
    known = {one.name: bounds[one.variant] for one in subjects if one.variant in bounds}
    return known | {one.name: 0.0 for one in subjects if one.name == bench_repository.REFERENCE}


if __name__ == "__main__":
    errors.run(main)
