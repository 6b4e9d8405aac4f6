"""Refusal of ONNX files that lead out of their directory, lack a part, or answer at random."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from export.safety.refusal import refuse
from slipway import errors
from slipway.contract import artifact

# Their answer is another one at every run; com.microsoft's and ONNX's have the same names.
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Sampling"}
# Operator → the number of the input that, when true, has it drop values at random.
_TRAINING_MODE = {"Dropout": 2, "BitmaskDropout": 2, "BiasDropout": 4, "BitmaskBiasDropout": 4}
_IN_MEMORY = "_ORT_MEM_ADDR_"  # in a location: ONNX Runtime takes the offset for an address


def check_onnx(path: Path, listed: Collection[str] | None = None) -> None:
    """Raise ConversionError when an ONNX file is a link, unreadable, leads out of its directory,
    lacks a file that it refers to, or answers at random.

    `listed`: the files of its artifact.json; each that the model refers to has to be among them.
    Every tensor and node is looked at: initializers, sparse ones, attributes, subgraphs, functions,
    training information.
    """
    model = _onnx(path)
    for tensor in _external(model):
        _check_external(path, tensor, listed)
    for node in _nodes(model):
        if node.op_type == "EPContext":
            refuse(path, "a model that is all here", f"{_called(node)}, which loads an engine from a path")
    for node in _random(model):
        refuse(path, "a model that answers the same each time", f"{_called(node)}, which draws random numbers")


def _onnx(path: Path) -> onnx.ModelProto:
    if path.is_symlink():
        refuse(path, "a file", f"a symbolic link to {path.readlink()}")
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        refuse(path, "an ONNX file", str(error))


def _external(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors whose values are in another file."""
    tensors = (message for message in _messages(model) if isinstance(message, onnx.TensorProto))
    return (tensor for tensor in tensors if tensor.external_data)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (message for message in _messages(model) if isinstance(message, onnx.NodeProto))


def _called(node: onnx.NodeProto) -> str:
    return f"node {node.name or 'of ' + ', '.join(node.output)} ({node.op_type})"


def _random(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that draw random numbers. A Dropout does unless its mode is known."""
    false = _false(model)
    for node in _nodes(model):
        mode = _TRAINING_MODE.get(node.op_type, 0)
        if node.op_type in _RANDOM or (mode and "".join(node.input[mode : mode + 1]) not in {"", *false}):
            yield node


def _false(model: onnx.ModelProto) -> set[str]:
    """Name the tensors that are constant and false, in every graph and function that has one so
    called.
    """
    false: set[str] = set()
    others: set[str] = set()
    for message in _messages(model):
        if isinstance(message, onnx.GraphProto):
            others |= {value.name for value in message.input}
            for tensor in message.initializer:
                (false if _is_false(tensor) else others).add(tensor.name)
        elif isinstance(message, onnx.FunctionProto):
            others |= set(message.input)
        elif isinstance(message, onnx.NodeProto):
            constant = message.op_type == "Constant" and any(_is_false(entry.t) for entry in message.attribute)
            (false if constant else others).update(message.output)
    return false - others


def _is_false(tensor: onnx.TensorProto) -> bool:
    known = tensor.data_type == onnx.TensorProto.BOOL and not tensor.external_data
    return known and not onnx.numpy_helper.to_array(tensor).any()


def _check_external(path: Path, tensor: onnx.TensorProto, listed: Collection[str] | None) -> None:
    """Refuse external data outside of the model's directory, absent, not listed, or cut off."""
    for entry in tensor.external_data:
        if entry.key == "location":
            _check_location(path, tensor.name, entry.value)
    facts = {entry.key: entry.value for entry in tensor.external_data}
    expected = f"external data of {tensor.name} in {facts.get('location')}"
    try:
        size = int(np.prod(tensor.dims)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        start, length = int(facts.get("offset", 0)), int(facts.get("length", size))
    except (ValueError, KeyError) as error:
        refuse(path, f"{expected}, at an offset, of a length", str(error))
    if len(facts) != len(tensor.external_data) or "location" not in facts or min(start, length) < 0:
        refuse(path, f"one location, offset and length of {tensor.name}", str(list(tensor.external_data)))
    name = str(PurePosixPath(facts["location"]))
    fix = ""
    if listed is not None:  # an artifact's
        fix = f"convert it again: {errors.command('export', path.parents[2], '--variant', path.parent.name)}"
    if not (path.parent / name).is_file():
        refuse(path, expected, "no such file", fix)
    if listed is not None and name not in listed:
        refuse(path, f"{expected}, one of the files that {artifact.MANIFEST} lists", ", ".join(listed), fix)
    held = (path.parent / name).stat().st_size
    if held < start + length:
        refuse(path, f"{expected}: {start + length:,} bytes", f"{held:,} bytes", fix)


def _check_location(path: Path, tensor: str, location: str) -> None:
    """Refuse all but a relative POSIX path below the model (ONNX' own rule), without links."""
    expected = f"external data of {tensor} below {path.parent}"
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or _IN_MEMORY in parts or "\\" in location or "\0" in location:
        refuse(path, expected, f"location {location!r}")
    place = path.parent
    for part in parts:
        place /= part
        if place.is_symlink():
            refuse(path, expected, f"location {location!r}, where {place} is a symbolic link to {place.readlink()}")


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all those in it. A tensor has none, and may be gigabytes."""
    yield message
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                yield from _messages(inner)
