"""Refusal of models that reach outside of their own directory or run code, before they are loaded.

Only protobufs are parsed here; no model is loaded, run or optimized. The guarantees of
`train.manifest` (hashes, no links) are checked first by whoever loads a bundle or an artifact; this
is about what a correctly sealed file may hold.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from export.forbidden_ops import forbidden_operations
from train import manifest
from train.errors import ConversionError

_PARTS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets/.+|assets\.extra/.+|encoder\.json"  # the last is ours: train/build_hub_module.py's record of its source
)
_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1", "EXT2", "EXT4"}


def check_saved_model(directory: Path) -> None:
    """Raise ConversionError when a SavedModel holds more than a model; ManifestError for links.

    Refused are files that no SavedModel has, pickles (by content), Keras Lambda layers (Python
    bytecode), assets from elsewhere, and graphs that touch files, open connections or call Python
    (`forbidden_operations`), whether a signature reaches them or not.
    """
    files = manifest.files(directory)
    for name, path in files.items():
        if not _PARTS.fullmatch(name):
            _refuse(path, "the files of a SavedModel", "a file that is none of them")
        if name.startswith("assets") and (kind := _pickle(path)):
            _refuse(path, "an asset that is data", kind)
    if "saved_model.pb" not in files:
        _refuse(directory / "saved_model.pb", "the graph of a SavedModel, in binary", "no such file")
    for graph in _saved_model(files["saved_model.pb"]).meta_graphs:
        _check_meta_graph(graph, files["saved_model.pb"])
    if "keras_metadata.pb" in files:
        _check_keras(_keras_metadata(files["keras_metadata.pb"]), files["keras_metadata.pb"])


def check_onnx(path: Path) -> None:
    """Raise ConversionError when an ONNX file is a link, unreadable, or leads out of its directory.

    Every tensor is looked at: initializers, sparse ones, attributes, subgraphs, functions, training
    information.
    """
    if path.is_symlink():
        _refuse(path, "a file", f"a symbolic link to {path.readlink()}")
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        _refuse(path, "an ONNX file", str(error))
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto):
            for entry in message.external_data:
                if entry.key == "location":
                    _check_location(path, message.name, entry.value)
        elif isinstance(message, onnx.NodeProto) and message.op_type == "EPContext":
            _refuse(path, "a model that is all here", f"node {message.name} (EPContext), which loads an engine from a path")


def _check_location(path: Path, tensor: str, location: str) -> None:
    """Refuse all but a relative POSIX path below the model (ONNX' own rule), without links."""
    expected = f"external data of {tensor} below {path.parent}"
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
        _refuse(path, expected, f"location {location!r}")
    place = path.parent
    for part in parts:
        place /= part
        if place.is_symlink():
            _refuse(path, expected, f"location {location!r}, where {place} is a symbolic link to {place.readlink()}")


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all those in it. A tensor has none, and may be gigabytes."""
    yield message
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                yield from _messages(inner)


def _check_meta_graph(graph: Any, path: Path) -> None:
    for sentence in forbidden_operations(graph):
        _refuse(path, "a model that computes, and does nothing else", sentence)
    for asset in graph.asset_file_def:
        if asset.filename.startswith("/") or ".." in PurePosixPath(asset.filename).parts:
            _refuse(path, "assets below assets/", f"the asset {asset.filename!r}")
    for node in graph.object_graph_def.nodes:  # where TensorFlow up to 2.4 wrote it
        if node.user_object.identifier.startswith("_tf_keras_"):
            _check_keras([node.user_object.metadata], path)


def _check_keras(metadata: list[str], path: Path) -> None:
    for text in filter(None, metadata):
        try:
            names = list(_lambdas(json.loads(text)))
        except (ValueError, RecursionError) as error:
            _refuse(path, "Keras metadata in JSON", str(error))
        for name in names:
            _refuse(path, "layers that are data", f"the Keras Lambda layer {name}, which is Python bytecode")


def _lambdas(config: Any) -> Iterator[str]:
    """Yield the names of the Lambda layers in a Keras configuration, at any depth."""
    if isinstance(config, dict):
        if str(config.get("class_name", "")).rpartition(">")[2] == "Lambda":
            inner = config.get("config")
            yield str(config.get("name") or (inner.get("name") if isinstance(inner, dict) else None) or "without a name")
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _lambdas(part)


def _pickle(path: Path) -> str:
    """Return the kind of pickle a file is by its content, or "". Nothing in it is executed."""
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return "a NumPy array of pickled objects" if _holds_objects(path) else ""
    if zipfile.is_zipfile(path):
        return "an archive, which is how PyTorch and NumPy keep pickles"
    return "a pickle" if _is_pickle(path) else ""


def _holds_objects(path: Path) -> bool:
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return True
    return False


def _is_pickle(path: Path) -> bool:
    """Return whether it reads as one that starts as protocol 2 or later do, or calls something."""
    seen = set()
    try:
        with path.open("rb") as file:
            for opcode, argument, position in pickletools.genops(file):
                if opcode.name == "PROTO" and position == 0 and argument in range(6):
                    return True
                seen.add(opcode.name)
    except Exception:  # a file that is no pickle fails in whatever way its bytes lead to
        return False
    return bool(seen & _CALLS)


def _saved_model(path: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return _parsed(saved_model_pb2.SavedModel(), path)


def _keras_metadata(path: Path) -> list[str]:
    from tensorflow.python.keras.protobuf import saved_metadata_pb2

    return [node.metadata for node in _parsed(saved_metadata_pb2.SavedMetadata(), path).nodes]


def _parsed(message: Any, path: Path) -> Any:
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        _refuse(path, f"a protobuf {type(message).__name__}", str(error))
    return message


def _refuse(path: Path, expected: str, found: str) -> NoReturn:
    raise ConversionError(
        f"{path.name} is refused: not a model that is safe to load",
        expected=expected,
        found=found,
        where=str(path),
        fix="take the model from where you trust it, or leave that part out when you save it",
    )
