"""Made-up records of a run: every kind of row, verdict and gap that benchmark.json may hold.

`row`, `comparison`, `benchmark` and `parity` return JSON, as it lies in the files; `record` and
`run` return what the report makes of it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from serving.benchmark.record import BenchmarkRecord
from serving.report.records import BundleRecord, OfflineCheck, RunRecords, ServedRecord, TrainingRecord
from slipway.contract.bundle import Golden
from slipway.contract.ragged import Ragged
from slipway.contract.records import BENCHMARK_SCHEMA, from_json
from slipway.contract.variants import VARIANTS

SHA = "a" * 64
LABELS = ["World", "Sports", "Business"]
MACHINE = {"cpu": "A CPU", "cpu_flags": ["avx2"], "cores": 2, "memory_gib": 8, "system": "Linux"}
COMMAND = {"command": "python -m …", "versions": {"python": "3.11.7"}, "machine": MACHINE, "commit": "0123456789ab"}
STAGES = ("client", "network", "queue", "tokenizing", "engine", "padding", "postprocessing", "other")
NOTHING_COMPARED: dict[str, Any] = {  # of a record with rows of its own
    "comparisons": [],
    "choice": {"p99_ms": 500.0, "price_per_hour": None, "currency": "EUR", "rows": [], "chosen": None, "reason": "none holds it"},
}
SPEEDS = {"text_classifier": 200.0, "bert_ort_int8": 210.0, "usual_tf2onnx": 50.0}  # texts/s with 64 clients


def figure(value: float, spread: float = 0.05) -> dict[str, Any]:
    return {"value": value, "interval": [value * (1 - spread), value * (1 + spread)]}


def row(
    subject: str, protocol: str = "grpc", clients: int | None = 64, share: float | None = None, **changes: Any
) -> dict[str, Any]:
    """A row that counts: with so many clients, or at random with a share of the capacity."""
    speed = SPEEDS[subject] * (min(1.0, 0.5 + (clients or 0) / 128) if share is None else min(share, 0.95))
    ms = 1000 * (clients or 1) / speed if share is None else 30 / max(0.05, 1 - share)
    load = str(clients) if share is None else f"r{100 * share:.0f}"
    measured = {
        "id": f"{subject}/{protocol}/network/own/{load}",
        "subject": subject,
        "protocol": protocol,
        "transport": "network",
        "lengths": "own",
        "load": "closed" if share is None else "poisson",
        "concurrency": clients if share is None else None,
        "rate": None if share is None else share * SPEEDS[subject],
        "sent": None if share is None else share * SPEEDS[subject],
        "offered_share": share,
        "status": "ok",
        "why": [],
        "command": f"perf_analyzer -m {subject}",
        "exit_status": 0,
        "requests": 900,
        "errors": 0,
        "rejected": 0,
        "rounds": [round_(speed, ms)],
        "throughput": figure(speed),
        **{name: figure(ms * times) for name, times in (("p50_ms", 1.0), ("p95_ms", 1.4))},
        "p99_ms": {**figure(ms * 1.8, 0.2), "needs": 368, "enough": True},
        "stages": {f"{stage}_ms": ms * part / 36 for part, stage in enumerate(STAGES, 1)},
        "padding_waste": 0.03 if subject != "usual_tf2onnx" else 0.58,
        "gpu": None,
    }
    return measured | changes


def round_(speed: float, ms: float) -> dict[str, Any]:
    times = {"p50_ms": ms, "p95_ms": 1.4 * ms, "p99_ms": 1.8 * ms}
    quiet = {"others_share": 0.012, "steal_share": 0.001, "mhz": 2700.0, "tries": 2}
    return {"throughput": speed, **times, "requests": 900, "errors": 0, **quiet, "why": []}


def failed(subject: str, why: str, **changes: Any) -> dict[str, Any]:
    """A row without figures."""
    without = row(subject, **changes) | {
        "status": "FAILED",
        "why": [why],
        "exit_status": 99,
        "errors": None,
        "rounds": [],
        "stages": None,
    }
    return {name: value for name, value in without.items() if name not in ("throughput", "p50_ms", "p95_ms", "p99_ms")}


def comparison(a: str, b: str, verdict: str, ratio: float | None, measure: str = "throughput", why: str = "") -> dict[str, Any]:
    interval = None if ratio is None else [ratio * 0.9, ratio * 1.1]
    return {"a": a, "b": b, "measure": measure, "ratio": ratio, "interval": interval, "verdict": verdict, "why": why}


def benchmark(**changes: Any) -> dict[str, Any]:
    """A record with every kind of load, verdict and status."""
    closed = [row(subject, protocol, clients) for subject in SPEEDS for protocol in ("http", "grpc") for clients in (1, 64)]
    at_random = [row("text_classifier", share=share) for share in (0.5, 0.7, 0.9, 1.1)]
    invalid = row("bert_ort_int8", "grpc", 16, status="invalid", why=["other processes used 31 % of the cores"])
    texts, ids, baseline = (f"{subject}/grpc/network/own/64" for subject in SPEEDS)
    measured = {
        "schema": BENCHMARK_SCHEMA,
        "setting": "quick",
        "rounds": 5,
        "texts": 600,
        "window_ms": 500,
        "bundle_sha256": SHA,
        "repository_sha256": SHA,
        "model": "text_classifier",
        "variant": "ort_int8",
        "subjects": {
            "text_classifier": {
                "kind": "text",
                "variant": "ort_int8",
                "baseline": False,
                "provider": "CPUExecutionProvider",
                "what": "What is published.",
            },
            "bert_ort_int8": {
                "kind": "ids",
                "variant": "ort_int8",
                "baseline": False,
                "provider": "CPUExecutionProvider",
                "what": "The same by ids.",
            },
            "usual_tf2onnx": {
                "kind": "text",
                "variant": None,
                "baseline": True,
                "provider": "CPUExecutionProvider",
                "what": "Raw tf2onnx, padded to 128",
            },
        },
        "skipped": {"cuda_shared_memory": "no GPU"},
        "rows": [*closed, *at_random, invalid, failed("usual_tf2onnx", "the server ended", clients=16)],
        "comparisons": [
            comparison(texts, baseline, "faster", 4.0),
            comparison(texts, baseline, "faster", 0.25, "p99_ms"),
            comparison(texts, ids, "no difference", 0.97),
            comparison(texts, "text_classifier/http/network/own/64", "slower", 0.8),
            comparison(ids, baseline, "invalid run", None, why="other processes used 31 % of the cores"),
        ],
        "engine_limit": {"texts_per_second": 230.0, "rounds": [], "by_variant": {"ort_int8": 230.0}},
        "padding": {
            "waste": 0.03,
            "by_length": [{"tokens": "1–32", "texts": 200, "waste": 0.02}, {"tokens": "33–48", "texts": 400, "waste": 0.035}],
        },
        "choice": choice([texts, ids, baseline]),
        "seconds": 200.0,
        "harness_share": 0.004,
        "resumed_loads": 0,
        "made_at": "2026-03-04T05:06:07+00:00",
        **COMMAND,
    }
    return measured | changes


def choice(ids: list[str]) -> dict[str, Any]:
    offers = [
        {
            "row": row_id,
            "subject": subject,
            "texts_per_second": SPEEDS[subject],
            "p99_ms": 1000 * 64 / SPEEDS[subject],
            "holds": subject != "usual_tf2onnx",
            "cost_per_million": 1e6 / SPEEDS[subject] / 3600 * 0.5,
            "accuracy_loss_bound": {"usual_tf2onnx": None}.get(subject, 0.0035),
            "on_front": subject == "bert_ort_int8",
        }
        for row_id, subject in zip(ids, SPEEDS, strict=True)
    ]
    chosen, reason = ids[0], "text_classifier with 64 clients costs least of all that hold it"
    return {"p99_ms": 500.0, "price_per_hour": 0.5, "currency": "EUR", "rows": offers, "chosen": chosen, "reason": reason}


def parity(variant: str, flips: list[int], **changes: Any) -> dict[str, Any]:
    """The comparison of a variant that flipped these rows of `golden`."""
    compared = {
        "variant": variant,
        "passed": True,
        "verdict": "passed",
        "as_meant": True,
        "rows": 400,
        "labelled": 400,
        "flips": len(flips),
        "flip_rate_bound": 0.01,
        "accuracy": 0.9,
        "accuracy_loss": 0.0,
        "accuracy_loss_bound": 0.004,
        "mcnemar_p": 1.0,
        "logit_difference_max": 1e-3,
        "texts_per_second": 230.0,
        "limits": asdict(VARIANTS[variant].limits),
        "precision": {"of": "weights", "weights": {"int8": 1.0}, "operators": {}},
        "probabilities": {
            "slope": 1.012,
            "difference_mean": 0.004,
            "difference_p99": 0.031,
            "before": {"ece": 0.0123, "brier": 0.1201},
            "after": {"ece": 0.0134, "brier": 0.1212},
        },
        "neighbours": {"neighbour": "one word 200 times", "rows": 64, "flips": 3, "difference_max": 0.25},
        "probes": {"rows": 2225, "non_finite_rows": 0, "difference_max": 0.8, "difference_mean": 0.1, "correlation": 0.9876},
        "unseen": [],
        "flipped_rows": [{"row": number, "label": 0, "reference": 0, "found": 1} for number in flips],
        **COMMAND,
    }
    return compared | changes


def live(variant: str, flips: list[int], **changes: Any) -> dict[str, Any]:
    """The comparison of a served text_classifier over HTTP."""
    outputs = ["label", "logits", "probability", "tokens", "truncated"]
    asked = {"protocol": "http", "model": f"text_classifier ({variant})", "outputs": outputs, "probe_rows": 38}
    return parity(variant, flips, failures=[], wrong_answers=[], **asked) | changes


def golden(right: float = 0.9, seed: int = 0) -> Golden:
    """400 texts and the reference's answers to them, of which `right` are right."""
    random = np.random.default_rng(seed)
    labels = np.arange(400) % len(LABELS)
    answers = np.where(random.random(400) < right, labels, (labels + 1) % len(LABELS))
    return Golden(
        [f"held-out text number {number}" + (" " + 200 * "x") * (number == 30) for number in range(400)],
        Ragged.of([[2, 5 + number % 7, 3] for number in range(400)]),
        labels.astype(np.int64),
        np.eye(len(LABELS), dtype=np.float32)[answers],
    )


