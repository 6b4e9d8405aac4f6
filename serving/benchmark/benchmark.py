"""Measure a run with perf_analyzer: what it serves, its other variants, and two baselines.

Measurements are kept at once, so that the same command goes on after Ctrl-C. Writes benchmark.json
(docs/benchmark.schema.json); exits 1 when a load FAILED. Of a server that runs already it measures
the model by text at each --address, and writes endpoint_benchmark.json.

    slipway bench runs/demo                     four minutes on 2 cores
    slipway bench runs/demo --setting full      half an hour
    slipway bench runs/demo --address grpcs://model.example:443 --authorities ca.pem
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from serving.benchmark import elsewhere, plan, results, table
from serving.benchmark.journal import PARTIAL, Journal, only_benchmark
from serving.benchmark.plan import SETTINGS, BenchSetting, Planned
from serving.benchmark.record import BenchmarkRecord, EngineLimit, EngineRound, MeasuredModel, Padding
from serving.benchmark.rounds import BenchSetup, Clock, bench_server, measure_rounds
from serving.benchmark.subjects import (
    SAVED_MODEL,
    CheckedRun,
    all_subjects,
    check_run,
    choose_subjects,
    variants_left_out,
    why_no_cuda,
    write_subjects,
)
from serving.load import interference, perf_analyzer
from serving.load.interference import GpuWatch
from serving.repository import embedded
from slipway import provenance
from slipway.client import endpoint
from slipway.contract import artifact, manifest
from slipway.contract.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, TEXT_MODEL
from slipway.errors import Interrupted


def bench(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    endpoint.refuse_without_address(arguments)
    if arguments.address:
        return elsewhere.measure(arguments, _setting(arguments))
    checked = check_run(arguments.run)
    with only_benchmark(checked.run):
        return _benchmark(arguments, checked, started)


def _benchmark(arguments: argparse.Namespace, checked: CheckedRun, started: float) -> int:
    clock, setting, no_cuda = Clock(), _setting(arguments), why_no_cuda()
    every = all_subjects(checked, not no_cuda)
    wanted, skipped = choose_subjects(every, arguments.subjects, arguments.run)
    subjects, without_load = plan.with_loads(setting, wanted)
    skipped |= without_load | variants_left_out(checked, every, no_cuda)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=arguments.run) as scratch, GpuWatch() as gpu:
        planned, journal = _measure(Path(scratch), checked, setting, subjects, gpu, clock)
        skipped |= _gpu_skipped(gpu, no_cuda)
        skipped |= perf_analyzer.lengths_left_out(setting.lengths, {load.lengths for load in planned}, checked.source)
    record = _record(arguments, setting, checked, subjects, skipped, planned, journal)
    seconds = time.monotonic() - started
    record = dataclasses.replace(record, seconds=seconds, harness_share=max(0.0, 1 - clock.seconds / seconds))
    manifest.write_json(arguments.run / BENCHMARK, record.to_json())
    journal.remove()
    table.show_record(record)
    return int(any(row.status == "FAILED" for row in record.rows))


def _setting(arguments: argparse.Namespace) -> BenchSetting:
    """Return the setting that was named, called own where an option changes it."""
    changes: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("rounds", "window_ms", "texts") if getattr(arguments, name)
    }
    if arguments.concurrency:
        changes["concurrency"] = tuple(sorted(set(arguments.concurrency)))
    if changes or arguments.subjects:
        changes["name"] = "own"
    return dataclasses.replace(SETTINGS[arguments.setting], **changes)


def _measure(
    scratch: Path, checked: CheckedRun, setting: BenchSetting, subjects: list[MeasuredModel], gpu: GpuWatch, clock: Clock
) -> tuple[list[Planned], Journal]:
    """Measure all loads in all rounds, or what is missing. Raises Interrupted after Ctrl-C."""
    source = checked.source
    inputs = perf_analyzer.write_inputs(scratch, source, checked.golden, setting.texts, set(setting.lengths), setting.rounds)
    every = plan.plan_loads(setting, subjects, source.max_seq_len, not gpu.why_not)
    planned = [load for load in every if (load.kind, load.lengths) in inputs]
    print(plan.cost_card(setting, planned, subjects), flush=True)
    repository = scratch / "model_repository"
    with clock.stopped():  # tf2onnx takes half a minute, once
        write_subjects(repository, checked, subjects)
    journal = Journal(checked.run, plan.journal_key(setting, planned, manifest.sha256(repository / REPOSITORY)))
    if journal.taken_over:
        print(f"            going on: {journal.taken_over} measurements are there already", flush=True)
    try:
        with bench_server(repository, clock) as served:
            measure_rounds(BenchSetup(checked.run, setting, planned, subjects, inputs, journal, served, gpu))
    except KeyboardInterrupt:
        raise Interrupted(
            "the benchmark was interrupted",
            expected=f"{len(planned) * setting.rounds} measurements",
            found=f"{journal.loads}, which are kept",
            where=str(checked.run / PARTIAL),
            fix="the same command again: it goes on with the next",
        ) from None
    return planned, journal


def _gpu_skipped(gpu: GpuWatch, no_cuda: str) -> dict[str, str]:
    """Return what is measured only on a machine with a GPU → why not here."""
    skipped = {plan.CUDA: gpu.why_not} if gpu.why_not else {}
    return skipped | ({"text_<variant>_cuda": no_cuda} if no_cuda else {})


def _record(
    arguments: argparse.Namespace,
    setting: BenchSetting,
    checked: CheckedRun,
    subjects: list[MeasuredModel],
    skipped: dict[str, str],
    planned: list[Planned],
    journal: Journal,
) -> BenchmarkRecord:
    """Return the record, but for the time that the benchmark took."""
    loads = [results.load_rounds(load, journal) for load in planned]
    rows = tuple(results.result_row(load, results.capacity(loads, load.planned.subject)) for load in loads)
    by_name = {subject.name: subject for subject in subjects}
    limits = journal.rounds(EngineRound, TEXT_MODEL)
    slo = (arguments.p99_ms, arguments.price_per_hour, arguments.currency)
    return BenchmarkRecord(
        schema=BENCHMARK_SCHEMA,
        setting=setting.name,
        rounds=setting.rounds,
        texts=setting.texts,
        window_ms=setting.window_ms,
        bundle_sha256=checked.source.sha256,
        repository_sha256=manifest.sha256(checked.run / "model_repository" / REPOSITORY),
        model=TEXT_MODEL,
        variant=checked.served[TEXT_MODEL],
        subjects=by_name,
        skipped=skipped,
        rows=rows,
        comparisons=tuple(results.compare_loads(loads)),
        engine_limit=EngineLimit(_median_limit(limits), tuple(limits), _limits_by_variant(subjects, journal)),
        padding=Padding(limits[0].padding_waste, limits[0].by_length),
        choice=results.choose_row(rows, by_name, _losses(checked, subjects), *slo),
        seconds=0.0,
        harness_share=0.0,
        resumed_loads=journal.taken_over,
        made_at=provenance.now(),
        **provenance.record("tritonclient", "onnxruntime", "tokenizers", "numpy", "tensorflow"),
    )


def _median_limit(limits: list[EngineRound]) -> float:
    """Return the median texts/s of the undisturbed rounds, or of all if every one was disturbed."""
    reasons = interference.disturbed(limits)
    undisturbed = [limit for limit, why in zip(limits, reasons, strict=True) if not why]
    return float(np.median([limit.texts_per_second for limit in undisturbed or limits]))


def _limits_by_variant(subjects: list[MeasuredModel], journal: Journal) -> dict[str, float]:
    """Return variant → texts/s of its engine alone, on the CPU."""
    limits = {
        str(subject.variant): journal.rounds(EngineRound, subject.name)
        for subject in subjects
        if subject.kind == "text" and subject.provider == embedded.PROVIDER
    }
    return {variant: _median_limit(rounds) for variant, rounds in limits.items() if rounds}


def _losses(checked: CheckedRun, subjects: list[MeasuredModel]) -> dict[str, float]:
    """Return subject → upper bound of the accuracy it loses against the SavedModel (its gate's)."""
    source_sha256 = checked.source.sha256
    bounds = {name: artifact.verdict(variant, source_sha256)["accuracy_loss_bound"] for name, variant in checked.artifacts.items()}
    losses = {subject.name: bounds[subject.variant] for subject in subjects if subject.variant in bounds}
    return losses | {subject.name: 0.0 for subject in subjects if subject.name == SAVED_MODEL}
