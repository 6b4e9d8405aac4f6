"""FP32 graph → FP16 graph, the precision written into it by type, so that every runtime obeys it.

Nodes whose arithmetic overflows or loses too much in FP16 stay in FP32, with casts around them:
LayerNorm (its variance is a mean of squares) whole or in parts, Softmax, nodes that read a constant
too small for FP16 (an epsilon), and those that a repair adds. Token ids, shapes and the logits keep
their types. A constant that FP16 cannot hold, such as a mask of −1e9 or −inf, becomes the largest
it can; the gate says whether the answers bear it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graph.bert import Bert
from slipway.errors import ConversionError

_STATISTICS = {"ReduceMean", "GlobalAveragePool", "BatchNormalization", "InstanceNormalization", "Sqrt", "Reciprocal", "Pow"}
_BY_ATTRIBUTE = {"Constant", "ConstantOfShape"}  # what they make has the type that an attribute says
ALWAYS_FP32 = frozenset({"LayerNormalization", "Softmax", *_STATISTICS, *_BY_ATTRIBUTE})
LARGEST, LEAST = float(np.finfo(np.float16).max), float(np.finfo(np.float16).tiny)
_HALF, _FULL = TensorProto.FLOAT16, TensorProto.FLOAT


def convertible(model: onnx.ModelProto) -> list[str]:
    """Name the nodes that `convert` would compute in FP16, in order: a repair chooses from them."""
    floats = _float_tensors(model)
    return [node.name for node in model.graph.node if node.op_type not in ALWAYS_FP32 and floats & set(node.output)]


def convert(model: onnx.ModelProto, keep: Set[str] = frozenset()) -> onnx.ModelProto:
    """Copy an FP32 model in FP16, its outputs and the nodes named in `keep` still in FP32.

    Raises ConversionError for operators whose types do not follow from their inputs.
    """
    outputs = {output.name: f"{output.name}.inner" for output in model.graph.output}
    writer = _HalfWriter(model)
    tiny = _too_small(model)
    for kind in {node.op_type for node in model.graph.node} & {"If", "Loop", "Scan"}:
        raise ConversionError(
            "this graph cannot be written in FP16",
            expected="nodes whose types follow from their inputs",
            found=f"a node {kind}, inside of which types are not followed",
            where=model.graph.name,
            fix="use ort_fp32, or report it with the model",
        )
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        writer.add(copy, _FULL if node.op_type in ALWAYS_FP32 or node.name in keep or tiny & set(node.input) else _HALF)
    for node in writer.nodes:
        node.input[:] = [outputs.get(name, name) for name in node.input]
        node.output[:] = [outputs.get(name, name) for name in node.output]
    for name, inner in outputs.items():
        writer.nodes.append(helper.make_node("Cast", [inner], [name], name=f"Cast:{name}", to=_FULL))
    graph = helper.make_graph(
        writer.nodes, model.graph.name, model.graph.input, model.graph.output, list(writer.initializers.values())
    )
    return helper.make_model(graph, opset_imports=model.opset_import, producer_name="slipway", ir_version=model.ir_version)


def bert(full: Bert) -> Bert:
    """Return the same Bert with FP16 arrays, clamped, for writers that compute in their type."""

    def halved(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return np.clip(value, -LARGEST, LARGEST).astype(np.float16)
        if isinstance(value, tuple):
            return tuple(map(halved, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: halved(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **fields)
        return value

    result: Bert = halved(full)
    return result


def clamped(model: onnx.ModelProto) -> list[str]:
    """Name the constants that `convert` brings into FP16's range."""
    floats = (tensor for tensor in model.graph.initializer if tensor.data_type == _FULL)
    return [tensor.name for tensor in floats if np.abs(numpy_helper.to_array(tensor)).max(initial=0) > LARGEST]


class _HalfWriter:
    """Collects nodes, their inputs cast to the type they compute in, once for all readers."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._source = {tensor.name: tensor for tensor in model.graph.initializer}
        self._floats = _float_tensors(model)
        self._types = dict.fromkeys(self._floats, _FULL)  # tensor → the type it has where it is made
        self._casts: dict[tuple[str, int], str] = {}

    def add(self, node: onnx.NodeProto, wanted: int) -> None:
        floats = self._floats & set(node.output)
        self._types.update(dict.fromkeys(floats, wanted))
        if floats and node.op_type == "Cast":  # makes floats out of integers: of the wanted type, then
            node.attribute[0].i = wanted
        node.input[:] = [self._typed(name, wanted if floats else _FULL) for name in node.input]
        self.nodes.append(node)

    def _typed(self, name: str, wanted: int) -> str:
        """Return `name` in the wanted type: itself, a converted initializer, or behind a cast."""
        if name in self._source:
            return self._initializer(self._source[name], wanted if name in self._floats else _FULL)
        if name not in self._floats or self._types[name] == wanted:
            return name
        if (name, wanted) not in self._casts:
            cast = f"{name}.{'fp16' if wanted == _HALF else 'fp32'}"
            self._casts[name, wanted] = cast
            self.nodes.append(helper.make_node("Cast", [name], [cast], name=f"Cast:{cast}", to=wanted))
        return self._casts[name, wanted]

    def _initializer(self, tensor: onnx.TensorProto, wanted: int) -> str:
        """Add it; in FP16 under its own name, since a node kept in FP32 may read it as it is."""
        name = f"{tensor.name}.fp16" if wanted == _HALF else tensor.name
        if name not in self.initializers:
            values = numpy_helper.to_array(tensor)
            half = np.clip(values, -LARGEST, LARGEST).astype(np.float16) if wanted == _HALF else None
            self.initializers[name] = tensor if half is None else numpy_helper.from_array(half, name)
        return str(name)


def _too_small(model: onnx.ModelProto) -> set[str]:
    """Name scalars too small for FP16. Weights may be: they are added to larger ones."""
    tensors = (tensor for tensor in model.graph.initializer if tensor.data_type == _FULL and int(np.prod(tensor.dims)) == 1)
    return {tensor.name for tensor in tensors if 0 < abs(numpy_helper.to_array(tensor).reshape(-1)[0]) < LEAST}


def made_floats(model: onnx.ModelProto) -> set[str]:
    """Name the FP32 tensors that nodes make, by ONNX's own inference."""
    inferred = onnx.shape_inference.infer_shapes(_without_weights(model), strict_mode=True)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    return {value.name for value in values if value.type.tensor_type.elem_type == _FULL}


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its float initializers as inputs: inference would copy gigabytes."""
    graph, weights = model.graph, [tensor for tensor in model.graph.initializer if tensor.data_type == _FULL]
    inputs = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights]
    others = [tensor for tensor in graph.initializer if tensor.data_type != _FULL]
    bare = helper.make_graph(graph.node, graph.name, [*graph.input, *inputs], graph.output, others)
    return helper.make_model(bare, opset_imports=model.opset_import, ir_version=model.ir_version)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    return made_floats(model) | {tensor.name for tensor in model.graph.initializer if tensor.data_type == _FULL}
