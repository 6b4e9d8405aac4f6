"""The embedded Triton with its text path on the GPU, under perf_analyzer, beside the engine alone.

Reads bundle/ and artifacts/onnx_fp32/ of a run; makes the unpadded FP16 graph, lets the gate judge
it, serves it from a repository of its own, and writes benchmarks/records/gpu_serving.json. Besides
requirements/gpu.txt it needs the tools that `make setup` puts into .tools. On a CPU it
runs every line but the kernels:

    python -m benchmarks.gpu.serving --run runs/agnews
    python -m benchmarks.gpu.serving --run runs/agnews --provider cpu --record /tmp/serving.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.gpu import models, variants
from benchmarks.gpu.device import Device, parsed_for_device
from benchmarks.gpu.models import GpuModel
from benchmarks.gpu.tables import ServedLoad, ServingLimit, ServingRecord, serving_table
from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load, LoadResult
from serving.repository import embedded
from serving.server import triton
from slipway import errors
from slipway.client import client
from slipway.contract import manifest
from slipway.contract.artifact import Artifact
from slipway.contract.ragged import Logits, Ragged
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.contract.tokenizer import Tokenizer
from slipway.contract.variants import Variant

_SERVED_AGREES = 0.02  # largest |Δlogit| between the server and the same engine in this process, of the largest |logit|
_ASKED = 64  # texts compared
PARTS = ("tokenizing", "padding", "transfer", "engine")
_PASSES = 5  # over all texts; the first warms up


def main() -> int:
    arguments = _parse()
    device = Device(arguments.provider)
    variant = variants.FUSED if device.kind == "cpu" else variants.PACKED
    with models.of_run(arguments.run, device) as model, tempfile.TemporaryDirectory(prefix="slipway-gpu-") as scratch:
        harness.require_single_text(model.reference, f"python -m benchmarks.gpu.engines --run {arguments.run}")
        texts = model.golden.texts[: arguments.count]
        if arguments.texts:
            texts = [line for line in arguments.texts.read_text("utf-8").splitlines() if line.strip()]
        print(f"{variant.name}: written, and its answers compared with the SavedModel's", flush=True)
        repository = _repository(Path(scratch) / "model_repository", model, variant, device, arguments.max_batch)
        print("the engine alone", flush=True)
        limit, logits = engine_alone(model, variant, device, texts, arguments.max_batch)
        with triton.running(repository) as server:
            difference = _difference(server.grpc, texts, logits)
            perf_analyzer.write_texts(texts, model.reference.task, Path(scratch) / "texts.json")
            measured = _sweep(server, Path(scratch) / "texts.json", arguments)
    record = ServingRecord(
        device=device.facts,
        variant=variant.name,
        texts=len(texts),
        max_batch=arguments.max_batch,
        limit=limit,
        served_difference=difference,
        rows=[_row(load, results) for load, results in measured.items()],
        **device.signature("tritonclient", "tokenizers"),
    )
    harness.finish(arguments.record, record, serving_table(record))
    return int(any(row.status == "FAILED" for row in record.rows))


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "gpu_serving.json", rounds=3)
    parser.add_argument("--run", type=Path, required=True, help="a run's directory with bundle/ and artifacts/onnx_fp32/")
    parser.add_argument("--texts", type=Path, help="a file with a text a line, in place of the bundle's golden texts")
    parser.add_argument("--count", type=int, default=2048, help="golden texts sent in turn")
    parser.add_argument("--max-batch", type=int, default=256, help="texts that Triton may put together")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 128, 512], help="clients in the closed loop")
    parser.add_argument("--window-ms", type=int, default=2000, help="length of each of perf_analyzer's three windows")
    return parsed_for_device(parser)


def _repository(target: Path, model: GpuModel, variant: Variant, device: Device, max_batch: int) -> Path:
    """Build a repository of one text_classifier on the variant, which has to pass the gate.

    Raises ParityError.
    """
    built = _passed(model, variant)
    config = dataclasses.replace(embedded.text_config(model.reference), max_batch_size=max_batch)
    with manifest.atomic_directory(target) as building:
        embedded.write_model(building, config, "text_model.py", built, model.reference, model.golden, device.provider)
        if variant == variants.PACKED:  # padding costs it nothing, so batches need not be cut for it
            _make_padding_free(building / TEXT_MODEL / "1" / "settings.json")
        manifest.seal(building, REPOSITORY, {"bundle_sha256": model.reference.sha256, TEXT_MODEL: variant.name, "models": {}})
    return target


def _make_padding_free(path: Path) -> None:
    settings = json.loads(path.read_text("utf-8"))
    settings["cost"]["per_token"] = 0.0
    manifest.write_json(path, settings)


def _passed(model: GpuModel, variant: Variant) -> Artifact:
    built, verdict = models.compared(model, variant)
    if not verdict.passed:
        raise errors.ParityError(
            f"{variant.name} does not give the same answers here, so it is not served",
            expected="parity within the limits",
            found="; ".join(map(str, verdict.failures)),
            where=f"{model.name}, on {verdict.compared_on}",
            fix="python -m benchmarks.gpu.engines --run RUN, to see all variants compared",
        )
    return built


def engine_alone(model: GpuModel, variant: Variant, device: Device, texts: list[Any], batch: int) -> tuple[ServingLimit, Logits]:
    """Time the parts of a text in this process; return the limit and the logits [texts, labels].

    Batches hold `batch` texts as they come, as a server under load puts them together.
    """
    source = model.reference
    tokenize = Tokenizer.of(source.vocabulary, source.facts)
    session = device.open(model.files[variant.name])
    passes: list[Any] = []
    logits: list[Logits] = []
    for _ in range(_PASSES):
        seconds, logits = np.zeros(len(PARTS)), []
        for start in range(0, len(texts), batch):
            took, answers = _batch(tokenize, session, device, texts[start : start + batch])
            seconds += took
            logits.append(answers)
        passes.append(seconds)
    median = np.median(passes[1:], axis=0)
    limit = ServingLimit(
        texts_per_second=len(texts) / float(median[PARTS.index("engine")]),
        texts_per_second_with_all_parts=len(texts) / float(median.sum()),
        shares=dict(zip(PARTS, (median / median.sum()).tolist(), strict=True)),
        batch=batch,
        passes=_PASSES - 1,
    )
    return limit, np.concatenate(logits)


def _batch(tokenize: Tokenizer, session: Any, device: Device, texts: list[Any]) -> tuple[Any, Logits]:
    """Return the seconds of each of PARTS, and the logits."""
    marks = [time.perf_counter()]
    tokens = tokenize(texts)
    marks.append(time.perf_counter())
    feed = Ragged.of([row.ids for row in tokens], [row.types for row in tokens]).padded()
    marks.append(time.perf_counter())
    run = device.bind(session, feed)
    marks.append(time.perf_counter())
    run()
    marks.append(time.perf_counter())
    logits = np.array(run.output.numpy())
    back = time.perf_counter() - marks[-1]
    return np.diff(marks) + np.array([0.0, 0.0, back, 0.0]), logits


def _difference(address: str, texts: list[str], logits: Any) -> float:
    """Return the largest |Δlogit| of the first texts, served and in this process.

    Raises ParityError beyond rounding.
    """
    with client.Client(f"grpc://{address}") as connection:
        served = np.array([answer.logits for answer in connection.classify(texts[:_ASKED])])
    difference = float(np.abs(served - logits[: len(served)]).max())
    if not difference <= (allowed := _SERVED_AGREES * float(np.abs(logits).max())):
        raise errors.ParityError(
            "the server's answers differ from those of the engine behind it",
            expected=f"|Δlogit| ≤ {allowed:.2g}",
            found=f"{difference:.2g}",
            where=address,
            fix=f"{errors.command('verify', 'RUN')}, which compares the served models on the CPU",
        )
    return difference


def _sweep(server: triton.Server, inputs: Path, arguments: argparse.Namespace) -> dict[Load, list[LoadResult]]:
    """Run every load in every round, one after the other."""
    loads = perf_analyzer.closed_loops(TEXT_MODEL, server.address, arguments.concurrency, arguments.window_ms)
    measured: dict[Load, list[LoadResult]] = defaultdict(list)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        for load in loads:
            measured[load].append(perf_analyzer.run(load, inputs))
    return measured


def _row(load: Load, results: list[LoadResult]) -> ServedLoad:
    failures = [result.failure for result in results if result.failure]
    unanswered = sum(result.errors for result in results)
    row = ServedLoad(load.protocol, load.concurrency, "FAILED" if failures else "ok", failures, unanswered, results[0].command)
    if failures:
        return row
    rates = [result.throughput for result in results]
    p50, p99 = np.percentile(np.concatenate([result.latencies for result in results]), (50, 99))
    return dataclasses.replace(
        row,
        throughput=float(np.median(rates)),
        throughput_least=min(rates),
        throughput_most=max(rates),
        p50_ms=float(p50),
        p99_ms=float(p99),
    )


if __name__ == "__main__":
    errors.run(main)
