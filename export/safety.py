"""Refusal of models that reach outside of their own directory or run code, before they are loaded.

Only protobufs are parsed here; no model is loaded, run or optimized. The guarantees of
`slipway.contract.manifest` (hashes, no links) are checked first by whoever loads a bundle or an
artifact; this is about what a correctly sealed file may hold.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from slipway.contract import manifest
from slipway.errors import ConversionError

_FILES = """
    ReadFile WriteFile MatchingFiles RecordInput
    WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2
    FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader
    CSVDataset CSVDatasetV2 ExperimentalCSVDataset TextLineDataset TFRecordDataset TFRecordDatasetV2
    FixedLengthRecordDataset FixedLengthRecordDatasetV2 LMDBDataset ExperimentalLMDBDataset
    MatchingFilesDataset ExperimentalMatchingFilesDataset SqlDataset ExperimentalSqlDataset
    CacheDataset CacheDatasetV2 LoadDataset SaveDataset SaveDatasetV2 DatasetToTFRecord ExperimentalDatasetToTFRecord
    SnapshotDataset SnapshotDatasetV2 SnapshotDatasetReader SnapshotNestedDatasetReader SnapshotChunkDataset
    ListSnapshotChunksDataset DistributedSave
    CreateSummaryFileWriter CreateSummaryDbWriter
    InitializeTableFromTextFile InitializeTableFromTextFileV2 GenerateVocabRemapping LoadAndRemapMatrix
    FixedUnigramCandidateSampler Skipgram
    DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary DumpTensor
    CalibrationStatisticsSaver InitializeTRTResource SerializeTRTResource FileSystemSetConfiguration
"""
# A checkpoint's: allowed in the two functions that the SaverDef names, and nowhere else.
_CHECKPOINT = "Save SaveSlices SaveV2 MergeV2Checkpoints Restore RestoreSlice RestoreV2 DTensorRestoreV2"
_PYTHON = "PyFunc PyFuncStateless EagerPyFunc"
_CONNECTIONS = """
    RpcClient RpcServer RpcServerStart RpcServerRegister RpcCall
    DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4 RegisterDataset RegisterDatasetV2
"""
CHECKPOINT = frozenset(_CHECKPOINT.split())
FORBIDDEN = {  # op → what it is
    **dict.fromkeys((_FILES + _CHECKPOINT).split(), "a file operation"),
    **dict.fromkeys(_PYTHON.split(), "a call into Python"),
    **dict.fromkeys(_CONNECTIONS.split(), "a connection"),
}
_PARTS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets/.+|assets\.extra/.+|encoder\.json"  # the last is ours: train/model/default_encoder.py's record of its source
)
_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1", "EXT2", "EXT4"}
# Where PrintV2 may write; it also takes file://path.
_CONSOLE = {b"", b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"}


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


def forbidden_operations(graph: Any) -> Iterator[str]:
    """Describe each operation that a MetaGraphDef's graph and functions may not hold."""
    own = _saver_functions(graph)
    places = [("the graph", "", graph.graph_def.node)]
    places += [(f"function {f.signature.name}", f.signature.name, f.node_def) for f in graph.graph_def.library.function]
    for place, function, nodes in places:
        for node in nodes:
            if node.op in FORBIDDEN and not (node.op in CHECKPOINT and function in own):
                yield f"{node.op}, {FORBIDDEN[node.op]}: node {node.name} of {place}"
            stream = node.attr["output_stream"] if node.op == "PrintV2" else None
            if stream is not None and (stream.placeholder or stream.s not in _CONSOLE):
                yield f"PrintV2 into {stream.s.decode(errors='replace')}: node {node.name} of {place}"


def _saver_functions(graph: Any) -> set[str]:
    """Name the functions that save and restore the checkpoint, if the SaverDef alone leads to them.

    Names are not trusted: a function counts when it is mentioned once in the whole meta graph, by a
    node that the SaverDef names and that no other node, signature, or initialisation mentions.
    """
    saver, nodes = graph.saver_def, graph.graph_def.node
    named = {_node(saver.save_tensor_name), _node(saver.restore_op_name)} - {""}
    named -= {_node(name) for node in nodes for name in node.input} | set(_entries(graph))
    mentioned = Counter(_mentioned(graph))
    called = {name for node in nodes if node.name in named for name in _functions(node.attr)}
    library = graph.graph_def.library.function
    exchangeable = {function.signature.name for function in library if "api_implements" in function.attr}
    return {name for name in called - exchangeable if mentioned[name] == 1}


def _mentioned(graph: Any) -> Iterator[str]:
    """Yield the function of every mention, as often as it is mentioned."""
    library = graph.graph_def.library
    for nodes in (graph.graph_def.node, *(function.node_def for function in library.function)):
        for node in nodes:
            yield node.op  # a call in TensorFlow 1's way
            yield from _functions(node.attr)
    for function in library.function:
        yield from _functions(function.attr)
    for gradient in library.gradient:
        yield from (gradient.function_name, gradient.gradient_func)
    yield from (gradient.gradient_func for gradient in library.registered_gradients)
    yield from graph.object_graph_def.concrete_functions


def _functions(attributes: Any) -> Iterator[str]:
    """Yield functions that attributes name: as such, as arguments, and as strings (gradients)."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            yield function.name
            yield from _functions(function.attr)
        yield value.s.decode(errors="replace")


def _entries(graph: Any) -> Iterator[str]:
    """Yield the nodes that a signature or the initialisation leads to."""
    for signature in graph.signature_def.values():
        tensors: Iterable[Any] = (*signature.inputs.values(), *signature.outputs.values())
        yield from (_node(tensor.name) for tensor in tensors)
    for collection in graph.collection_def.values():
        yield from (_node(name) for name in collection.node_list.value)


def _node(tensor: str) -> str:
    """Return the node that makes a tensor: "name:0", or "^name" where only the order counts."""
    return tensor.removeprefix("^").partition(":")[0]


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
