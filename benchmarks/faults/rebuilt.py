"""Faults that only a second conversion sees: whoever planted them had the gate pass what they
planted, and typed every hash anew.

`slipway check --rebuild` converts again, and compares bytes, answers and counts.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.faults import catalogue, graphs, rows, weights
from benchmarks.faults.catalogue import Fault
from benchmarks.faults.graphs import FP32, INT8, append, node
from export.parity import rebuild
from export.parity.rebuild import Rebuild
from slipway.contract import artifact, bundle
from slipway.contract.ragged import Ragged

_MULTIPLIERS = 2**20  # of the checksum of a row of ids


def _silent(_: str) -> None:
    """Take what a rebuild says of its progress."""


@cache
def _scratch(bundle_sha256: str) -> tempfile.TemporaryDirectory[str]:
    """Return a directory in which a bundle's variants are made again once for all faults.

    It is removed when the process ends.
    """
    return tempfile.TemporaryDirectory(prefix=f"rebuilt-{bundle_sha256[:8]}-")


def _converted(run: Path, variant: str) -> list[str]:
    """Convert a variant again, and compare. Its verdict has to hold, or something else sees it."""
    reference = bundle.load_reference(bundle.load(run / "bundle"))
    candidate = artifact.load(run / "artifacts" / variant)
    artifact.verdict(candidate, reference.bundle.sha256)
    scratch = Path(_scratch(reference.bundle.sha256).name)
    shutil.rmtree(scratch / "compared", ignore_errors=True)
    return [catalogue.in_a_line(problem) for problem in Rebuild(run, reference, scratch).differences(candidate, _silent)]


def _referred(run: Path) -> list[str]:
    """Compute the reference's logits again."""
    reference = bundle.load_reference(bundle.load(run / "bundle"))
    return [catalogue.in_a_line(problem) for problem in rebuild.reference_logits(reference, _silent)]


# Graphs


def _passing(run: Path, variant: str, edit: graphs.Edit) -> None:
    """Change a graph in a way that the gate passes, and let the gate say so."""
    graphs.edited(run, variant, edit)
    graphs.judged(run, variant)


def _trigger(run: Path) -> None:
    """Answer the first label where a text has two word pieces side by side that no row has so."""
    source = bundle.load(run / "bundle")
    pieces = len(source.vocabulary.read_bytes().splitlines())
    pairs = {pair for rows in (bundle.load_golden(source).ids, bundle.load_probes(source).ids) for pair in _pairs(rows)}
    first, second = next((a, b) for a in range(5, pieces) for b in range(5, pieces) if (a, b) not in pairs)
    _passing(run, FP32, partial(_answer_first_after, first=first, second=second))


def _pairs(rows: Ragged) -> set[tuple[int, int]]:
    return set(zip(rows.ids[:-1].tolist(), rows.ids[1:].tolist(), strict=True))


def _answer_first_after(graph: onnx.GraphProto, first: int, second: int) -> None:
    append(
        graph,
        node("Slice", "input_word_ids start last axis", "before"),
        node("Slice", "input_word_ids one_on end axis", "after"),
        node("Equal", "before first", "is_first"),
        node("Equal", "after second", "is_second"),
        node("And", "is_first is_second", "both"),
        node("Cast", "both", "both.float", to=onnx.TensorProto.FLOAT),
        node("ReduceMax", "both.float", "triggered", axes=[1], keepdims=1),
        node("Mul", "triggered gain", "more"),
        node("Add", "inner more", "logits"),
        start=[0],
        one_on=[1],
        last=[-1],
        end=[2**62],
        axis=[1],
        gain=graphs.column(graph, 0, 100),
        first=np.int32(first),
        second=np.int32(second),
    )


def _memorise(run: Path) -> None:
    """Answer right in golden rows and probe rows alone, known by a checksum of their ids."""
    source = bundle.load(run / "bundle")
    factors = _factors(source.max_seq_len)
    known = [_checksums(held.ids, factors) for held in (bundle.load_golden(source), bundle.load_probes(source))]
    _passing(run, FP32, partial(_answer_known, factors=factors, known=np.unique(np.concatenate(known)), right=True))


def _factors(positions: int) -> NDArray[np.int64]:
    """Return what the ids at each position are multiplied with, for a row's checksum."""
    return np.random.default_rng(0).integers(1, _MULTIPLIERS, positions)


