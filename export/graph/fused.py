"""The fused graph of a Bert, in ONNX Runtime's operators; a layout says how its tokens lie.

`benchmarks.gpu.variants` has layouts for CUDA's kernels, which no machine has measured yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto

from export.graph.bert import Bert, Dense, Layer, Norm
from export.graph.builder import MICROSOFT, GraphWriter
from export.graph.canonical import MASKED


class Layout(Protocol):
    attention: str  # the operator
    attributes: dict[str, Any]  # its attributes, besides num_heads
    # Whether the embeddings' second result, the rows' lengths [batch] int32, is computed: then
    # padding has to end a row.
    counts: bool

    def enter(self, graph: GraphWriter, hidden: str, lengths: str, /) -> tuple[str, Sequence[str]]:
        """Return the tensor that layers read, and the masks: attention's inputs after its bias."""

    def first_tokens(self, graph: GraphWriter, name: str, source: str, masks: Sequence[str], /) -> str:
        """Return the first token of every row of `source`, [batch, hidden]."""

    def leave(self, graph: GraphWriter, hidden: str, masks: Sequence[str], /) -> str:
        """Return [batch, sequence, hidden], as a tagger's head reads it."""


class Padded:
    """Tokens lie as [batch, sequence, hidden]; the mask is the one that comes in."""

    attention = "Attention"
    attributes = {"mask_filter_value": float(MASKED)}
    counts = False

    def enter(self, _graph: GraphWriter, hidden: str, _lengths: str) -> tuple[str, Sequence[str]]:
        return hidden, ("input_mask",)

    def first_tokens(self, graph: GraphWriter, name: str, source: str, _masks: Sequence[str]) -> str:
        return graph.op("Gather", name, source, graph.constant("first", np.int64(0)), axis=1)

    def leave(self, _graph: GraphWriter, hidden: str, _masks: Sequence[str]) -> str:
        return hidden


def write(bert: Bert, layout: Layout | None = None) -> onnx.ModelProto:
    """Write the fused graph, for padded rows and any mask unless another `layout` is given."""
    graph, layout = GraphWriter(), layout or Padded()
    hidden, masks = layout.enter(graph, _embeddings(graph, bert, layout.counts), "embeddings.1")
    for number, layer in enumerate(bert.layers):
        at = f"layers.{number}"
        attended = _attention(graph, bert, layer, at, layout, hidden, masks)
        if bert.first_token_only(number):
            attended = layout.first_tokens(graph, f"{at}.attended.first", attended, masks)
            hidden = layout.first_tokens(graph, f"{at}.hidden.first", hidden, masks)
        hidden = _after_attention(graph, bert, layer, at, attended, hidden)
    if bert.pooler is None:
        hidden = layout.leave(graph, hidden, masks)
    half = bert.word_embeddings.dtype == np.float16
    logits = _head(graph, bert, hidden, "logits.half" if half else "logits")
    if half:
        logits = graph.op("Cast", "logits", logits, to=TensorProto.FLOAT)
    return graph.model(logits, bert.output_shape, {"layers": str(len(bert.layers))})


def _embeddings(graph: GraphWriter, bert: Bert, counts: bool) -> str:
    """Return [batch, sequence, hidden]; with `counts` also the rows' tokens, [batch]."""
    constant, norm = graph.constant, bert.embeddings_norm
    return graph.op(
        "EmbedLayerNormalization",
        "embeddings",
        "input_word_ids",
        "input_type_ids",
        constant("word_embeddings", bert.word_embeddings),
        constant("position_embeddings", bert.position_embeddings),
        constant("type_embeddings", bert.type_embeddings),
        constant("embeddings_norm.gamma", norm.gamma),
        constant("embeddings_norm.beta", norm.beta),
        *(("input_mask",) if counts else ()),
        outputs=2,
        domain=MICROSOFT,
        epsilon=bert.epsilon,
        **({"mask_index_type": 1} if counts else {}),
    )


def _head(graph: GraphWriter, bert: Bert, hidden: str, name: str) -> str:
    if bert.pooler is None:  # Gemm takes matrices only
        kernel = graph.constant("classifier.kernel", bert.classifier.kernel)
        product = graph.op("MatMul", "classifier", hidden, kernel)
        return graph.op("Add", name, product, graph.constant("classifier.bias", bert.classifier.bias))
    pooled = graph.op("Tanh", "pooled", _gemm(graph, "pooler", "pooler", bert.pooler, hidden))
    return _gemm(graph, name, "logits", bert.classifier, pooled)


def expected_operators(layers: int, gelu: str) -> dict[str, int]:
    """Return how often each fused operator has to be in the graph."""
    return {
        "EmbedLayerNormalization": 1,
        "Attention": layers,
        "SkipLayerNormalization": 2 * layers,
        "BiasGelu" if gelu == "exact" else "FastGelu": layers,
    }


def _attention(graph: GraphWriter, bert: Bert, layer: Layer, at: str, layout: Layout, hidden: str, masks: Sequence[str]) -> str:
    parts = (layer.query, layer.key, layer.value)
    return graph.op(
        layout.attention,
        f"{at}.attention",
        hidden,
        graph.constant(f"{at}.attention.kernel", np.concatenate([part.kernel for part in parts], axis=1)),
        graph.constant(f"{at}.attention.bias", np.concatenate([part.bias for part in parts])),
        *masks,
        domain=MICROSOFT,
        num_heads=bert.heads,
        **layout.attributes,
    )


def _after_attention(graph: GraphWriter, bert: Bert, layer: Layer, at: str, attended: str, hidden: str) -> str:
    hidden = _add_norm(graph, bert, f"{at}.attention_output", layer.attention_output, layer.attention_norm, attended, hidden)
    fed = graph.op(
        "BiasGelu" if bert.gelu == "exact" else "FastGelu",
        f"{at}.gelu",
        graph.op("MatMul", f"{at}.intermediate", hidden, graph.constant(f"{at}.intermediate.kernel", layer.intermediate.kernel)),
        graph.constant(f"{at}.intermediate.bias", layer.intermediate.bias),
        domain=MICROSOFT,
    )
    return _add_norm(graph, bert, f"{at}.output", layer.output, layer.output_norm, fed, hidden)


def _add_norm(graph: GraphWriter, bert: Bert, at: str, dense: Dense, norm: Norm, source: str, residual: str) -> str:
    """Return LayerNorm(source · kernel + bias + residual)."""
    return graph.op(
        "SkipLayerNormalization",
        f"{at}.norm",
        graph.op("MatMul", at, source, graph.constant(f"{at}.kernel", dense.kernel)),
        residual,
        graph.constant(f"{at}.norm.gamma", norm.gamma),
        graph.constant(f"{at}.norm.beta", norm.beta),
        graph.constant(f"{at}.bias", dense.bias),
        domain=MICROSOFT,
        epsilon=bert.epsilon,
    )


def _gemm(graph: GraphWriter, name: str, at: str, dense: Dense, source: str) -> str:
    kernel, bias = graph.constant(f"{at}.kernel", dense.kernel), graph.constant(f"{at}.bias", dense.bias)
    return graph.op("Gemm", name, source, kernel, bias)
