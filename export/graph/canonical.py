"""A Bert as standard ONNX (opset 17), without shape arithmetic or constants beyond FP16; and back.

The file is the interchange: every later graph is written from the Bert that `read` finds in it,
without TensorFlow.

A head that reads the first token only lets the last layer compute only that one after its
attention: exact, and for 6 layers about an eighth of the encoder's arithmetic less.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.graph.bert import Array, Bert, Dense, Layer, Norm
from export.graph.builder import GraphWriter

# Added to the scores of padding. exp(−10000) is 0 in FP32 and in FP16, and FP16 holds −10000; −1e9
# overflows there.
MASKED = np.float32(-10000.0)


def write(bert: Bert) -> onnx.ModelProto:
    """Write the canonical graph. Initializers are named after Bert's fields, for `read`."""
    graph = GraphWriter()
    hidden = _embeddings(graph, bert)
    mask = _additive_mask(graph)
    for number, layer in enumerate(bert.layers):
        hidden = _layer(graph, bert, layer, f"layers.{number}", hidden, mask, bert.first_token_only(number))
    logits = _head(graph, bert, hidden)
    facts = {"heads": str(bert.heads), "epsilon": repr(bert.epsilon), "gelu": bert.gelu, "layers": str(len(bert.layers))}
    return graph.model(logits, bert.output_shape, facts)


def _head(graph: GraphWriter, bert: Bert, hidden: str) -> str:
    if bert.pooler is None:
        return _dense(graph, "logits", bert.classifier, hidden, weights="classifier")
    pooled = graph.op("Tanh", "pooled", _dense(graph, "pooler", bert.pooler, hidden))
    return graph.op("Squeeze", "logits", _dense(graph, "classifier", bert.classifier, pooled), graph.integers(1))


def _embeddings(graph: GraphWriter, bert: Bert) -> str:
    words = graph.op("Gather", "words", graph.constant("word_embeddings", bert.word_embeddings), "input_word_ids")
    types = graph.op("Gather", "types", graph.constant("type_embeddings", bert.type_embeddings), "input_type_ids")
    # The first `sequence` rows of the position table.
    length = graph.op("Shape", "length", "input_word_ids", start=1, end=2)
    zero = graph.integers(0)
    table = graph.constant("position_embeddings", bert.position_embeddings)
    positions = graph.op("Slice", "positions", table, zero, length, zero)
    total = graph.op("Add", "embeddings.types", graph.op("Add", "embeddings.sum", words, positions), types)
    return _norm(graph, "embeddings_norm", bert.embeddings_norm, bert.epsilon, total)


def _additive_mask(graph: GraphWriter) -> str:
    """Return [batch, 1, 1, sequence]: 0 at text, MASKED at padding."""
    mask = graph.op("Cast", "mask.float", "input_mask", to=onnx.TensorProto.FLOAT)
    padding = graph.op("Sub", "mask.padding", graph.constant("one", np.float32(1)), mask)
    scores = graph.op("Mul", "mask.scores", padding, graph.constant("masked", MASKED))
    return graph.op("Unsqueeze", "mask", scores, graph.integers(1, 2))


def _layer(graph: GraphWriter, bert: Bert, layer: Layer, at: str, hidden: str, mask: str, first_token_only: bool) -> str:
    query_from = hidden
    if first_token_only:
        start, end, axis = graph.integers(0), graph.integers(1), graph.integers(1)
        query_from = graph.op("Slice", f"{at}.first_token", hidden, start, end, axis)
    attended = _attention(graph, bert, layer, at, query_from, hidden, mask)
    attended = _dense(graph, f"{at}.attention_output", layer.attention_output, attended)
    hidden = graph.op("Add", f"{at}.attention_residual", attended, query_from)
    hidden = _norm(graph, f"{at}.attention_norm", layer.attention_norm, bert.epsilon, hidden)
    fed = _gelu(graph, f"{at}.gelu", bert.gelu, _dense(graph, f"{at}.intermediate", layer.intermediate, hidden))
    fed = _dense(graph, f"{at}.output", layer.output, fed)
    hidden = graph.op("Add", f"{at}.output_residual", fed, hidden)
    return _norm(graph, f"{at}.output_norm", layer.output_norm, bert.epsilon, hidden)


