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
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from slipway import errors
from slipway.contract import artifact, manifest
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
# Their answer is another one at every run; com.microsoft's and ONNX's have the same names.
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Sampling"}
# Operator → the number of the input that, when true, has it drop values at random.
_TRAINING_MODE = {"Dropout": 2, "BitmaskDropout": 2, "BiasDropout": 4, "BitmaskBiasDropout": 4}
_IN_MEMORY = "_ORT_MEM_ADDR_"  # in a location: ONNX Runtime takes the offset for an address
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
            _refuse(path, "a model that is all here", f"{_called(node)}, which loads an engine from a path")
    for node in _random(model):
        _refuse(path, "a model that answers the same each time", f"{_called(node)}, which draws random numbers")


def external_files(path: Path) -> list[str]:
    """Name the files that an ONNX file refers to, relative to its directory.

    Raises ConversionError as `check_onnx` does for a file that it cannot read.
    """
    entries = (entry for tensor in _external(_onnx(path)) for entry in tensor.external_data)
    return sorted({str(PurePosixPath(entry.value)) for entry in entries if entry.key == "location"})


def _onnx(path: Path) -> onnx.ModelProto:
    if path.is_symlink():
        _refuse(path, "a file", f"a symbolic link to {path.readlink()}")
    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        _refuse(path, "an ONNX file", str(error))


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
        _refuse(path, f"{expected}, at an offset, of a length", str(error))
    if len(facts) != len(tensor.external_data) or "location" not in facts or min(start, length) < 0:
        _refuse(path, f"one location, offset and length of {tensor.name}", str(list(tensor.external_data)))
    name = str(PurePosixPath(facts["location"]))
    fix = ""
    if listed is not None:  # an artifact's
        fix = f"convert it again: {errors.command('export', path.parents[2], '--variant', path.parent.name)}"
    if not (path.parent / name).is_file():
        _refuse(path, expected, "no such file", fix)
    if listed is not None and name not in listed:
        _refuse(path, f"{expected}, one of the files that {artifact.MANIFEST} lists", ", ".join(listed), fix)
    held = (path.parent / name).stat().st_size
    if held < start + length:
        _refuse(path, f"{expected}: {start + length:,} bytes", f"{held:,} bytes", fix)


def _check_location(path: Path, tensor: str, location: str) -> None:
    """Refuse all but a relative POSIX path below the model (ONNX' own rule), without links."""
    expected = f"external data of {tensor} below {path.parent}"
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or _IN_MEMORY in parts or "\\" in location or "\0" in location:
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


def _refuse(path: Path, expected: str, found: str, fix: str = "") -> NoReturn:
    raise ConversionError(
        f"{path.name} is refused: not a model that is safe to load",
        expected=expected,
        found=found,
        where=str(path),
        fix=fix or "take the model from where you trust it, or leave that part out when you save it",
    )
