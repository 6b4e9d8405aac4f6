"""What each variant of a run gains on real lengths over ort_fp32, what it costs in answers, and what comparing it cost.

Reads a finished export; writes benchmarks/variant_speed.json. Variants run in turn on the same golden texts, length-sorted;
beside them tf2onnx's graph with every text padded to the longest sequence, which is how such models are mostly run.

    python -m benchmarks.variant_speed --run runs/agnews
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratios import Floats, ratio
from export import artifact, conversions, runner
from export.artifact import Artifact
from train import bundle, errors, manifest, provenance, terminal
from train.bundle import Bundle
from train.ragged import Feed, Ragged, length_sorted_batches

RECORD = Path(__file__).parent / "variant_speed.json"
_BASE, _USUAL = "ort_fp32", "tf2onnx, padded"
_BATCH = 32


def main() -> int:
    arguments = _parse()
    source = bundle.load(arguments.run / "bundle")
    artifacts = [one for one in artifact.all_passed(arguments.run, source.sha256) if one.variant.runtime == "onnxruntime"]
    golden = bundle.load_golden(source).ids
    texts = golden.take(np.arange(min(arguments.texts, len(golden))))
    seconds = _measure(artifacts, texts, source, arguments.loads, arguments.rounds)
    rows = [_row(name, seconds, len(texts), artifacts, source) for name in seconds]
    record = {
        "texts": len(texts),
        "mean_tokens": float(texts.lengths.mean()),
        "loads": arguments.loads,
        "rounds": arguments.rounds,
        "rows": rows,
        **provenance.record("onnxruntime", "numpy"),
    }
    manifest.write_json(RECORD, record)
    _show(rows)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, exported on this machine")
    parser.add_argument("--texts", type=int, default=512, help="golden texts run in every round")
    parser.add_argument("--loads", type=int, default=3, help="times every model is loaded anew")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every load")
    return parser.parse_args()


def _measure(artifacts: list[Artifact], texts: Ragged, source: Bundle, loads: int, rounds: int) -> dict[str, list[Floats]]:
    """Model → seconds [rounds] for every load."""
    sorted_feeds = [texts.take(numbers).padded() for numbers in length_sorted_batches(texts.lengths, _BATCH)]
    as_they_come = [np.arange(start, min(start + _BATCH, len(texts))) for start in range(0, len(texts), _BATCH)]
    padded_feeds = [texts.take(numbers).padded(source.max_seq_len) for numbers in as_they_come]
    raw = next(one for one in artifacts if one.variant.name == "onnx_fp32").directory / conversions.RAW
    names = [one.variant.name for one in artifacts]
    seconds: dict[str, list[Floats]] = {name: [] for name in [*names, _USUAL]}
    for _ in range(loads):
        with ExitStack() as stack:
            runs: dict[str, Callable[[], float]] = {}
            for one in artifacts:
                session = stack.enter_context(runner.open_artifact(one))
                runs[one.variant.name] = _timed(session, sorted_feeds)
            runs[_USUAL] = _timed(stack.enter_context(runner.open_onnx(raw)), padded_feeds)
            times = np.array([[run() for run in runs.values()] for _ in range(rounds)])
        for name, column in zip(runs, times.T, strict=True):
            seconds[name].append(column)
    return seconds


def _timed(session: runner.Session, feeds: list[Feed]) -> Callable[[], float]:
    def run() -> float:
        session.infer(feeds[-1])  # not timed: caches and threads are this model's own afterwards
        started = time.perf_counter()
        for feed in feeds:
            session.infer(feed)
        return time.perf_counter() - started

    return run


def _row(name: str, seconds: dict[str, list[Floats]], texts: int, artifacts: list[Artifact], source: Bundle) -> dict[str, Any]:
    found = {
        "model": name,
        "texts_per_second": texts / float(np.median(np.concatenate(seconds[name]))),
        "speed_over_ort_fp32": ratio(seconds[_BASE], seconds[name]),  # theirs ÷ ours in seconds is ours ÷ theirs in speed
    }
    for one in artifacts:
        if one.variant.name == name:
            parity = artifact.verdict(one, source.sha256)
            kept = ("rows", "flips", "accuracy", "accuracy_loss_bound", "mcnemar_p", "engine_seconds", "seconds", "as_meant")
            found |= {"megabytes": one.model.stat().st_size / 1e6, "parity": {key: parity[key] for key in kept}}
    return found


def _show(rows: list[dict[str, Any]]) -> None:
    columns = ("model", "texts/s", "× ort_fp32", "95 %", "MB", "flips", "loss <", "comparing ÷ engine")
    table = terminal.table("Variants on real lengths", *columns, left=("model",))
    for row in rows:
        low, high = row["speed_over_ort_fp32"]["interval"]
        shown = [
            row["model"],
            f"{row['texts_per_second']:.0f}",
            f"{row['speed_over_ort_fp32']['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
        ]
        if "parity" in row:
            parity = row["parity"]
            shown += [f"{row['megabytes']:.0f}", f"{parity['flips']}/{parity['rows']}", f"{parity['accuracy_loss_bound']:.2%}"]
            shown += [f"{parity['seconds'] / parity['engine_seconds']:.2f}"]
        table.add_row(*shown, *["–"] * (len(columns) - len(shown)))
    terminal.console().print(table)


if __name__ == "__main__":
    errors.run(main)
