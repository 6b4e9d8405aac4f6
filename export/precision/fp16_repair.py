"""onnx_fp32 → onnx_fp16: by type, overflowing nodes in FP32, repaired when the gate refuses it.

Two things can go wrong, and are looked for in this order. A value may not fit (FP16 ends at
65,504): the FP32 graph is run on golden rows with every tensor watched, which finds it also on a
CPU, whose FP16 is partly computed in FP32. Or rounding changes answers: then the rows that the gate
found changed drive a search for the fewest nodes to keep.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence, Set
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.precision import fp16
from export.session import Session, open_onnx
from slipway import errors
from slipway.contract.bundle import Golden
from slipway.contract.parity import comparison, judgement
from slipway.contract.ragged import Ragged, infer_rows
from slipway.contract.variants import Variant
from slipway.errors import ConversionError

_WATCHED_ROWS, _JUDGED_ROWS = 64, 512
_ROOM = 0.5  # of FP16's largest value: what other texts may need beyond the watched ones
_BATCH = 16
_WATCH = ".most"  # the name of a watched tensor ends so


def convert(source: Path, target: Path, golden: Golden) -> str:
    """Write the FP16 graph; return how it was made."""
    return _write(source, target, _out_of_range(source, golden, target.parent), frozenset())


def repaired(source: Path, target: Path, golden: Golden, variant: Variant, changed: NDArray[np.int64]) -> str:
    """Keep the fewest more nodes in FP32 that bring back the answers to `changed`; return how.

    Raises ConversionError when not even all nodes in FP32 do.
    """
    out_of_range = _out_of_range(source, golden, target.parent)
    model = onnx.load(source)
    guilty = golden.take(changed[:_JUDGED_ROWS])

    def passes(kept: frozenset[str]) -> bool:
        onnx.save(fp16.convert(model, out_of_range | kept), target)
        with open_onnx(target, providers=variant.providers) as session:
            # The changed rows first: most tries fail on them, and all rows take long.
            return not _flipped(session, guilty) and not _worse(session, golden, variant)

    kept = smallest_set([name for name in fp16.convertible(model) if name not in out_of_range], passes)
    if kept is None:
        raise ConversionError(
            "no set of nodes kept in FP32 gives the same answers",
            expected="the FP32 answers when every node is kept",
            found="others",
            where=str(source),
            fix=f"convert onnx_fp32 anew: {errors.command('export', source.parents[2])}",
        )
    return _write(source, target, out_of_range, kept)


def smallest_set(nodes: Sequence[str], passes: Callable[[frozenset[str]], bool]) -> frozenset[str] | None:
    """Return a subset of `nodes` that passes and needs every tried part; None when even all fail.

    Calls `passes` about 2 log₂(len(nodes)) times for each node that has to stay.
    """
    if passes(frozenset()):
        return frozenset()
    kept = list(nodes)
    if not passes(frozenset(kept)):
        return None
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        smaller = _smaller(kept, chunks, passes)
        if smaller is not None:
            kept, parts = smaller, 2 if len(smaller) <= size else max(2, parts - 1)
        elif parts >= len(kept):
            break
        else:
            parts = min(len(kept), 2 * parts)
    return frozenset(kept)


def _smaller(kept: list[str], chunks: list[list[str]], passes: Callable[[frozenset[str]], bool]) -> list[str] | None:
    """Return the first chunk that passes alone, or else the first rest without a chunk."""
    for chunk in chunks:
        if len(chunk) < len(kept) and passes(frozenset(chunk)):
            return chunk
    for chunk in chunks:
        rest = [name for name in kept if name not in set(chunk)]
        if rest and passes(frozenset(rest)):
            return rest
    return None


def _flipped(session: Session, golden: Golden) -> bool:
    if not golden.texts:
        return False
    logits = infer_rows(session.infer, golden.ids, _BATCH)
    return bool((logits.argmax(axis=1) != golden.logits.argmax(axis=1))[golden.compared].any())


def _worse(session: Session, golden: Golden, variant: Variant) -> bool:
    """Judge all answers as the gate does: too few rows are not what a repair can help."""
    names = [str(label) for label in range(golden.logits.shape[1])]
    measured = comparison.compare_golden(golden, infer_rows(session.infer, golden.ids, _BATCH), names)
    return judgement.verdict(judgement.judge(measured, variant.limits)) == judgement.WORSE


def _write(source: Path, target: Path, out_of_range: frozenset[str], repaired: Set[str]) -> str:
    kept = sorted(out_of_range | repaired)
    model = onnx.load(source)
    final = fp16.convert(model, frozenset(kept))
    helper.set_model_props(final, {"kept_in_fp32": ", ".join(kept), "clamped": ", ".join(fp16.clamped(model))})
    onnx.save(final, target)
    del model, final
    onnx.checker.check_model(str(target), full_check=True)
    more = f"{len(out_of_range)} nodes for range, {len(repaired)} by repair"
    return f"FP16 by type; kept in FP32: LayerNormalization, Softmax, {more}"


def _out_of_range(source: Path, golden: Golden, scratch: Path) -> frozenset[str]:
    by_length = np.argsort(golden.ids.lengths, kind="stable")
    watched = by_length[np.linspace(0, len(by_length) - 1, _WATCHED_ROWS).astype(int)]
    return overflowing(source, golden.ids.take(watched), scratch)


def overflowing(source: Path, rows: Ragged, scratch: Path) -> frozenset[str]:
    """Name the nodes that make or read a value beyond half of FP16's range, on these rows.

    Writes the graph to `scratch` once more, with the largest magnitude of every tensor as an
    output.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        path = Path(directory) / "watched.onnx"
        nodes = _write_watched(source, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        most: dict[str, float] = {}
        for start in range(0, len(rows), _BATCH):
            feed = rows.take(np.arange(start, min(start + _BATCH, len(rows)))).padded()
            values = session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})
            for output, value in zip(session.get_outputs(), values, strict=True):
                tensor = output.name.removesuffix(_WATCH)
                most[tensor] = max(most.get(tensor, 0.0), float(value))
    beyond = {tensor for tensor, value in most.items() if value > _ROOM * fp16.LARGEST}
    return frozenset(name for name, tensors in nodes.items() if beyond & tensors)


def _write_watched(source: Path, target: Path) -> dict[str, set[str]]:
    """Write the watched graph; return node → the tensors it reads and makes in the source."""
    model = onnx.load(source)
    nodes = {node.name: {*node.input, *node.output} for node in model.graph.node}
    tensors = sorted(fp16.made_floats(model))
    del model.graph.output[:]
    for tensor in tensors:
        magnitude, most = f"{tensor}.abs", f"{tensor}{_WATCH}"
        model.graph.node.append(helper.make_node("Abs", [tensor], [magnitude]))
        model.graph.node.append(helper.make_node("ReduceMax", [magnitude], [most], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info(most, TensorProto.FLOAT, []))
    onnx.save(model, target)
    return nodes
