"""How long a large model takes from SavedModel to every variant of this machine, compared; and how much memory.

Makes an untrained BERT of the size once (not timed), then runs what `make export SAVED_MODEL=…` runs, and watches the processes.

    python -m benchmarks.whole_export --size bert-base --texts runs/agnews/bundle      → benchmarks/whole_export.json
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.random_bert import SIZES
from train import bundle, errors, manifest, provenance
from train.ragged import infer_rows

RECORD = Path(__file__).parent / "whole_export.json"
_CANDIDATES = 2  # texts looked at for each golden row: an untrained model is undecided about half of them
_SPREAD = 1.4  # standard deviation of the weights × √hidden; 0.6 for a BERT that is about to be trained
_POLL = 0.05  # seconds between two looks at the memory


def main() -> int:
    arguments = _parse()
    model = arguments.work / "model"
    if not (model / "rows.csv").is_file():
        _in_a_process("--make", arguments)
    if arguments.make:
        _make(arguments, model)
        return 0
    stages = [_timed(command) for command in _commands(arguments, model)]
    record = {
        "size": arguments.size,
        "rows": arguments.rows,
        "stages": stages,
        "seconds": sum(stage["seconds"] for stage in stages),
        "peak_gib": max(stage["peak_gib"] for stage in stages),
        "exit_codes": [stage["exit_code"] for stage in stages],
        **provenance.record("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    }
    manifest.write_json(RECORD, record)
    print(f"{arguments.size}: {record['seconds']:.0f} s, {record['peak_gib']:.1f} GiB at most, exit codes {record['exit_codes']}")
    return max(int(stage["exit_code"]) for stage in stages)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--size", choices=SIZES, default="bert-base")
    parser.add_argument("--texts", type=Path, required=True, help="a bundle: its golden texts and its vocabulary are used")
    parser.add_argument("--rows", type=int, default=500, help="golden rows")
    parser.add_argument("--work", type=Path, default=Path("runs/whole_export"), help="where model, bundle and artifacts go")
    parser.add_argument("--make", action="store_true", help="only make the model")
    return parser.parse_args()


def _in_a_process(flag: str, arguments: argparse.Namespace) -> None:
    if not arguments.make:  # so that TensorFlow's memory is not counted
        subprocess.run([sys.executable, "-m", "benchmarks.whole_export", *sys.argv[1:], flag], check=True)


def _make(arguments: argparse.Namespace, target: Path) -> None:
    """SavedModel, vocab.txt, labels.txt and rows.csv; the labels are the model's own answers, the rows the clearest."""
    from train import bert_encoder, classifier
    from train.keras2 import tf_keras
    from train.ragged import INPUTS
    from train.saved_model import SavedClassifier

    shape = SIZES[arguments.size]
    source = bundle.load(arguments.texts)
    golden = bundle.load_golden(source)
    golden = golden.take(np.arange(_CANDIDATES * arguments.rows))
    tf_keras.utils.set_random_seed(0)
    encoder = bert_encoder.build(
        bert_encoder.Size(shape.vocabulary, shape.positions, shape.hidden, shape.layers, shape.heads, shape.intermediate)
    )
    random = np.random.default_rng(0)
    for variable in encoder.trainable_variables:  # large enough that the answer depends on the text
        if "kernel" in variable.name or "embeddings/embeddings" in variable.name:
            variable.assign(random.standard_normal(variable.shape, np.float32) * np.float32(_SPREAD / shape.hidden**0.5))
    head = tf_keras.layers.Dense(len(source.labels), name="classifier")
    inputs = {name: tf_keras.layers.Input((None,), dtype="int32", name=name) for name in INPUTS}
    model = tf_keras.Model(inputs, head(encoder(inputs)["pooled_output"]))
    some = golden.take(np.arange(64)).ids.padded()
    head.bias.assign(-np.median(model(some).numpy(), axis=0))  # so that every label is answered
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
    files = [
        "--saved-model",
        str(model / "saved_model"),
        "--vocab",
        str(model / "vocab.txt"),
        "--labels",
        str(model / "labels.txt"),
    ]
    adopt = ["-m", "export.adopt", *files, "--golden", str(model / "rows.csv"), "--out", str(arguments.work / "bundle")]
    return [[sys.executable, *adopt], [sys.executable, "-m", "export.convert", "--run", str(arguments.work)]]


def _timed(command: list[str]) -> dict[str, Any]:
    """Run it; seconds, and the most memory that it and its children held at once (sum of resident sets)."""
    started, peak = time.monotonic(), 0
    process = psutil.Popen(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    while process.poll() is None:
        peak = max(peak, sum(_resident(one) for one in [process, *_children(process)]))
        time.sleep(_POLL)
    return {
        "command": ["python", *command[1:]],
        "seconds": time.monotonic() - started,
        "peak_gib": peak / 2**30,
        "exit_code": process.returncode,
    }


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:  # it has ended meanwhile
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    errors.run(main)
