"""Inputs and outputs of an ONNX file, in Triton's terms. Weights in files beside it are not read, only looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

_TYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.STRING: "STRING",
}


@dataclass(frozen=True)
class FileTensor:
    """An input or output as the model file declares it."""

    type: str  # FP32, INT32, …; "" for what no Triton type is
    shape: tuple[int, ...] | None  # with the batch dimension, −1 for any length; None where the file does not say


@dataclass(frozen=True)
class Signature:
    inputs: dict[str, FileTensor]
    outputs: dict[str, FileTensor]
    overridable: frozenset[str] = field(default_factory=frozenset)  # inputs with a value of their own in the file
    missing_files: tuple[str, ...] = ()  # weights the file expects beside itself


def read(path: Path) -> Signature:
    """The signature of an ONNX file. Raises ValueError when it is none."""
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ValueError(str(error)) from error
    if not model.graph.output:
        raise ValueError("no graph with outputs")
    if not all(isinstance(one.name, str) for one in (*model.graph.input, *model.graph.output)):  # protobuf leaves it as bytes
        raise ValueError("the name of an input or output is not UTF-8")
    initialized = {tensor.name for tensor in model.graph.initializer}
    return Signature(
        inputs={one.name: _tensor(one) for one in model.graph.input},
        outputs={one.name: _tensor(one) for one in model.graph.output},
        overridable=frozenset(one.name for one in model.graph.input if one.name in initialized),
        missing_files=_missing_files(model, path.parent),
    )


def _tensor(declared: Any) -> FileTensor:
    if not declared.type.HasField("tensor_type"):  # a sequence or a map
        return FileTensor("", None)
    tensor = declared.type.tensor_type
    if not tensor.HasField("shape"):
        return FileTensor(_TYPES.get(tensor.elem_type, ""), None)
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return FileTensor(_TYPES.get(tensor.elem_type, ""), shape)


def _missing_files(model: Any, directory: Path) -> tuple[str, ...]:
    external = (tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL)
    names = {entry.value for tensor in external for entry in tensor.external_data if entry.key == "location"}
    return tuple(sorted(name for name in names if not (directory / name).is_file()))
