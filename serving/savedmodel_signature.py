"""Inputs and outputs of a TensorFlow SavedModel, without TensorFlow: of saved_model.pb only the signatures are parsed.

The messages below are those of TensorFlow's saved_model.proto, meta_graph.proto and tensor_shape.proto, cut down to the fields
that a signature needs; protobuf skips the rest, the graph and its functions.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from serving.onnx_signature import FileTensor, Signature

DEFAULT_SIGNATURE = "serving_default"
_PACKAGE = "slipway.savedmodel"
_FIELD = descriptor_pb2.FieldDescriptorProto
# message → (field, number, type; "*" before what is repeated). A map is a repeated message of key and value.
_MESSAGES = {
    "Dim": (("size", 1, "int64"),),
    "TensorShape": (("dim", 2, "*Dim"), ("unknown_rank", 3, "bool")),
    "TensorInfo": (("name", 1, "string"), ("dtype", 2, "int32"), ("tensor_shape", 3, "TensorShape")),
    "TensorEntry": (("key", 1, "string"), ("value", 2, "TensorInfo")),
    "SignatureDef": (("inputs", 1, "*TensorEntry"), ("outputs", 2, "*TensorEntry")),
    "SignatureEntry": (("key", 1, "string"), ("value", 2, "SignatureDef")),
    "MetaGraph": (("signature_def", 5, "*SignatureEntry"),),
    "SavedModel": (("meta_graphs", 2, "*MetaGraph"),),
}
_SCALARS = {"int32": _FIELD.TYPE_INT32, "int64": _FIELD.TYPE_INT64, "bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_STRING}
_TYPES = {  # types.proto's DataType
    **{1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "STRING", 9: "INT64", 10: "BOOL"},
    **{14: "BF16", 17: "UINT16", 19: "FP16", 22: "UINT32", 23: "UINT64"},
}


def read(directory: Path, wanted: str = DEFAULT_SIGNATURE) -> Signature | None:
    """The signature `wanted` of the first meta graph; None when it has none. Raises ValueError when nothing can be read."""
    saved = _saved_model()()
    try:
        saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise ValueError(str(error)) from error
    if not saved.meta_graphs:
        raise ValueError("no meta graph in saved_model.pb")
    for entry in saved.meta_graphs[0].signature_def:
        if entry.key == wanted:
            return Signature(_tensors(entry.value.inputs), _tensors(entry.value.outputs))
    return None


def _tensors(entries: Any) -> dict[str, FileTensor]:
    return {entry.key: _tensor(entry.value) for entry in entries}


def _tensor(info: Any) -> FileTensor:
    if not info.name:  # sparse and composite tensors have no single one
        return FileTensor("", None)
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    return FileTensor(_TYPES.get(info.dtype, ""), tuple(dim.size for dim in info.tensor_shape.dim) if known else None)


@cache
def _saved_model() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="slipway_savedmodel.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.SavedModel"))


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    if kind in _SCALARS:
        message.field.add(name=name, number=number, label=label, type=_SCALARS[kind])
    else:
        message.field.add(name=name, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=f".{_PACKAGE}.{kind}")
