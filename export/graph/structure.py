"""What an ONNX file computes, whatever its tensors and nodes are called and how they are ordered.

tf2onnx keeps nodes in sets, by address: it numbers and orders them otherwise in every process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import AttributeProto, numpy_helper


def same(left: Path, right: Path) -> bool:
    """Return whether two ONNX files compute the same outputs of the same inputs, node by node."""
    return of(onnx.load(left)) == of(onnx.load(right))


def of(model: onnx.ModelProto) -> str:
    """Return the hash of a model. Raises KeyError where a node reads what no earlier one makes."""
    opsets = sorted(entry.SerializeToString(deterministic=True) for entry in model.opset_import)
    functions = sorted(entry.SerializeToString(deterministic=True) for entry in model.functions)
    names = [value.name.encode() for value in model.graph.output]
    return _digest(*opsets, *functions, *names, *_graph(model.graph, {})).hex()


def _graph(graph: onnx.GraphProto, outer: Mapping[str, bytes]) -> list[bytes]:
    """Return the hash of each output; `outer` are those of the tensors around a subgraph."""
    hashes = {"": b"", **outer}
    for number, value in enumerate(graph.input):
        name = str(number) if outer else value.name  # a subgraph's are given by position
        hashes[value.name] = _digest(b"input", name.encode(), value.type.SerializeToString(deterministic=True))
    hashes |= {tensor.name: _tensor(tensor) for tensor in graph.initializer}
    for node in graph.node:
        attributes = [_attribute(entry, hashes) for entry in sorted(node.attribute, key=lambda entry: entry.name)]
        kind = _digest(node.domain.encode(), node.op_type.encode(), *attributes, *(hashes[name] for name in node.input))
        hashes |= {name: _digest(kind, str(number).encode()) for number, name in enumerate(node.output) if name}
    return [hashes[value.name] for value in graph.output]


def _attribute(attribute: onnx.AttributeProto, hashes: Mapping[str, bytes]) -> bytes:
    name = attribute.name.encode()
    if attribute.type in (AttributeProto.TENSOR, AttributeProto.TENSORS):
        return _digest(name, *map(_tensor, [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]))
    if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        return _digest(name, *(output for graph in graphs for output in _graph(graph, hashes)))
    return _digest(attribute.SerializeToString(deterministic=True))


def _tensor(tensor: onnx.TensorProto) -> bytes:
    values = numpy_helper.to_array(tensor)
    return _digest(b"tensor", str(tensor.data_type).encode(), str(values.shape).encode(), values.tobytes())


def _digest(*parts: bytes) -> bytes:
    """Return a hash of the parts, and of where each of them ends."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
