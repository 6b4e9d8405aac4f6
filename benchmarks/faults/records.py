"""Faults in what is recorded: verdicts that are typed over or of something else, files that are not
the ones that were hashed, and what an import brings along.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults import catalogue, graphs, rows
from benchmarks.faults.catalogue import Fault, replace, sealed_anew
from benchmarks.faults.graphs import INT8
from export.import_savedmodel.golden_rows import check_better_than_guessing
from serving.repository import engines
from slipway.contract import artifact, bundle
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Bundle
from slipway.contract.scoring import scores

_FUSED = "ort_fp32"
Record = dict[str, Any]


def _loaded(run: Path, variant: str) -> tuple[Artifact, Bundle]:
    return artifact.load(run / "artifacts" / variant), bundle.load(run / "bundle")


def _read(run: Path, variant: str = INT8) -> list[str]:
    """Read a variant and its verdict, as whatever builds a repository does. Raises SlipwayError."""
    candidate, source = _loaded(run, variant)
    artifact.verdict(candidate, source.sha256)
    return []


def _built(run: Path) -> list[str]:
    """Ask whether the verdict is of a machine like this one. Raises ParityError."""
    engines.refuse_other_machine(*_loaded(run, INT8))
    return []


# The verdict


def _retyped(run: Path, change: Callable[[Record], object]) -> None:
    """Change the verdict of INT8, which passed."""
    path = run / "artifacts" / INT8 / artifact.PARITY
    record = json.loads(path.read_text("utf-8"))
    change(record)
    replace(path, json.dumps(record).encode())


def _typed(**values: object) -> Callable[[Path], None]:
    return partial(_retyped, change=lambda record: record.update(values))


def _without(name: str) -> Callable[[Path], None]:
    return partial(_retyped, change=lambda record: record.pop(name))


def _of_a_worse_model(run: Path, **typed: object) -> None:
    """Answer the opposite, let the gate refuse it, and type over what it said."""
    graphs.edited(run, INT8, lambda graph: graphs.append(graph, graphs.node("Neg", "inner", "logits")))
    graphs.judged(run, INT8)
    _typed(**typed, passed=True, verdict="passed", failures=[])(run)


def _of_a_broken_engine(run: Path) -> None:
    """Let the engine fail, and type its error away."""
    graphs.edited(run, INT8, lambda graph: graphs.append(graph, graphs.node("Add", "inner nowhere", "logits")))
    graphs.judged(run, INT8)
    _typed(engine_error="", non_finite_rows=0, flips=0, lost=0, passed=True, failures=[])(run)


def _cut_short(run: Path) -> None:
    path = run / "artifacts" / INT8 / artifact.PARITY
    replace(path, path.read_bytes()[:-100])


def _count_more_rows(record: Record) -> None:
    record.update(rows=10 * record["rows"], labelled=10 * record["labelled"], flips=record["flips"] + 200)


def _leave_out_class(record: Record) -> None:
    del record["by_class"][0]


def _of_another_variant(run: Path) -> None:
    source, target = (run / "artifacts" / name / artifact.PARITY for name in (_FUSED, INT8))
    replace(target, source.read_bytes())


def _of_another_bundle(run: Path) -> None:
    source = bundle.load(run / "bundle")
    golden = bundle.load_golden(source)
    rows.keep(run, golden, np.arange(len(golden.ids) - 1))


def _older_machine(record: Record) -> None:
    record["versions"]["onnxruntime"] = "1.4.0"
    record["machine"]["cpu_flags"] = []


# The files


def _flip_a_bit(run: Path) -> None:
    path = run / "artifacts" / INT8 / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    replace(path, bytes(data))


def _under_another_name(run: Path) -> None:
    """Call the FP32 variant INT8, whose limits are wider."""
    directory = run / "artifacts" / INT8
    shutil.rmtree(directory)
    shutil.copytree(run / "artifacts" / _FUSED, directory)


def _linked(run: Path) -> None:
    path = run / "artifacts" / INT8 / "model.onnx"
    path.rename(run / "elsewhere.onnx")
    path.symlink_to(run / "elsewhere.onnx")


def _add_a_file(run: Path) -> None:
    (run / "artifacts" / INT8 / "labels.txt").write_text("Sports\nWorld\n", "utf-8")


def _reverse_vocabulary(run: Path) -> None:
    path = run / "bundle/vocab.txt"
    replace(path, "\n".join(reversed(path.read_text("utf-8").splitlines())).encode())


def _exchange_labels(run: Path) -> None:
    path = run / "bundle/labels.txt"
    first, second, *rest = path.read_text("utf-8").splitlines()
    replace(path, ("\n".join([second, first, *rest]) + "\n").encode())


def _older_schema(run: Path) -> None:
    sealed_anew(run / "bundle", bundle.MANIFEST, schema=bundle.SCHEMA - 1)


def _pickled(run: Path) -> None:
    path = run / "bundle/golden.npz"
    path.unlink()
    np.savez_compressed(path, **{name: np.array([{}]) for name in ("ids", "types", "offsets", "labels", "logits")})
    sealed_anew(run / "bundle", bundle.MANIFEST)


def _bundle_of(run: Path) -> list[str]:
    """Read the bundle and its golden rows. Raises ManifestError."""
    bundle.load_golden(bundle.load(run / "bundle"))
    return []


# What is imported


def _exchange_pieces(run: Path) -> None:
    """Give a vocabulary in which two word pieces are exchanged that no golden text has.

    The SavedModel brings its own along, as TF Hub's encoders do.
    """
    source = bundle.load(run / "bundle")
    shutil.copytree(source.saved_model, run / "foreign")
    shutil.copyfile(source.vocabulary, run / "foreign/assets/vocab.txt")
    pieces = source.vocabulary.read_text("utf-8").split("\n")[:-1]
    unread = np.setdiff1d(np.arange(5, len(pieces)), bundle.load_golden(source).ids.ids)
    left, right = int(unread[0]), int(unread[-1])
    pieces[left], pieces[right] = pieces[right], pieces[left]
    (run / "given.txt").write_text("\n".join(pieces) + "\n", "utf-8")


def _imported_vocabulary(run: Path) -> list[str]:
    model = ["--saved-model", run / "foreign", "--labels", run / "bundle/labels.txt", "--golden", run / "bundle/golden.jsonl"]
    return catalogue.cli_error("import", run / "imported", *model, "--vocab", run / "given.txt")


def _write_labels_in_another_order(run: Path) -> None:
    names = (run / "bundle/labels.txt").read_text("utf-8").splitlines()
    (run / "given.txt").write_text("\n".join([names[1], names[0], *names[2:]]) + "\n", "utf-8")


def _imported_labels(run: Path) -> list[str]:
    """Score the golden rows, numbered by the labels given. Raises ConversionError."""
    source, given = bundle.load(run / "bundle"), (run / "given.txt").read_text("utf-8").splitlines()
    golden = bundle.load_golden(source)
    numbered = np.array([given.index(name) for name in source.labels])[golden.labels]
    confusion = np.array(scores.score(golden.logits, numbered, given, None)["confusion"])
    check_better_than_guessing(confusion, given, run / "given.txt", f"slipway import {run}")
    return []


_NOT_MEASURED = "was not measured"


def _verdict(name: str, plant: Callable[[Path], object], caught_by: str) -> Fault:
    return Fault(name, "record", plant, _read, caught_by)


def _missing(measurement: str) -> Fault:
    return _verdict(f"a verdict without its {measurement}", _without(measurement), f"{measurement} {_NOT_MEASURED}")


FAULTS = (
    _verdict("a cost of a thousand million seconds per token", _typed(cost={"fixed": 0.0, "per_token": 1e9}), "the cost model"),
    _verdict("a count of changed answers that was typed over", _typed(flips=1000), "flip rate"),
    _verdict(
        "a bound that was typed over", partial(_of_a_worse_model, flip_rate_bound=0.0, accuracy_loss_bound=0.0), "flip rate is 1"
    ),
    _verdict("ten times as many rows", partial(_retyped, change=_count_more_rows), "answers in no group"),
    _verdict("a class that was left out of the counts", partial(_retyped, change=_leave_out_class), "answers in no group"),
    _verdict("an engine's error that was typed away", _of_a_broken_engine, _NOT_MEASURED),
    _verdict("a verdict of another variant", _of_another_variant, "a verdict for variant"),
    _verdict("a verdict of another artifact", _typed(artifact_sha256="0" * 64), "a verdict for artifact_sha256"),
    _verdict("a verdict of other golden rows", _of_another_bundle, "a verdict for bundle_sha256"),
    _verdict("no verdict", lambda run: (run / "artifacts" / INT8 / artifact.PARITY).unlink(), "no parity.json"),
    _verdict("a verdict that is cut short", _cut_short, "a parity record"),
    *map(_missing, ("invariance", "probes", "repeat", "neighbours", "by_batch", "precision")),
    _verdict("a verdict without its probabilities", _without("probabilities"), "'probabilities'"),
    Fault("a verdict of onnxruntime 1.4.0 on a Pentium", "record", partial(_retyped, change=_older_machine), _built, "1.4.0"),
    _verdict("a bit of a weight flipped", _flip_a_bit, "ort_int8/model.onnx"),
    _verdict("FP32 under the name of INT8", _under_another_name, "holds something else"),
    _verdict("a link in the place of a model", _linked, "a symbolic link"),
    _verdict("a file that no stage wrote", _add_a_file, "only the files artifact.json lists"),
    Fault("a vocabulary in another order", "record", _reverse_vocabulary, _bundle_of, "bundle/vocab.txt"),
    Fault("two labels exchanged in the bundle", "record", _exchange_labels, _bundle_of, "bundle/labels.txt"),
    Fault("a bundle of an earlier version", "record", _older_schema, _bundle_of, "written by another version"),
    Fault("golden rows that hold a pickle", "record", _pickled, _bundle_of, "plain arrays"),
    Fault("two word pieces exchanged in the vocabulary", "import", _exchange_pieces, _imported_vocabulary, "is not this model's"),
    Fault(
        "labels in another order than the model's", "import", _write_labels_in_another_order, _imported_labels, "not in the order"
    ),
)
