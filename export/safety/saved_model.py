"""Refusal of SavedModels that hold more than a model: foreign files, pickles, code, file access."""

from __future__ import annotations

import json
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from export.safety.operations import forbidden_operations
from export.safety.refusal import refuse
from slipway.contract import manifest

_PARTS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets/.+|assets\.extra/.+|encoder\.json"  # the last is ours: train/model/default_encoder.py's record of its source
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
            refuse(path, "the files of a SavedModel", "a file that is none of them")
        if name.startswith("assets") and (kind := _pickle(path)):
            refuse(path, "an asset that is data", kind)
    if "saved_model.pb" not in files:
        refuse(directory / "saved_model.pb", "the graph of a SavedModel, in binary", "no such file")
    for graph in read_saved_model(files["saved_model.pb"]).meta_graphs:
        _check_meta_graph(graph, files["saved_model.pb"])
    if "keras_metadata.pb" in files:
        _check_keras(_keras_metadata(files["keras_metadata.pb"]), files["keras_metadata.pb"])


def _check_meta_graph(graph: Any, path: Path) -> None:
    for sentence in forbidden_operations(graph):
        refuse(path, "a model that computes, and does nothing else", sentence)
    for asset in graph.asset_file_def:
        if asset.filename.startswith("/") or ".." in PurePosixPath(asset.filename).parts:
            refuse(path, "assets below assets/", f"the asset {asset.filename!r}")
    for node in graph.object_graph_def.nodes:  # where TensorFlow up to 2.4 wrote it
        if node.user_object.identifier.startswith("_tf_keras_"):
            _check_keras([node.user_object.metadata], path)


def _check_keras(metadata: list[str], path: Path) -> None:
    for text in filter(None, metadata):
        try:
            names = list(_lambdas(json.loads(text)))
        except (ValueError, RecursionError) as error:
            refuse(path, "Keras metadata in JSON", str(error))
        for name in names:
            refuse(path, "layers that are data", f"the Keras Lambda layer {name}, which is Python bytecode")


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


def read_saved_model(path: Path) -> Any:
    """Return a saved_model.pb as a protobuf. Raises ConversionError where it is none."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as slipway/tensorflow.py, which costs a second more
    from tensorflow.core.protobuf import saved_model_pb2

    return _parsed(saved_model_pb2.SavedModel(), path)


def _keras_metadata(path: Path) -> list[str]:
    from tensorflow.python.keras.protobuf import saved_metadata_pb2

    return [node.metadata for node in _parsed(saved_metadata_pb2.SavedMetadata(), path).nodes]


def _parsed(message: Any, path: Path) -> Any:
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        refuse(path, f"a protobuf {type(message).__name__}", str(error))
    return message