def _attention(graph: GraphWriter, bert: Bert, layer: Layer, at: str, query_from: str, hidden: str, mask: str) -> str:
    """Return softmax(Q Kᵀ / √d + mask) V, heads side by side again: [batch, sequence, hidden]."""
    size = bert.hidden // bert.heads
    split = graph.integers(0, 0, bert.heads, size)  # 0: as in the input
    join = graph.integers(0, 0, bert.hidden)

    def heads(name: str, dense: Dense, source: str, order: list[int]) -> str:
        projected = graph.op("Reshape", f"{at}.{name}.split", _dense(graph, f"{at}.{name}", dense, source), split)
        return graph.op("Transpose", f"{at}.{name}.heads", projected, perm=order)

    query = heads("query", layer.query, query_from, [0, 2, 1, 3])
    scale = graph.constant("scale", np.float32(1 / math.sqrt(size)))
    query = graph.op("Mul", f"{at}.query.scaled", query, scale)  # before the product: keeps scores small in FP16
    scores = graph.op("MatMul", f"{at}.scores", query, heads("key", layer.key, hidden, [0, 2, 3, 1]))
    weights = graph.op("Softmax", f"{at}.weights", graph.op("Add", f"{at}.masked", scores, mask), axis=-1)
    mixed = graph.op("MatMul", f"{at}.mixed", weights, heads("value", layer.value, hidden, [0, 2, 1, 3]))
    return graph.op("Reshape", f"{at}.joined", graph.op("Transpose", f"{at}.together", mixed, perm=[0, 2, 1, 3]), join)


def _dense(graph: GraphWriter, at: str, dense: Dense, source: str, weights: str = "") -> str:
    """Return source · kernel + bias; `weights` names the initializers, by default `at` does."""
    kernel, bias = (graph.constant(f"{weights or at}.{part}", getattr(dense, part)) for part in ("kernel", "bias"))
    return graph.op("Add", at, graph.op("MatMul", f"{at}.product", source, kernel), bias)


def _norm(graph: GraphWriter, at: str, norm: Norm, epsilon: float, source: str) -> str:
    gamma, beta = graph.constant(f"{at}.gamma", norm.gamma), graph.constant(f"{at}.beta", norm.beta)
    return graph.op("LayerNormalization", at, source, gamma, beta, axis=-1, epsilon=epsilon)


def _gelu(graph: GraphWriter, at: str, kind: str, x: str) -> str:
    """Return x/2 (1 + erf(x/√2)), or tanh(√(2/π) (x + 0.044715 x³)): Hendrycks, Gimpel 2016."""

    def scalar(name: str, value: float) -> str:
        return graph.constant(name, np.float32(value))

    if kind == "exact":
        inner = graph.op("Erf", f"{at}.erf", graph.op("Div", f"{at}.inner", x, scalar("sqrt_2", math.sqrt(2))))
    else:
        cube = graph.op("Mul", f"{at}.cube", graph.op("Mul", f"{at}.square", x, x), x)
        cubic = graph.op("Add", f"{at}.cubic", x, graph.op("Mul", f"{at}.part", cube, scalar("gelu_cubic", 0.044715)))
        inner = graph.op("Mul", f"{at}.inner", cubic, scalar("sqrt_2_over_pi", math.sqrt(2 / math.pi)))
        inner = graph.op("Tanh", f"{at}.tanh", inner)
    gate = graph.op("Add", f"{at}.gate", inner, scalar("one", 1))
    return graph.op("Mul", at, graph.op("Mul", f"{at}.gated", x, gate), scalar("half", 0.5))


def read(path: Path) -> Bert | None:
    """Read the Bert out of a file that `write` made; None when another writer made it."""
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    if model.producer_name != "slipway" or "heads" not in facts:
        return None
    arrays: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def part(kind: type[Any], at: str) -> Any:
        fields = {field.name: f"{at}.{field.name}" for field in dataclasses.fields(kind)}
        nested = {"attention_norm": Norm, "output_norm": Norm}
        if kind is Layer:
            return Layer(**{name: part(nested.get(name, Dense), key) for name, key in fields.items()})
        return kind(**{name: arrays[key] for name, key in fields.items()})

    return Bert(
        word_embeddings=arrays["word_embeddings"],
        position_embeddings=arrays["position_embeddings"],
        type_embeddings=arrays["type_embeddings"],
        embeddings_norm=part(Norm, "embeddings_norm"),
        layers=tuple(part(Layer, f"layers.{number}") for number in range(int(facts["layers"]))),
        pooler=part(Dense, "pooler") if "pooler.kernel" in arrays else None,
        classifier=part(Dense, "classifier"),
        heads=int(facts["heads"]),
        epsilon=float(facts["epsilon"]),
        gelu=facts["gelu"],
    )
