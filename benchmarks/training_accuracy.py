"""The test accuracy of `make train` on AG News, for several seeds: each the user's own command, with nothing but the seed changed.

Some 20 minutes a seed on two cores. A run that is there is taken as it is, one that was stopped is gone on with.

    python -m benchmarks.training_accuracy                → benchmarks/training_accuracy.json
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

from train import bundle, errors, manifest, provenance

RECORD = Path(__file__).parent / "training_accuracy.json"
_CHECKOUT = Path(__file__).parents[1]
_TARGET = 0.91
_OF_A_RUN = (
    "test_accuracy",
    "macro_f1",
    "validation_accuracy",
    "train_rows",
    "test_rows",
    "steps",
    "examples",
    "peak_memory_bytes",
    "published",
)


def main() -> int:
    arguments = _parse()
    runs = [_trained(arguments.work / f"seed-{seed}", seed) for seed in arguments.seeds]
    accuracies = [run["test_accuracy"] for run in runs]
    record = {
        "runs": runs,
        "mean": sum(accuracies) / len(runs),
        "target": {"least": _TARGET, "met": min(accuracies) >= _TARGET},
        **provenance.record("tensorflow", "tf_keras", "horovod"),
    }
    manifest.write_json(arguments.out, record)
    for run in runs:
        print(f"seed {run['seed']}    {run['test_accuracy']:.4f} on {run['test_rows']} test rows")
    print(f"{'met' if record['target']['met'] else 'MISSED'}       every seed ≥ {_TARGET}")
    return int(not record["target"]["met"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, default=Path("runs/training_accuracy"), help="where the runs go")
    parser.add_argument("--out", type=Path, default=RECORD)
    return parser.parse_args()


def _trained(run: Path, seed: int) -> dict[str, Any]:
    """What the record tells of one run. Raises TrainingError."""
    command = ["make", "train", f"RUN={run}", f"TRAIN_ARGS=--seed {seed}"]
    if not (run / "bundle").is_dir() and (status := subprocess.run([*command, "RESUME=1"], cwd=_CHECKOUT).returncode):
        raise errors.TrainingError(
            "a run was not trained to its end",
            expected="exit status 0",
            found=f"{status}",
            where=" ".join(command),
            fix="what it said above, then this benchmark again: it goes on where it was",
        )
    return of_bundle(bundle.load(run / "bundle").facts, seed, command)


def of_bundle(facts: dict[str, Any], seed: int, command: list[str]) -> dict[str, Any]:
    """Raises TrainingError for a bundle that another seed made, or other than AG News' official test rows."""
    if facts["hyper_parameters"]["seed"] != seed or "published" not in facts["metrics"]:
        raise errors.TrainingError(
            "this bundle is not of the run that is asked for",
            expected=f"seed {seed}, on AG News",
            found=f"seed {facts['hyper_parameters']['seed']}, on {facts['corpus']['where']}",
            where=" ".join(command),
            fix="another --work, and AG News in ../shared/data/ag_news (make doctor)",
        )
    kept = {name: facts["metrics"][name] for name in _OF_A_RUN}
    epochs, amp = (facts["hyper_parameters"][name] for name in ("epochs", "amp"))
    return {"seed": seed, **kept, "epochs": epochs, "amp": amp, "versions": facts["versions"], "command": command}


if __name__ == "__main__":
    errors.run(main)
