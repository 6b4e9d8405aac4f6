"""Inputs and outputs of a TensorFlow SavedModel, without TensorFlow.

The messages are those of TensorFlow's saved_model.proto, meta_graph.proto and tensor_shape.proto,
cut down to the fields that a signature needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving.onnx_signature import FileTensor, Messages, Signature, message_class

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
