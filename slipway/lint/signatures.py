"""Inputs and outputs of ONNX files and SavedModels, in Triton's terms, without their packages.

Only the protobuf fields that a signature needs are parsed. An ONNX model's weights in files beside
it are not read; that they are there, and long enough, is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from slipway.lint.protobufs import Messages, message_class

_ONNX_MESSAGES: Messages = {  # onnx.proto
    "Dimension": (("dim_value", 1, "int64"),),
    "Shape": (("dim", 1, "*Dimension"),),
    "TensorType": (("elem_type", 1, "int32"), ("shape", 2, "Shape")),
    "Type": (("tensor_type", 1, "TensorType"),),
    "ValueInfo": (("name", 1, "string"), ("type", 2, "Type")),
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "Tensor": (
        *(("dims", 1, "*int64"), ("data_type", 2, "int32"), ("name", 8, "string")),
        *(("external_data", 13, "*Entry"), ("data_location", 14, "int32")),
    ),
    "Graph": (("initializer", 5, "*Tensor"), ("input", 11, "*ValueInfo"), ("output", 12, "*ValueInfo")),
    "Model": (("graph", 7, "Graph"),),
}
_OnnxModel = message_class("onnx", "proto2", _ONNX_MESSAGES)
_EXTERNAL = 1  # data_location
_ONNX_TYPES = {  # TensorProto.DataType
    **{1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "STRING"},
    **{9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16"},
}


@dataclass(frozen=True, slots=True)
class FileTensor:
    """An input or output as the model file declares it."""

    type: str  # FP32, INT32, …; "" for a type that Triton does not have
    shape: tuple[int, ...] | None  # with the batch dimension, −1 for any length; None: not declared


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A file of weights beside an ONNX file."""

    name: str  # as the ONNX file has it
    end: int  # bytes that it needs to hold
    size: int | None  # bytes that it holds; None: there is no such file
    is_outside: bool  # of the ONNX file's directory


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs that a model file declares."""

    inputs: dict[str, FileTensor]
    outputs: dict[str, FileTensor]
    overridable: frozenset[str] = field(default_factory=frozenset)  # inputs with a value in the file
    external: tuple[ExternalData, ...] = ()


def read_onnx(path: Path) -> Signature:
    """Return the signature of an ONNX file. Raise ValueError when it is not one."""
    model = _OnnxModel()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise ValueError(str(error)) from error
    graph = model.graph
    if not graph.output:
        raise ValueError("no graph with outputs")
    if not all(isinstance(tensor.name, str) for tensor in (*graph.input, *graph.output)):  # protobuf leaves bytes
        raise ValueError("the name of an input or output is not UTF-8")
    initialized = {tensor.name for tensor in graph.initializer}
    return Signature(
        inputs={tensor.name: _onnx_tensor(tensor) for tensor in graph.input},
        outputs={tensor.name: _onnx_tensor(tensor) for tensor in graph.output},
        overridable=frozenset(tensor.name for tensor in graph.input if tensor.name in initialized),
        external=tuple(_external_data(path, graph.initializer)),
    )


def _external_data(path: Path, initializers: Any) -> Iterator[ExternalData]:
    ends: dict[str, int] = {}
    for tensor in initializers:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location == _EXTERNAL and "location" in entries:
            end = _whole(entries.get("offset", "")) + (_whole(entries.get("length", "")) or _tensor_bytes(tensor))
            ends[entries["location"]] = max(end, ends.get(entries["location"], 0))
    homes = (path.parent.resolve(), path.resolve().parent)  # where it was linked to counts, too
    for name, end in sorted(ends.items()):
        file = path.parent / name
        size = file.stat().st_size if file.is_file() else None
        yield ExternalData(name, end, size, not any(file.resolve().is_relative_to(home) for home in homes))


def _tensor_bytes(tensor: Any) -> int:
    kind = _ONNX_TYPES.get(tensor.data_type, "")
    bits = next((int(number) for number in ("64", "32", "16", "8") if kind.endswith(number)), 8 if kind == "BOOL" else 0)
    elements: int = math.prod(tensor.dims)
    return elements * bits // 8


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _onnx_tensor(declared: Any) -> FileTensor:
    if not declared.type.HasField("tensor_type"):  # a sequence or a map
        return FileTensor("", None)
    tensor = declared.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return FileTensor(_ONNX_TYPES.get(tensor.elem_type, ""), shape if tensor.HasField("shape") else None)


DEFAULT_SIGNATURE = "serving_default"
_SAVEDMODEL_MESSAGES: Messages = {  # a map is a repeated message of key and value
    "Dim": (("size", 1, "int64"),),
    "TensorShape": (("dim", 2, "*Dim"), ("unknown_rank", 3, "bool")),
    "TensorInfo": (("name", 1, "string"), ("dtype", 2, "int32"), ("tensor_shape", 3, "TensorShape")),
    "TensorEntry": (("key", 1, "string"), ("value", 2, "TensorInfo")),
    "SignatureDef": (("inputs", 1, "*TensorEntry"), ("outputs", 2, "*TensorEntry")),
    "SignatureEntry": (("key", 1, "string"), ("value", 2, "SignatureDef")),
    "MetaGraph": (("signature_def", 5, "*SignatureEntry"),),
    "SavedModel": (("meta_graphs", 2, "*MetaGraph"),),
}
_SavedModel = message_class("savedmodel", "proto3", _SAVEDMODEL_MESSAGES)
_TENSORFLOW_TYPES = {  # DataType of types.proto
    **{1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "STRING", 9: "INT64", 10: "BOOL"},
    **{14: "BF16", 17: "UINT16", 19: "FP16", 22: "UINT32", 23: "UINT64"},
}


def read_savedmodel(directory: Path, wanted: str = DEFAULT_SIGNATURE) -> Signature | None:
    """Return the signature `wanted` of the first meta graph, or None when it has none.

    Raises ValueError when saved_model.pb cannot be read.
    """
    saved = _SavedModel()
    try:
        saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise ValueError(str(error)) from error
    if not saved.meta_graphs:
        raise ValueError("no meta graph in saved_model.pb")
    for entry in saved.meta_graphs[0].signature_def:
        if entry.key == wanted:
            inputs, outputs = entry.value.inputs, entry.value.outputs
            return Signature(
                {tensor.key: _savedmodel_tensor(tensor.value) for tensor in inputs},
                {tensor.key: _savedmodel_tensor(tensor.value) for tensor in outputs},
            )
    return None


def _savedmodel_tensor(info: Any) -> FileTensor:
    if not info.name:  # sparse and composite tensors have several
        return FileTensor("", None)
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    shape = tuple(dim.size for dim in info.tensor_shape.dim) if known else None
    return FileTensor(_TENSORFLOW_TYPES.get(info.dtype, ""), shape)
