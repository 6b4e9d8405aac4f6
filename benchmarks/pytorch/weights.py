"""A Bert's arrays under the names of transformers' BertForSequenceClassification."""

from __future__ import annotations

from collections.abc import Iterator

from export.bert import Array, Bert, Dense, Layer, Norm


def state_dict(bert: Bert) -> dict[str, Array]:
    """All parameters; kernels are [out, in] there."""
    embeddings = "bert.embeddings."
    named = {
        embeddings + "word_embeddings.weight": bert.word_embeddings,
        embeddings + "position_embeddings.weight": bert.position_embeddings,
        embeddings + "token_type_embeddings.weight": bert.type_embeddings,
    }
    parts: list[tuple[str, Dense | Norm]] = [(embeddings + "LayerNorm", bert.embeddings_norm), ("classifier", bert.classifier)]
    if bert.pooler:
        parts.append(("bert.pooler.dense", bert.pooler))
    for number, layer in enumerate(bert.layers):
        parts += [(f"bert.encoder.layer.{number}.{name}", part) for name, part in _layer(layer)]
    for name, part in parts:
        weight, bias = (part.kernel.T, part.bias) if isinstance(part, Dense) else (part.gamma, part.beta)
        named |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return named


def _layer(layer: Layer) -> Iterator[tuple[str, Dense | Norm]]:
    yield "attention.self.query", layer.query
    yield "attention.self.key", layer.key
    yield "attention.self.value", layer.value
    yield "attention.output.dense", layer.attention_output
    yield "attention.output.LayerNorm", layer.attention_norm
    yield "intermediate.dense", layer.intermediate
    yield "output.dense", layer.output
    yield "output.LayerNorm", layer.output_norm
