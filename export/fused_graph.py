"""A Bert in ONNX Runtime's fused operators (domain com.microsoft), written directly instead of searched for by pattern.

For L layers: 1 EmbedLayerNormalization, L Attention, 2L SkipLayerNormalization, L BiasGelu or FastGelu.
"""

from __future__ import annotations

import numpy as np
import onnx

from export.bert import Bert, Dense, Layer, Norm
from export.canonical_graph import MASKED
from export.graph_writer import MICROSOFT, GraphWriter


def write(bert: Bert) -> onnx.ModelProto:
    graph = GraphWriter()
    constant = graph.constant
    norm = bert.embeddings_norm
    hidden = graph.op(
        "EmbedLayerNormalization",
        "embeddings",
        "input_word_ids",
        "input_type_ids",
        constant("word_embeddings", bert.word_embeddings),
        constant("position_embeddings", bert.position_embeddings),
        constant("type_embeddings", bert.type_embeddings),
        constant("embeddings_norm.gamma", norm.gamma),
        constant("embeddings_norm.beta", norm.beta),
        outputs=2,  # the second, a mask index, is not used: Attention takes the mask itself
        domain=MICROSOFT,
        epsilon=bert.epsilon,
    )
    for number, layer in enumerate(bert.layers):
        hidden = _layer(graph, bert, layer, f"layers.{number}", hidden, bert.first_token_only(number))
    return graph.model(_head(graph, bert, hidden), bert.output_shape, {"layers": str(len(bert.layers))})


def _head(graph: GraphWriter, bert: Bert, hidden: str) -> str:
    if bert.pooler is None:  # Gemm takes matrices only
        kernel = graph.constant("classifier.kernel", bert.classifier.kernel)
        product = graph.op("MatMul", "classifier", hidden, kernel)
        return graph.op("Add", "logits", product, graph.constant("classifier.bias", bert.classifier.bias))
    pooled = graph.op("Tanh", "pooled", _gemm(graph, "pooler", bert.pooler, hidden))
    return _gemm(graph, "logits", bert.classifier, pooled)


def expected_operators(layers: int, gelu: str) -> dict[str, int]:
    """How often each fused operator has to be in the graph."""
    return {
        "EmbedLayerNormalization": 1,
        "Attention": layers,
        "SkipLayerNormalization": 2 * layers,
        "BiasGelu" if gelu == "exact" else "FastGelu": layers,
    }


def _layer(graph: GraphWriter, bert: Bert, layer: Layer, at: str, hidden: str, first_token_only: bool) -> str:
    parts = (layer.query, layer.key, layer.value)
    attended = graph.op(
        "Attention",
        f"{at}.attention",
        hidden,
        graph.constant(f"{at}.attention.kernel", np.concatenate([part.kernel for part in parts], axis=1)),
        graph.constant(f"{at}.attention.bias", np.concatenate([part.bias for part in parts])),
        "input_mask",
        domain=MICROSOFT,
        num_heads=bert.heads,
        mask_filter_value=float(MASKED),
    )
    if first_token_only:
        first = graph.constant("first", np.int64(0))
        attended = graph.op("Gather", f"{at}.attended.first", attended, first, axis=1)  # [batch, hidden]
        hidden = graph.op("Gather", f"{at}.hidden.first", hidden, first, axis=1)
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
    """LayerNorm(source · kernel + bias + residual)."""
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


def _gemm(graph: GraphWriter, at: str, dense: Dense, source: str) -> str:
    kernel, bias = graph.constant(f"{at}.kernel", dense.kernel), graph.constant(f"{at}.bias", dense.bias)
    return graph.op("Gemm", at, source, kernel, bias)
