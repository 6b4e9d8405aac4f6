"""How much faster than ort_fp32 is each variant on real lengths, and what do its answers cost?

Reads a finished export; writes benchmarks/records/variant_speed.json. Variants run in turn on the
same golden texts, length-sorted; beside them tf2onnx's graph with every text padded to the longest
sequence, as such models are mostly run.

    python -m benchmarks.export.variant_speed --run runs/agnews
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.harness import Signed, Table
from export.runtime import onnxruntime
from export.session import Session, open_onnx
from slipway import errors, provenance
from slipway.contract import artifact, bundle
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.ragged import Feed, Ragged, length_sorted_batches
from slipway.contract.records import from_json
from slipway.statistics import Floats, Ratio, ratio

_REFERENCE, _BASELINE = "ort_fp32", "tf2onnx, padded"
_BATCH = 32


@dataclass(frozen=True)
class KeptParity:
    """What of parity.json is kept."""

    rows: int
    flips: int
    accuracy: float
    accuracy_loss_bound: float
    mcnemar_p: float
    engine_seconds: float
    seconds: float
    as_meant: bool


@dataclass(frozen=True)
class VariantRow:
    model: str
    texts_per_second: float
    speed_over_ort_fp32: Ratio
    megabytes: float | None = None
    parity: KeptParity | None = None  # None: tf2onnx's padded graph is no variant


@dataclass(frozen=True)
class VariantSpeed(Signed):
    texts: int
    mean_tokens: float
    loads: int
    rounds: int
    rows: list[VariantRow]


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    passed = artifact.verdicts(arguments.run, source.sha256).passed
    artifacts = {built.variant.name: built for built in passed if built.variant.runtime == "onnxruntime"}
    golden = bundle.load_golden(source).ids
    texts = golden.take(np.arange(min(arguments.texts, len(golden))))
    seconds = _measure(artifacts, texts, source, arguments.loads, arguments.rounds)
    record = VariantSpeed(
        texts=len(texts),
        mean_tokens=float(texts.lengths.mean()),
        loads=arguments.loads,
        rounds=arguments.rounds,
        rows=[_row(name, seconds, len(texts), artifacts.get(name), source) for name in seconds],
        **provenance.record("onnxruntime", "numpy"),
    )
    harness.finish(arguments.record, record, table(record))
    return 0


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "variant_speed.json", rounds=3)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, exported on this machine")
    parser.add_argument("--texts", type=int, default=512, help="golden texts run in every round")
    parser.add_argument("--loads", type=int, default=3, help="times every model is loaded anew, for --rounds each")
    return parser.parse_args()


def _measure(artifacts: dict[str, Artifact], texts: Ragged, source: Bundle, loads: int, rounds: int) -> dict[str, list[Floats]]:
    """Return model → seconds [rounds] for every load."""
    sorted_feeds = [texts.take(numbers).padded() for numbers in length_sorted_batches(texts.lengths, _BATCH)]
    in_order = [np.arange(start, min(start + _BATCH, len(texts))) for start in range(0, len(texts), _BATCH)]
    padded_feeds = [texts.take(numbers).padded(source.max_seq_len) for numbers in in_order]
    raw = artifacts["onnx_fp32"].directory / onnxruntime.RAW
    seconds: dict[str, list[Floats]] = {name: [] for name in [*artifacts, _BASELINE]}
    for _ in range(loads):
        with ExitStack() as stack:
            runs = {name: _timed(stack.enter_context(onnxruntime.open(built)), sorted_feeds) for name, built in artifacts.items()}
            runs[_BASELINE] = _timed(stack.enter_context(open_onnx(raw)), padded_feeds)
            times = np.array([[run() for run in runs.values()] for _ in range(rounds)])
        for name, column in zip(runs, times.T, strict=True):
            seconds[name].append(column)
    return seconds


def _timed(session: Session, feeds: list[Feed]) -> Callable[[], float]:
    def run() -> float:
        session.infer(feeds[-1])  # not timed: it brings this model's weights and threads back into the caches
        started = time.perf_counter()
        for feed in feeds:
            session.infer(feed)
        return time.perf_counter() - started

    return run


def _row(name: str, seconds: dict[str, list[Floats]], texts: int, built: Artifact | None, source: Bundle) -> VariantRow:
    return VariantRow(
        model=name,
        texts_per_second=texts / float(np.median(np.concatenate(seconds[name]))),
        speed_over_ort_fp32=ratio(seconds[_REFERENCE], seconds[name]),  # of durations: the inverse is that of speeds
        megabytes=built.model.stat().st_size / 1e6 if built else None,
        parity=from_json(KeptParity, artifact.verdict(built, source.sha256)) if built else None,
    )


def table(record: VariantSpeed) -> Table:
    columns = ("model", "speed over ort_fp32 (95 %)", "MB", "labels changed", "accuracy lost, at most", "comparing ÷ engine")
    note = f"{record.texts} AG News texts, {record.mean_tokens:.0f} tokens on average. {record.signature}"
    return Table("Variants on real lengths", columns, [_cells(row) for row in record.rows], note)


def _cells(row: VariantRow) -> tuple[str, ...]:
    speed = row.model, row.speed_over_ort_fp32.text(times=" ×")
    if row.parity is None:
        return (*speed, "–", "–", "–", "–")
    answers = f"{row.parity.flips} of {row.parity.rows}", f"{row.parity.accuracy_loss_bound:.2%}"
    return (*speed, f"{row.megabytes:.0f}", *answers, f"{row.parity.seconds / row.parity.engine_seconds:.2f}")


if __name__ == "__main__":
    errors.run(main)
