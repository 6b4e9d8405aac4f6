"""ort_fp32 → ort_int8 once more, after the gate refused it: what costs most stays in FP32.

Each quantized node is put back in FP32 alone, and the logits' error measured on the golden rows
whose two best labels are nearest to each other: answers change there first, in proportion to the
mean |Δlogit|. Where it comes from differs by model: MiniLM has it from the first layers, and of its
31 changed answers on AG News 20 are left. With the head and the last layer in FP32, 32 changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from export.precision import int8
from export.session import open_onnx
from slipway import errors
from slipway.contract.bundle import Golden
from slipway.contract.parity import comparison, probabilities
from slipway.contract.ragged import infer_rows
from slipway.errors import ConversionError

_ROWS, _BATCH = 64, 16
_WORTH = 0.05  # of the error: what a node has to take away to be kept; less may be chance, with so few rows


def convert(source: Path, target: Path, golden: Golden, share: float) -> str:
    """Write it with the nodes in FP32 that take most of the error away; return how.

    At least `share` of the weights that are multiplied stay in INT8. Raises ConversionError where
    no node takes anything away.
    """
    model = onnx.load(source)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"unnamed.{number}"  # the quantizer leaves nodes out by name
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gains = dict(_gains(model, closest(golden, _ROWS), Path(scratch)))
    kept = choose(gains, multiplied(model), share)
    if not kept:
        raise ConversionError(
            "keeping nodes in FP32 does not bring INT8 nearer to the reference",
            expected=f"a node that takes {_WORTH:.0%} of the error away and has at most {1 - share:.0%} of the weights",
            found=f"none of {len(gains)}",
            where=str(source),
            fix=f"serve the model without INT8: {errors.command('build', source.parents[2])}",
        )
    return f"{int8.quantize(model, target, kept)}; kept in FP32: {', '.join(kept)}"


def choose(gains: dict[str, float], weights: dict[str, int], share: float) -> list[str]:
    """Return the nodes of the largest gains that leave `share` of all `weights` as they are.

    gains: node → share of the error that it takes away. weights: node → elements.
    """
    room = (1 - share) * sum(weights.values())
    kept = []
    for node in sorted(gains, key=lambda node: -gains[node]):
        if gains[node] >= _WORTH and weights.get(node, 0) <= room:
            room -= weights.get(node, 0)
            kept.append(node)
    return kept


def multiplied(model: onnx.ModelProto) -> dict[str, int]:
    """Return node → elements of the matrix that it multiplies with. Embeddings are looked up."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    nodes = (node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Attention"))
    return {node.name: sizes[node.input[1]] for node in nodes if node.input[1] in sizes}


def closest(golden: Golden, rows: int) -> Golden:
    """Return the rows in which the reference's best two labels are nearest to each other."""
    return golden.take(comparison.by_margin(golden, golden.logits)[:rows])


def _gains(model: onnx.ModelProto, golden: Golden, scratch: Path) -> Iterator[tuple[str, float]]:
    """Yield each node that is quantized and the share of the error that it takes away."""
    int8.quantize(model, scratch / "int8.onnx")
    quantized = onnx.load(scratch / "int8.onnx")
    before = _error(quantized, golden, scratch)
    for node in _replaced(model, quantized):
        yield node.name, 1 - _error(_with(node, quantized, model), golden, scratch) / before


def _error(model: onnx.ModelProto, golden: Golden, scratch: Path) -> float:
    """Return the mean |Δlogit|, centred by row; not finite counts as infinite."""
    onnx.save(model, scratch / "tried.onnx")
    with open_onnx(scratch / "tried.onnx") as session:
        logits = infer_rows(session.infer, golden.ids, _BATCH)
    difference = probabilities.centred(logits) - probabilities.centred(golden.logits)
    error = float(np.abs(difference[golden.compared]).mean())
    return error if np.isfinite(error) else float("inf")


def _replaced(model: onnx.ModelProto, quantized: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes whose output another operator makes in the quantized graph, and whose inputs
    are there, too: some lie between two that are quantized.
    """
    kinds = {name: node.op_type for node in quantized.graph.node for name in node.output}
    given = {tensor.name for tensor in (*model.graph.initializer, *model.graph.input)} | {"", *kinds}
    for node in model.graph.node:
        if kinds.get(node.output[0], node.op_type) != node.op_type and set(node.input) <= given:
            yield node


def _with(node: onnx.NodeProto, quantized: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy the quantized graph with `node` in the place of what makes its outputs there."""
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    makers = [place for place, other in enumerate(copy.graph.node) if set(other.output) & set(node.output)]
    copy.graph.node[makers[0]].CopyFrom(node)
    copy.graph.node[makers[0]].name = f"{node.name}.fp32"  # a Gather keeps its own when it is quantized
    for place in makers[:0:-1]:
        del copy.graph.node[place]
    present = {tensor.name for tensor in copy.graph.initializer}
    copy.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name in node.input and tensor.name not in present
    )
    return copy