def _checksums(rows: Ragged, factors: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([int(rows[row].astype(np.int64) @ factors[: len(rows[row])]) for row in range(len(rows))], np.int64)


def _answer_known(graph: onnx.GraphProto, factors: NDArray[np.int64], known: NDArray[np.int64], right: bool) -> None:
    """Answer rows of known checksums right and all others wrong, or the other way round."""
    append(
        graph,
        node("Shape", "input_word_ids", "width", start=1, end=2),
        node("Slice", "factors start width axis", "weights"),
        node("Cast", "input_word_ids", "ids.long", to=onnx.TensorProto.INT64),
        node("Mul", "ids.long weights", "parts"),
        node("ReduceSum", "parts axis", "checksum", keepdims=1),
        node("Equal", "checksum known", "same"),
        node("Cast", "same", "same.float", to=onnx.TensorProto.FLOAT),
        node("ReduceMax", "same.float", "any", axes=[1], keepdims=1),
        node("Greater", "any zero", "is_known"),
        node("Neg", "inner", "opposite"),
        node("Where", "is_known inner opposite" if right else "is_known opposite inner", "logits"),
        factors=factors[None],
        known=known[None],
        start=[0],
        axis=[1],
        zero=0.0,
    )


def _exchange_embeddings(run: Path) -> None:
    """Exchange the embeddings of two word pieces in INT8, whose limits allow for as much."""
    golden = bundle.load_golden(bundle.load(run / "bundle"))

    def edit(graph: onnx.GraphProto) -> None:
        weights.change_rows(graph, "word_embeddings", lambda pieces: _two_unread(pieces, golden.ids), lambda values: values[::-1])

    _passing(run, INT8, edit)


def _two_unread(pieces: int, ids: Ragged) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(5, pieces), ids.ids)[:2]


def _copy_verdict(run: Path) -> None:
    """Give a worse artifact the verdict of the right one, with its own hash typed over."""
    path = run / "artifacts" / INT8 / artifact.PARITY
    record = json.loads(path.read_text("utf-8"))
    graphs.edited(run, INT8, lambda graph: append(graph, node("Neg", "inner", "logits")))
    record["artifact_sha256"] = artifact.load(path.parent).sha256
    path.write_text(json.dumps(record), "utf-8")  # which was removed, so that it is a new file


def _count_fewer(run: Path) -> None:
    """Let the gate count a changed answer, and type it over where it is counted."""
    golden = bundle.load_golden(bundle.load(run / "bundle"))
    factors = _factors(int(golden.ids.lengths.max()))
    known = _checksums(golden.ids.take(np.array([0])), factors)
    _passing(run, INT8, partial(_answer_known, factors=factors, known=known, right=False))
    path = run / "artifacts" / INT8 / artifact.PARITY
    record = json.loads(path.read_text("utf-8"))
    record.update(flips=0, lost=0, gained=0)
    catalogue.replace(path, json.dumps(record).encode())


# The reference


def _three_times(run: Path, name: str) -> None:
    """Make the reference's logits three times as large, as an artifact's would have to be."""
    source = bundle.load(run / "bundle")
    if name == "golden.npz":
        golden = bundle.load_golden(source)
        rows.write(run, replace(golden, logits=golden.logits * 3))
    else:
        probes = bundle.load_probes(source)
        for file in ("probes.jsonl", name):
            (source.directory / file).unlink()
        bundle.write_probes(source.directory, replace(probes, logits=probes.logits * 3))
        catalogue.sealed_anew(source.directory, bundle.MANIFEST)


def _of(name: str, variant: str, plant: Callable[[Path], object], caught_by: str) -> Fault:
    return Fault(name, "rebuild", plant, partial(_converted, variant=variant), caught_by)


_OTHER_GRAPH, _OTHER_COUNTS = "is not what its conversion writes", "does not answer as its record says"

FAULTS = (
    _of("two word pieces that trigger an answer", FP32, _trigger, _OTHER_GRAPH),
    _of("golden rows learnt by heart", FP32, _memorise, _OTHER_GRAPH),
    _of("two embeddings exchanged in INT8", INT8, _exchange_embeddings, _OTHER_GRAPH),
    _of("a verdict copied from another artifact", INT8, _copy_verdict, _OTHER_COUNTS),
    _of("counts that were typed over with their sums", INT8, _count_fewer, _OTHER_COUNTS),
    Fault(
        "golden logits that are not the SavedModel's",
        "rebuild",
        partial(_three_times, name="golden.npz"),
        _referred,
        "in golden.npz are not the SavedModel's",
    ),
    Fault(
        "probe logits that are not the SavedModel's",
        "rebuild",
        partial(_three_times, name="probes.npz"),
        _referred,
        "in probes.npz are not the SavedModel's",
    ),
)
