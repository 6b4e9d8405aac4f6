"""The test accuracy of `make train` on AG News for several seeds, all else being equal.

Takes 20 minutes a seed on two cores. A finished run is taken as it is; a stopped one is resumed.

    python -m benchmarks.training.accuracy            → benchmarks/records/training_accuracy.json
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Signed, Table
from slipway import errors, provenance
from slipway.contract import bundle
from slipway.contract.records import from_json

_CHECKOUT = Path(__file__).parents[2]
_TARGET = 0.91


@dataclass(frozen=True)
class PublishedAccuracy:
    source: str
    trained_on: str
    test_accuracy: dict[str, float]  # by model


@dataclass(frozen=True)
class SeedRun:
    """One finished run, from its bundle."""

    seed: int
    test_accuracy: float
    macro_f1: float
    validation_accuracy: float
    train_rows: int
    test_rows: int
    steps: int
    examples: int
    peak_memory_bytes: int
    published: PublishedAccuracy
    epochs: int
    amp: str
    versions: dict[str, str]
    command: list[str]


@dataclass(frozen=True)
class LeastAccuracy:
    least: float
    met: bool  # by every seed


@dataclass(frozen=True)
class TrainingAccuracy(Signed):
    runs: list[SeedRun]
    mean: float
    target: LeastAccuracy


def main() -> int:
    arguments = _parse()
    runs = [_trained(arguments.work / f"seed-{seed}", seed) for seed in arguments.seeds]
    accuracies = [run.test_accuracy for run in runs]
    target = LeastAccuracy(_TARGET, min(accuracies) >= _TARGET)
    signature = provenance.record("tensorflow", "tf_keras", "horovod")
    record = TrainingAccuracy(runs=runs, mean=sum(accuracies) / len(runs), target=target, **signature)
    harness.finish(arguments.record, record, table(record))
    print(f"{'met' if target.met else 'MISSED'}       every seed ≥ {_TARGET}")
    return int(not target.met)


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "training_accuracy.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, default=Path("runs/training_accuracy"), help="where the runs go")
    return parser.parse_args()


def _trained(run: Path, seed: int) -> SeedRun:
    """Train the run, unless it is there. Raises TrainingError."""
    command = ["make", "train", f"RUN={run}", f"TRAIN_ARGS=--seed {seed}"]
    if not (run / "bundle").is_dir() and (status := subprocess.run([*command, "RESUME=1"], cwd=_CHECKOUT).returncode):
        raise errors.TrainingError(
            "a run was not trained to its end",
            expected="exit status 0",
            found=f"{status}",
            where=" ".join(command),
            fix="do what its message above says, then run this benchmark again: it resumes",
        )
    return of_bundle(bundle.load(run / "bundle").facts, seed, command)


def of_bundle(facts: dict[str, Any], seed: int, command: list[str]) -> SeedRun:
    """Return what the record keeps of a bundle.

    Raises TrainingError when another seed made it, or when its test rows are not AG News' official
    ones.
    """
    if facts["hyper_parameters"]["seed"] != seed or "published" not in facts["metrics"]:
        raise errors.TrainingError(
            "this bundle is of another run",
            expected=f"seed {seed}, on AG News",
            found=f"seed {facts['hyper_parameters']['seed']}, on {facts['corpus']['where']}",
            where=" ".join(command),
            fix="use another --work, and AG News in ../shared/data/ag_news (make doctor)",
        )
    kept = {**facts["metrics"], **facts["hyper_parameters"], "versions": facts["versions"], "command": command}
    return from_json(SeedRun, kept)


def table(record: TrainingAccuracy) -> Table:
    rows = [
        (
            str(run.seed),
            f"{run.test_accuracy:.4f}",
            f"{run.macro_f1:.4f}",
            f"{run.train_rows} rows, {run.epochs} epochs",
            f"{run.peak_memory_bytes / 1e9:.2f} GB",
        )
        for run in record.runs
    ]
    first = record.runs[0]
    figures = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in first.published.test_accuracy.items())
    mean = f"Mean {record.mean:.4f}, on AG News' official {first.test_rows} test rows"
    note = f"{mean}. Published, on {first.published.trained_on}: {figures}. {record.signature}"
    return Table("Test accuracy", ("seed", "test accuracy", "macro F1", "trained on", "peak memory of a rank"), rows, note)


if __name__ == "__main__":
    errors.run(main)
