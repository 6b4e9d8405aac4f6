"""Read a Bert out of a SavedModel whose encoder has the names of TF Hub, or of transformers.

The weights are read by variable name; facts that no variable holds (LayerNorm's epsilon, the kind
of GELU, the head's input) are read out of the graph that tf2onnx made of the same SavedModel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from export.graph.bert import Array, Bert, Dense, Layer, Norm

_LARGEST_EPSILON = 1e-2
# transformers' names of a TF BERT → TF Hub's; the prefix is the class of the model.
_TRANSFORMERS = {
    r".*/embeddings/word_embeddings/weight": "word_embeddings/embeddings",
    r".*/embeddings/position_embeddings/embeddings": "position_embedding/embeddings",
    r".*/embeddings/token_type_embeddings/embeddings": "type_embeddings/embeddings",
    r".*/embeddings/LayerNorm/(gamma|beta)": r"embeddings/layer_norm/\1",
    r".*/layer_\._(\d+)/attention/self/(query|key|value)/(kernel|bias)": r"transformer/layer_\1/self_attention/\2/\3",
    r".*/layer_\._(\d+)/attention/output/dense/(kernel|bias)": r"transformer/layer_\1/self_attention/attention_output/\2",
    r".*/layer_\._(\d+)/attention/output/LayerNorm/(gamma|beta)": r"transformer/layer_\1/self_attention_layer_norm/\2",
    r".*/layer_\._(\d+)/(intermediate|output)/dense/(kernel|bias)": r"transformer/layer_\1/\2/\3",
    r".*/layer_\._(\d+)/output/LayerNorm/(gamma|beta)": r"transformer/layer_\1/output_layer_norm/\2",
    r".*/pooler/dense/(kernel|bias)": r"pooler_transform/\1",
}
_WORDS = "word_embeddings/embeddings"
_ADDED = 4  # nodes between an attention's scale and its softmax, at most


class NotRecognised(ValueError):
    """The model is not a BERT in the TF Hub structure; the message says what is missing."""


def bert(variables: Mapping[str, Array], graph: onnx.GraphProto) -> Bert:
    """Return the Bert with these variables, computed as in `graph`. Raises NotRecognised."""
    prefix = next((name.removesuffix(_WORDS) for name in variables if name.endswith(_WORDS)), "")
    left = {name.removeprefix(prefix): value for name, value in variables.items()}
    if not prefix and _WORDS not in left:
        left = _of_transformers(left, graph)
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


def _of_transformers(variables: Mapping[str, Array], graph: onnx.GraphProto) -> dict[str, Array]:
    """Return the variables under TF Hub's names, those of the heads side by side as it has them."""
    renamed = {}
    for name, value in variables.items():
        matches = ((re.fullmatch(pattern, name), new) for pattern, new in _TRANSFORMERS.items())
        renamed[next((match.expand(new) for match, new in matches if match), name)] = value
    if _WORDS in renamed:
        size = _head_size(graph, renamed[_WORDS].shape[1])
        renamed |= {name: value.reshape(-1, size) for name, value in renamed.items() if name.endswith("/query/bias")}
    return renamed


def _head_size(graph: onnx.GraphProto, hidden: int) -> int:
    """Return the columns of a head, out of the scale √size between a product and its softmax."""
    scalars = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if np.prod(tensor.dims) == 1}
    made_by = {name: node for node in graph.node for name in node.output}
    sizes = set()
    for softmax in (node for node in graph.node if node.op_type == "Softmax"):
        names = list(softmax.input)
        for _ in range(_ADDED):  # the mask, and what keeps it finite, are added behind the scale
            before = [made_by[name] for name in names if name in made_by]
            for node in before:
                scales = [float(scalars[name].reshape(-1)[0]) for name in node.input if name in scalars]
                if (
                    node.op_type in ("Div", "Mul")
                    and scales
                    and any(made_by[name].op_type == "MatMul" for name in node.input if name in made_by)
                ):
                    sizes.add(round((scales[0] if node.op_type == "Div" else 1 / scales[0]) ** 2))
            names = [name for node in before if node.op_type == "Add" for name in node.input]
    if len(sizes) != 1 or hidden % min(sizes):
        raise NotRecognised(f"no single scale of attention: the roots of {sorted(sizes)}")
    return sizes.pop()


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
