"""Time and memory of a large model from SavedModel to every variant of this machine, compared.

Makes an untrained BERT of the size once (not timed), then runs the commands that import and export
it, and watches their processes. Writes benchmarks/records/large_model.json:

    python -m benchmarks.export.large_model --size bert-base --texts runs/agnews/bundle
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks import harness
from benchmarks.harness import Signed, Table
from benchmarks.models import SIZES
from slipway import errors, provenance
from slipway.contract import bundle
from slipway.contract.ragged import infer_rows

_CANDIDATES = 2  # texts to choose each golden row from: an untrained model is undecided about half of them
_SPREAD = 1.4  # standard deviation of the weights × √hidden; 0.6 for a BERT that is about to be trained
_POLL = 0.05  # seconds between two readings of the memory


@dataclass(frozen=True)
class TimedCommand:
    command: list[str]
    seconds: float
    peak_gib: float
    exit_code: int


@dataclass(frozen=True)
class LargeModel(Signed):
    size: str
    rows: int
    stages: list[TimedCommand]
    seconds: float
    peak_gib: float
    exit_codes: list[int]


def main() -> int:
    arguments = _parse()
    model = arguments.work / "model"
    if arguments.make:
        _make(arguments, model)
        return 0
    if not (model / "rows.csv").is_file():  # in a process of its own, so that TensorFlow's memory is not counted
        subprocess.run([sys.executable, "-m", "benchmarks.export.large_model", *sys.argv[1:], "--make"], check=True)
    stages = [_timed(command) for command in _commands(arguments, model)]
    record = LargeModel(
        size=arguments.size,
        rows=arguments.rows,
        stages=stages,
        seconds=sum(stage.seconds for stage in stages),
        peak_gib=max(stage.peak_gib for stage in stages),
        exit_codes=[stage.exit_code for stage in stages],
        **provenance.record("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    )
    harness.finish(arguments.record, record, table(record))
    return max(record.exit_codes)


def _parse() -> argparse.Namespace:
    parser = harness.parser(__doc__, "large_model.json")
    parser.add_argument("--size", choices=SIZES, default="bert-base")
    parser.add_argument("--texts", type=Path, required=True, help="a bundle whose golden texts and vocabulary are used")
    parser.add_argument("--rows", type=int, default=500, help="golden rows")
    parser.add_argument("--work", type=Path, default=Path("runs/large_model"), help="where model, bundle and artifacts go")
    parser.add_argument("--make", action="store_true", help="only make the model")
    return parser.parse_args()


def _make(arguments: argparse.Namespace, target: Path) -> None:
    """Write SavedModel, vocab.txt, labels.txt and rows.csv, labelled by its clearest answers."""
    from slipway.contract.ragged import INPUTS
    from slipway.encoder import bert
    from slipway.tensorflow import SavedClassifier, tf_keras
    from train.model import classifier

    shape = SIZES[arguments.size]
    source = bundle.load(arguments.texts)
    golden = bundle.load_golden(source)
    golden = golden.take(np.arange(_CANDIDATES * arguments.rows))
    tf_keras.utils.set_random_seed(0)
    encoder = bert.build(bert.Size(shape.vocabulary, shape.positions, shape.hidden, shape.layers, shape.heads, shape.intermediate))
    random = np.random.default_rng(0)
    for variable in encoder.trainable_variables:  # large enough that the answer depends on the text
        if "kernel" in variable.name or "embeddings/embeddings" in variable.name:
            variable.assign(random.standard_normal(variable.shape, np.float32) * np.float32(_SPREAD / shape.hidden**0.5))
    head = tf_keras.layers.Dense(len(source.labels), name="classifier")
    inputs = {name: tf_keras.layers.Input((None,), dtype="int32", name=name) for name in INPUTS}
    model = tf_keras.Model(inputs, head(encoder(inputs)["pooled_output"]))
    sample = golden.take(np.arange(64)).ids.padded()
    head.bias.assign(-np.median(model(sample).numpy(), axis=0))  # so that every label is answered
    target.mkdir(parents=True, exist_ok=True)
    classifier.save(model, target / "saved_model")
    (target / "vocab.txt").write_bytes(source.vocabulary.read_bytes())
    (target / "labels.txt").write_text("\n".join(source.labels) + "\n", "utf-8")
    logits = infer_rows(SavedClassifier(target / "saved_model").infer, golden.ids, 32)
    ranked = np.sort(logits, axis=1)
    clearest = np.sort(np.argsort(ranked[:, -2] - ranked[:, -1])[: arguments.rows])
    with (target / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((golden.texts[row], source.labels[logits[row].argmax()]) for row in clearest)


def _commands(arguments: argparse.Namespace, model: Path) -> list[list[str]]:
    files = {"--saved-model": "saved_model", "--vocab": "vocab.txt", "--labels": "labels.txt", "--golden": "rows.csv"}
    given = [word for flag, name in files.items() for word in (flag, str(model / name))]
    return [
        [sys.executable, "-m", "slipway.cli", "import", str(arguments.work), *given],
        [sys.executable, "-m", "slipway.cli", "export", str(arguments.work)],
    ]


def _timed(command: list[str]) -> TimedCommand:
    """Run the command; its peak is the sum of resident sets, of it and its children at once."""
    started, peak = time.monotonic(), 0
    process = psutil.Popen(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):  # one of them has ended meanwhile
            members = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in members))
        time.sleep(_POLL)
    return TimedCommand(["slipway", *command[3:]], time.monotonic() - started, peak / 2**30, process.returncode)


def _name(command: list[str]) -> str:
    return next(word for word in command if word not in ("slipway", "python", "-m"))  # the last two: of older records


def table(record: LargeModel) -> Table:
    stages = ", ".join(f"{_name(stage.command)} {stage.seconds:.0f} s" for stage in record.stages)
    spent = f"{record.seconds:.0f} s, {record.peak_gib:.1f} GiB at most ({stages})"
    return Table("", (), [], f"{record.size}, {record.rows} golden rows: {spent}. {record.signature}")


if __name__ == "__main__":
    errors.run(main)
