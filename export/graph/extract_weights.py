"""Read a Bert out of a SavedModel whose encoder has the TF Hub structure and names.

The weights are read by variable name; facts that no variable holds (LayerNorm's epsilon, the kind
of GELU, the head's input) are read out of the graph that tf2onnx made of the same SavedModel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from export.graph.bert import Array, Bert, Dense, Layer, Norm

_LARGEST_EPSILON = 1e-2
_WORDS = "word_embeddings/embeddings"


class NotRecognised(ValueError):
    """The model is not a BERT in the TF Hub structure; the message says what is missing."""


def bert(variables: Mapping[str, Array], graph: onnx.GraphProto) -> Bert:
    """Return the Bert with these variables, computed as in `graph`. Raises NotRecognised."""
    prefix = next((name.removesuffix(_WORDS) for name in variables if name.endswith(_WORDS)), "")
    left = {name.removeprefix(prefix): value for name, value in variables.items()}
    try:
        return _bert(left, graph)
    except KeyError as error:
        raise NotRecognised(f"no variable {error.args[0]}") from error


def _bert(left: dict[str, Array], graph: onnx.GraphProto) -> Bert:
    """Build the Bert, taking its arrays out of `left`; the rest has to be the head."""
    count = len({name.split("/")[1] for name in left if name.startswith("transformer/layer_")})
    if not count:
        raise NotRecognised("no variables transformer/layer_N/...")
    tagger = len(graph.output[0].type.tensor_type.shape.dim) == 3
    epsilon, gelu = _epsilon(graph), _gelu(graph, count, tagger)
    words = left.pop(_WORDS)
    heads = left["transformer/layer_0/self_attention/query/bias"].shape[0]
    positions, types = left.pop("position_embedding/embeddings"), left.pop("type_embeddings/embeddings")
    norm = _norm(left, "embeddings/layer_norm")
    layers = tuple(_layer(left, f"transformer/layer_{number}", words.shape[1]) for number in range(count))
    pooler = _dense(left, "pooler_transform", words.shape[1]) if "pooler_transform/kernel" in left else None
    if not tagger and pooler is None:
        raise NotRecognised("no variable pooler_transform/kernel")
    classifier = _head(left, words.shape[1])
    return Bert(words, positions, types, norm, layers, None if tagger else pooler, classifier, heads, epsilon, gelu)


def _head(left: dict[str, Array], hidden: int) -> Dense:
    """Return the kernel [hidden, labels] and bias [labels] that are left, whatever their names."""
    if sorted(value.ndim for value in left.values()) != [1, 2]:
        rest = sorted(left) or "nothing"
        raise NotRecognised(f"expected the kernel and bias of one dense head beside the encoder, found {rest}")
    bias, kernel = sorted(left.values(), key=lambda value: value.ndim)
    if kernel.shape != (hidden, len(bias)):
        raise NotRecognised(f"the head's kernel is {list(kernel.shape)}, its bias {list(bias.shape)}")
    return Dense(kernel, bias)


def _layer(left: dict[str, Array], name: str, hidden: int) -> Layer:
    return Layer(
        query=_dense(left, f"{name}/self_attention/query", hidden),
        key=_dense(left, f"{name}/self_attention/key", hidden),
        value=_dense(left, f"{name}/self_attention/value", hidden),
        # [heads, head size, hidden]: the heads side by side are the input
        attention_output=_dense(left, f"{name}/self_attention/attention_output", hidden),
        attention_norm=_norm(left, f"{name}/self_attention_layer_norm"),
        intermediate=_dense(left, f"{name}/intermediate", hidden),
        output=_dense(left, f"{name}/output", left[f"{name}/output/kernel"].shape[0]),
        output_norm=_norm(left, f"{name}/output_layer_norm"),
    )


def _dense(left: dict[str, Array], name: str, inputs: int) -> Dense:
    return Dense(left.pop(f"{name}/kernel").reshape(inputs, -1), left.pop(f"{name}/bias").reshape(-1))


def _norm(left: dict[str, Array], name: str) -> Norm:
    return Norm(left.pop(f"{name}/gamma"), left.pop(f"{name}/beta"))


def _epsilon(graph: onnx.GraphProto) -> float:
    """Return LayerNorm's epsilon: the one constant under a square root, or an attribute."""
    scalars = {
        tensor.name: float(numpy_helper.to_array(tensor).reshape(-1)[0])
        for tensor in graph.initializer
        if np.prod(tensor.dims) == 1 and tensor.data_type == onnx.TensorProto.FLOAT
    }
    under_root = {node.input[0] for node in graph.node if node.op_type == "Sqrt"}
    epsilons = {
        scalars[name]
        for node in graph.node
        if node.op_type == "Add" and node.output[0] in under_root
        for name in node.input
        if name in scalars
    }
    fused = (node for node in graph.node if node.op_type in ("BatchNormalization", "LayerNormalization"))
    epsilons |= {attribute.f for node in fused for attribute in node.attribute if attribute.name == "epsilon"}
    if len(epsilons) != 1 or not 0 < min(epsilons) <= _LARGEST_EPSILON:
        raise NotRecognised(f"no single LayerNorm epsilon: {sorted(epsilons)}")
    return epsilons.pop()


def _gelu(graph: onnx.GraphProto, layers: int, tagger: bool) -> str:
    """Tell the kind of GELU by an Erf or a Tanh in every layer; the pooler has a Tanh too."""
    kinds = [node.op_type for node in graph.node]
    if kinds.count("Erf") >= layers:
        return "exact"
    if kinds.count("Tanh") - (not tagger) >= layers:
        return "approximate"
    raise NotRecognised("no GELU")
