"""Protobuf messages that no installed package has: parts of others', and newer fields of Triton's.

ModelConfig is that of the installed tritonclient, 2.51, with the fields that later servers know.
protobuf's text format refuses all others, as Triton does.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tritonclient.grpc import model_config_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    **{"int32": _FIELD.TYPE_INT32, "int64": _FIELD.TYPE_INT64, "uint32": _FIELD.TYPE_UINT32},
    **{"bool": _FIELD.TYPE_BOOL, "double": _FIELD.TYPE_DOUBLE, "string": _FIELD.TYPE_STRING},
}
Messages = dict[str, tuple[tuple[str, int, str], ...]]  # message → (field, number, type; "*": repeated)


def message_class(name: str, syntax: str, messages: Messages) -> Any:
    """Return the class of the last of these protobuf messages, which parses their fields alone.

    protobuf skips all other fields of a file, such as the graph's nodes and functions.
    """
    package = f"slipway.{name}"
    file = descriptor_pb2.FileDescriptorProto(name=f"slipway_{name}.proto", package=package, syntax=syntax)
    _add(file, messages)
    return _class(file, list(messages)[-1])


def _add(file: Any, messages: Messages) -> None:
    """Add these messages to a file, and to those that it has their fields."""
    present = {message.name: message for message in file.message_type}
    for message, fields in messages.items():
        described = present.get(message) or file.message_type.add(name=message)
        for name, number, kind in fields:
            label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            added = described.field.add(name=name, number=number, label=label)
            kind = kind.removeprefix("*")
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".{file.package}.{kind}"


def _class(file: Any, message: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message}"))


_NEWER: Messages = {
    "MetricIdentifier": (("family", 1, "string"),),
    "HistogramOptions": (("buckets", 1, "*double"),),
    "MetricControl": (("metric_identifier", 1, "MetricIdentifier"), ("histogram_options", 2, "HistogramOptions")),
    "ModelMetrics": (("metric_control", 1, "*MetricControl"),),
    "ModelEnsembling": (("max_inflight_requests", 2, "uint32"),),  # 26.x
    "ModelConfig": (("model_metrics", 26, "ModelMetrics"),),  # 2.52
}


def _with_newer_fields() -> Any:
    file = descriptor_pb2.FileDescriptorProto.FromString(model_config_pb2.DESCRIPTOR.serialized_pb)
    _add(file, _NEWER)
    return _class(file, "ModelConfig")


ModelConfig = _with_newer_fields()
