"""Read a Bert out of a SavedModel whose encoder has the TF Hub structure and names.

The weights are read by variable name; what no variable holds (LayerNorm's epsilon, the kind of GELU) is read out of the graph that
tf2onnx made of the same SavedModel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.bert import Array, Bert, Dense, Layer, Norm

_LARGEST_EPSILON = 1e-2


class NotRecognised(ValueError):
    """The model is not a BERT in the TF Hub structure; the message says what is missing."""


def variables(saved_model: Path) -> dict[str, Array]:
    """Variable name → value of every variable the serving signature uses."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    return {v.name.removesuffix(":0"): v.numpy() for v in loaded.signatures["serving_default"].variables}


def bert(weights: Mapping[str, Array], graph: onnx.GraphProto) -> Bert:
    """The Bert with these variables, computed as in `graph`. Raises NotRecognised."""
    try:
        return _bert(weights, _epsilon(graph), _gelu(graph))
    except KeyError as error:
        raise NotRecognised(f"no variable {error.args[0]}") from error


def _bert(weights: Mapping[str, Array], epsilon: float, gelu: str) -> Bert:
    count = len({name.split("/")[1] for name in weights if name.startswith("transformer/layer_")})
    if not count:
        raise NotRecognised("no variables transformer/layer_N/...")
    hidden = weights["word_embeddings/embeddings"].shape[1]
    heads = weights["transformer/layer_0/self_attention/query/bias"].shape[0]
    bert = Bert(
        word_embeddings=weights["word_embeddings/embeddings"],
        position_embeddings=weights["position_embedding/embeddings"],
        type_embeddings=weights["type_embeddings/embeddings"],
        embeddings_norm=_norm(weights, "embeddings/layer_norm"),
        layers=tuple(_layer(weights, f"transformer/layer_{number}", hidden) for number in range(count)),
        pooler=_dense(weights, "pooler_transform", hidden),
        classifier=_dense(weights, "classifier", hidden),
        heads=heads,
        epsilon=epsilon,
        gelu=gelu,
    )
    left = len(weights) - (5 + 16 * count + 4)
    if left:
        raise NotRecognised(f"{left} variables more than a BERT classifier has")
    return bert


def _layer(weights: Mapping[str, Array], name: str, hidden: int) -> Layer:
    return Layer(
        query=_dense(weights, f"{name}/self_attention/query", hidden),
        key=_dense(weights, f"{name}/self_attention/key", hidden),
        value=_dense(weights, f"{name}/self_attention/value", hidden),
        # [heads, head size, hidden]: the heads side by side are the input
        attention_output=_dense(weights, f"{name}/self_attention/attention_output", hidden),
        attention_norm=_norm(weights, f"{name}/self_attention_layer_norm"),
        intermediate=_dense(weights, f"{name}/intermediate", hidden),
        output=_dense(weights, f"{name}/output", weights[f"{name}/output/kernel"].shape[0]),
        output_norm=_norm(weights, f"{name}/output_layer_norm"),
    )


def _dense(weights: Mapping[str, Array], name: str, inputs: int) -> Dense:
    return Dense(weights[f"{name}/kernel"].reshape(inputs, -1), weights[f"{name}/bias"].reshape(-1))


def _norm(weights: Mapping[str, Array], name: str) -> Norm:
    return Norm(weights[f"{name}/gamma"], weights[f"{name}/beta"])


def _epsilon(graph: onnx.GraphProto) -> float:
    """The one small constant that is added before a square root: LayerNorm's epsilon."""
    scalars = {
        tensor.name: float(numpy_helper.to_array(tensor).reshape(-1)[0])
        for tensor in graph.initializer
        if np.prod(tensor.dims) == 1 and tensor.data_type == onnx.TensorProto.FLOAT
    }
    under_root = {node.input[0] for node in graph.node if node.op_type == "Sqrt"}
    added = {
        scalars[name]
        for node in graph.node
        if node.op_type == "Add" and node.output[0] in under_root
        for name in node.input
        if name in scalars
    }
    if len(added) != 1 or not 0 < min(added) <= _LARGEST_EPSILON:
        raise NotRecognised(f"no single LayerNorm epsilon: {sorted(added)}")
    return added.pop()


def _gelu(graph: onnx.GraphProto) -> str:
    """Exact GELU uses Erf. The approximate one uses Tanh, and so does the pooler, once."""
    kinds = [node.op_type for node in graph.node]
    if "Erf" in kinds:
        return "exact"
    if kinds.count("Tanh") > 1:
        return "approximate"
    raise NotRecognised("no GELU")