def record(**changes: Any) -> BenchmarkRecord:
    return BenchmarkRecord.from_json(benchmark(**changes))


def run(name: str = "runs/a", right: float = 0.9, **changes: Any) -> RunRecords:
    """The records of a run, with changes of its JSON."""
    classes = {label: {"precision": 0.9, "recall": 0.9, "f1": 0.9, "rows": 100} for label in LABELS}
    metrics = {
        "test_rows": 400,
        "test_accuracy": right,
        "macro_f1": right,
        "confusion": [[90, 5, 5], [3, 92, 5], [4, 4, 92]],
        "per_class": classes,
        "world_size": 2,
        "steps": 40,
    }
    bundle = {
        "task": "single_text",
        "encoder": {"handle": ".tools/encoder", "sha256": SHA, "made_from": "MiniLM-L6"},
        "corpus": {"where": "corpus", "sha256": SHA, "generated": False},
        "hyper_parameters": {"epochs": 1, "learning_rate": 1e-4},
        "metrics": metrics,
        "versions": {"tensorflow": "2.17.1"},
    }
    steps = [{"step": i, "loss": 1 / i, "learning_rate": 1e-4, "skipped": False, "epoch": 1} for i in range(1, 41)]
    history = {"steps": steps, "validation": [{"step": 40, "validation_loss": 0.2, "validation_accuracy": 0.9}]}
    json: dict[str, Any] = {
        "bundle": bundle,
        "labels": LABELS,
        "history": history,
        "golden": golden(right),
        "parity": [parity("ort_fp32", []), parity("ort_int8", [7, 30])],
        "left_out": {},
        "served": {"passed": True, "ready_seconds": 1.2, "checks": [live("ort_int8", [7, 30])]},
        "benchmark": benchmark(),
    } | changes
    return RunRecords(
        run=name,
        bundle=from_json(BundleRecord, json["bundle"]),
        labels=json["labels"],
        training=from_json(TrainingRecord, json["history"]),
        golden=json["golden"],
        parity_or_error=tuple(from_json(OfflineCheck, result) for result in json["parity"]),
        left_out=json["left_out"],
        skipped={"tensorrt_fp16": {"reason": "no libnvinfer", "fix": "a machine with an NVIDIA GPU"}},
        served_or_error=from_json(ServedRecord, json["served"]),
        benchmark_or_error=BenchmarkRecord.from_json(json["benchmark"]),
    )
