"""A BERT encoder in the structure and with the names of the TF Hub modules (`transformer/layer_N/...`).

Inputs: a dict of int32 [batch, sequence] tensors; outputs: `pooled_output` [batch, hidden], `sequence_output` [batch,
sequence, hidden], `encoder_outputs` (one such tensor a layer) and `default` (the pooled output).
Attention is Keras' MultiHeadAttention (EinsumDense), GELU is exact, LayerNorm's epsilon 1e-12: after Devlin et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.keras2 import tf, tf_keras
from train.ragged import INPUTS

layers = tf_keras.layers
_EPSILON = 1e-12


@dataclass(frozen=True)
class Size:
    """What makes a BERT this BERT."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    dropout: float = 0.1


class _TransformerLayer(tf_keras.layers.Layer):
    """Self-attention and feed-forward, each with a residual and LayerNorm after it."""

    def __init__(self, size: Size, name: str) -> None:
        super().__init__(name=name)
        self._attention = layers.MultiHeadAttention(
            size.heads, size.hidden // size.heads, dropout=size.dropout, name="self_attention"
        )
        self._attention_norm = layers.LayerNormalization(epsilon=_EPSILON, name="self_attention_layer_norm")
        self._intermediate = layers.Dense(size.intermediate, activation=_exact_gelu, name="intermediate")
        self._output = layers.Dense(size.hidden, name="output")
        self._output_norm = layers.LayerNormalization(epsilon=_EPSILON, name="output_layer_norm")
        self._dropout = layers.Dropout(size.dropout)

    def call(self, hidden: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        attended = self._attention(hidden, hidden, attention_mask=mask, training=training)
        hidden = self._attention_norm(hidden + self._dropout(attended, training=training))
        fed = self._output(self._intermediate(hidden))
        return self._output_norm(hidden + self._dropout(fed, training=training))


class _PositionEmbedding(tf_keras.layers.Layer):
    """The first `sequence` rows of a learned table, [1, sequence, hidden]."""

    def __init__(self, size: Size) -> None:
        super().__init__(name="position_embedding")
        self._shape = (size.positions, size.hidden)

    def build(self, _: Any) -> None:
        self._table = self.add_weight("embeddings", self._shape, initializer="uniform")

    def call(self, words: tf.Tensor) -> tf.Tensor:
        return self._table[tf.newaxis, : tf.shape(words)[1], :]


def _exact_gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=False)


def build(size: Size) -> tf_keras.Model:
    """An encoder of this size with untrained weights."""
    inputs = {name: layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    words = layers.Embedding(size.vocabulary, size.hidden, name="word_embeddings")(inputs["input_word_ids"])
    types = layers.Embedding(2, size.hidden, name="type_embeddings")(inputs["input_type_ids"])
    hidden = layers.Add(name="embeddings/add")([words, _PositionEmbedding(size)(words), types])
    hidden = layers.LayerNormalization(epsilon=_EPSILON, name="embeddings/layer_norm")(hidden)
    hidden = layers.Dropout(size.dropout, name="embeddings/dropout")(hidden)
    mask = inputs["input_mask"][:, tf.newaxis, :]
    every = []
    for number in range(size.layers):
        hidden = _TransformerLayer(size, name=f"transformer/layer_{number}")(hidden, mask)
        every.append(hidden)
    pooled = layers.Dense(size.hidden, activation="tanh", name="pooler_transform")(hidden[:, 0, :])
    outputs = {"pooled_output": pooled, "sequence_output": hidden, "encoder_outputs": every, "default": pooled}
    return tf_keras.Model(inputs, outputs, name="bert_encoder")


def save(model: tf_keras.Model, vocabulary: bytes, target: Path) -> None:
    """Write the encoder as a TF Hub module: a SavedModel with its vocabulary as an asset. Texts are to be lower-cased."""
    vocabulary_file = target / "vocab.txt"  # saving copies it into assets/
    vocabulary_file.write_bytes(vocabulary)
    model.vocab_file = tf.saved_model.Asset(str(vocabulary_file))
    model.do_lower_case = tf.Variable(True, trainable=False, dtype=tf.bool)
    tf.saved_model.save(model, str(target))
    vocabulary_file.unlink()
