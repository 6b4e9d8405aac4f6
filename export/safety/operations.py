"""The operations of a TensorFlow graph that do more than compute.

A checkpoint's own functions may read and write files, and are told from others by who mentions
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

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
# Where PrintV2 may write; it also takes file://path.
_CONSOLE = {b"", b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"}


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
