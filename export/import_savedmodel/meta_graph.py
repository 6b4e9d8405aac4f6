"""The graph of a SavedModel before TensorFlow loads it: which of several, and what it needs.

A copy holds one meta graph alone, and ends before its last softmax or sigmoid where the logits are
wanted: those of a probability near 1 cannot be had from it in float32.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.safety.saved_model import read_saved_model
from slipway.contract import manifest
from slipway.errors import ConversionError

_SERVE = "serve"
_INITIAL = "__saved_model_init_op"
_THROUGH = ("Identity", "IdentityN", "Cast")  # operations that hand on their inputs, one by one
_OUTPUTS = {"Softmax": "softmax", "Sigmoid": "y"}  # operation → name of its output
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def choose(source: Path, again: str) -> Any:
    """Return the meta graph that is for serving. Raises ConversionError where that is not clear."""
    graphs = {tuple(sorted(graph.meta_info_def.tags)): graph for graph in read_saved_model(source / "saved_model.pb").meta_graphs}
    for tags in ((_SERVE,), *graphs) if len(graphs) == 1 else ((_SERVE,), ()):
        if tags in graphs:
            return graphs[tags]
    raise ConversionError(
        "the SavedModel holds several graphs, and none is for serving alone",
        expected=f"one tagged {_SERVE}, or only one graph",
        found=", ".join(f"[{', '.join(tags)}]" for tags in graphs),
        where=str(source),
        fix=f"save the one for inference by itself, then {again}",
    )


def signature_name(graph: Any, wanted: str | None, source: Path, again: str) -> str:
    """Return the serving signature's name. Raises ConversionError where that is not clear."""
    names = sorted(name for name in graph.signature_def if name != _INITIAL)
    name = wanted or ("serving_default" if "serving_default" in names else names[0] if len(names) == 1 else "")
    if name in names:
        return name
    raise ConversionError(
        "which signature is the classifier is not clear" if names else "the SavedModel has no signature",
        expected=f"the signature {wanted or 'serving_default'}",
        found=", ".join(names) or "none",
        where=str(source),
        fix=f"{again} --signature {names[0]}" if names else f"save it with signatures=, then {again}",
    )


def check_inputs(source: Path, wanted: str | None, again: str) -> None:
    """Raise ConversionError for a model that takes texts, or whose signature is not clear."""
    graph = choose(source, again)
    from tensorflow.core.framework import types_pb2

    inputs = graph.signature_def[signature_name(graph, wanted, source, again)].inputs
    if texts := sorted(name for name, tensor in inputs.items() if tensor.dtype == types_pb2.DT_STRING):
        raise ConversionError(
            "the SavedModel takes texts, and splits them itself",
            expected="word piece ids, a mask and type ids: texts are split outside of the graph, by the same vocabulary",
            found=f"the input {texts[0]}, a string",
            where=str(source),
            fix=f"save the model behind its preprocessing, with integers [batch, sequence] in; then {again}",
        )


def check_operations(graph: Any, source: Path, again: str) -> None:
    """Raise ConversionError for an operation that this TensorFlow does not have."""
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name for function in graph.graph_def.library.function}
    missing = sorted({node.op for node in _nodes(graph)} - functions)
    missing = [name for name in missing if op_def_registry.get(name) is None]
    if missing:
        raise ConversionError(
            f"the SavedModel needs operations that are not TensorFlow's own: {', '.join(missing[:3])}",
            expected="a graph from word piece ids to logits: splitting texts is done outside of it",
            found=f"{len(missing)} unknown, as TensorFlow Text and other libraries register them",
            where=str(source),
            fix="save the model without its preprocessing: ids, mask and type ids, integers [batch, sequence], to logits; "
            f"then {again}",
        )


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.graph_def.node
    for function in graph.graph_def.library.function:
        yield from function.node_def


def write(graph: Any, source: Path, target: Path) -> None:
    """Write a SavedModel with this meta graph alone; its variables and assets are links."""
    from tensorflow.core.protobuf import saved_model_pb2

    del graph.meta_info_def.tags[:]
    graph.meta_info_def.tags.append(_SERVE)
    target.mkdir()
    whole = saved_model_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=[graph])
    (target / "saved_model.pb").write_bytes(whole.SerializeToString())
    for part in ("variables", "assets"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, copy_function=lambda a, b: manifest.link(Path(a), Path(b)))


def without_activation(graph: Any, signature: str, output: str, operation: str) -> bool:
    """End an output before its last `operation`, Softmax or Sigmoid; return whether it has one."""
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    place, nodes, tensor = None, graph.graph_def.node, graph.signature_def[signature].outputs[output].name
    while True:
        name, *_, number = tensor.split(":") if ":" in tensor else (tensor, "0")
        node = next((node for node in nodes if node.name == name), None)
        if node is None:
            return False
        if node.op == operation:
            break
        if node.op in _THROUGH:
            tensor = node.input[int(number)]
        elif node.op in _CALLS and node.attr["f"].func.name in functions:
            place = functions[node.attr["f"].func.name]
            nodes, tensor = place.node_def, place.ret[place.signature.output_arg[int(number)].name]
        else:
            return False
    _hand_on(node, place)
    return True


def _hand_on(node: Any, function: Any | None) -> None:
    """Turn an activation into one that hands on its input.

    In a function, tensors have the name of the operation's output in theirs.
    """
    old, new = f"{node.name}:{_OUTPUTS[node.op]}:0", f"{node.name}:output:0"
    node.op = "Identity"
    if function is None:
        return
    for reader in function.node_def:
        reader.input[:] = [new if name == old else name for name in reader.input]
    for key, name in function.ret.items():
        if name == old:
            function.ret[key] = new
