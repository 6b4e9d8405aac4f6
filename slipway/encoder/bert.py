"""BERT in Keras layers under TF Hub's names, with dropout that a resumed run repeats.

Keras' own Dropout draws from a generator whose state no checkpoint holds. Here the step gives its
seed while it traces the model,

    with bert.masks(seed):
        logits = model(feed, training=True)

and each layer's masks depend on that seed and its number. A graph traced with training=False has no
dropout in it. Without a seed, masks are drawn anew each time, as by Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from slipway.contract.ragged import INPUTS
from slipway.tensorflow import tf, tf_keras

_seeds: list[tf.Tensor] = []  # of the model that is traced; the last one counts
layers = tf_keras.layers
_CELL = "transformer/layer_"


@dataclass(frozen=True)
class Size:
    """The dimensions of a BERT, its dropout and its GELU."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    dropout: float = 0.1
    types: int = 2
    gelu: str = "exact"  # or approximate
    epsilon: float = 1e-12  # of LayerNormalization


def build(size: Size, pooler: bool = True) -> tf_keras.Model:
    """Return an untrained encoder; without a pooler it has no `pooled_output` and `default`."""
    inputs = {name: layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    words = layers.Embedding(size.vocabulary, size.hidden, name="word_embeddings")(inputs["input_word_ids"])
    types = layers.Embedding(size.types, size.hidden, name="type_embeddings")(inputs["input_type_ids"])
    hidden = layers.Add(name="embeddings/add")([words, _PositionEmbedding(size)(words), types])
    hidden = layers.LayerNormalization(epsilon=size.epsilon, name="embeddings/layer_norm")(hidden)
    hidden = Dropout(size.dropout, 0)(hidden)
    mask = inputs["input_mask"][:, tf.newaxis, tf.newaxis, :]  # [batch, head, query, key]
    every = []
    for number in range(size.layers):
        hidden = _Cell(size, number)(hidden, mask)
        every.append(hidden)
    outputs = {"sequence_output": hidden, "encoder_outputs": every}
    if pooler:
        pooled = layers.Dense(size.hidden, activation="tanh", name="pooler_transform")(hidden[:, 0, :])
        outputs |= {"pooled_output": pooled, "default": pooled}
    return tf_keras.Model(inputs, outputs, name="bert_encoder")


def size_of(shapes: Mapping[str, tuple[int, ...]], gelu: str) -> Size:
    """Return the size of the BERT with these variables. Raises KeyError or ValueError for none."""
    words, hidden = shapes["word_embeddings/embeddings"]
    _, heads, _ = shapes[f"{_CELL}0/self_attention/query/kernel"]
    return Size(
        vocabulary=words,
        positions=shapes["position_embedding/embeddings"][0],
        hidden=hidden,
        layers=len({name.split("/")[1] for name in shapes if name.startswith(_CELL)}),
        heads=heads,
        intermediate=shapes[f"{_CELL}0/intermediate/kernel"][1],
        types=shapes["type_embeddings/embeddings"][0],
        gelu=gelu,
    )


def assign(encoder: tf_keras.Model, values: Mapping[str, NDArray[Any]]) -> None:
    """Assign values by name. Raises KeyError or ValueError for a missing or misshapen one."""
    for variable in encoder.variables:
        variable.assign(values[variable.name.removesuffix(":0")])


def fine_tune(encoder: tf_keras.Model, top: int) -> None:
    """Freeze all layers but the top `top` cells and the pooler; 0: all layers, -1: none."""
    cells = [layer for layer in encoder.layers if layer.name.startswith(_CELL)]
    trainable = cells[len(cells) - top :] + [layer for layer in encoder.layers if layer.name == "pooler_transform"]
    for layer in encoder.layers:
        layer.trainable = top == -1 or (top > 0 and layer in trainable)


class _SelfAttention(tf_keras.layers.Layer):
    """softmax(Q Kᵀ / √head size) V of every head, projected. Source: Vaswani et al. 2017, 3.2."""

    def __init__(self, size: Size, dropout: Dropout) -> None:
        super().__init__(name="self_attention")
        self._scale = (size.hidden // size.heads) ** -0.5
        split = (None, size.heads, size.hidden // size.heads)
        self._query, self._key, self._value = (
            layers.EinsumDense("abc,cde->abde", split, bias_axes="de", name=name) for name in ("query", "key", "value")
        )
        self._together = layers.EinsumDense("abde,dec->abc", (None, size.hidden), bias_axes="c", name="attention_output")
        self._softmax, self._dropout = layers.Softmax(), dropout

    def call(self, hidden: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        query, key, value = self._query(hidden) * self._scale, self._key(hidden), self._value(hidden)
        scores = tf.einsum("bkhd,bqhd->bhqk", key, query)
        shares = self._dropout(self._softmax(scores, mask), training=training)
        return self._together(tf.einsum("bhqk,bkhd->bqhd", shares, value))


class _Cell(tf_keras.layers.Layer):
    """Self-attention and feed-forward, each with a residual and LayerNorm after it."""

    def __init__(self, size: Size, number: int) -> None:
        super().__init__(name=f"{_CELL}{number}")
        dropouts = [Dropout(size.dropout, 3 * number + place) for place in (1, 2, 3)]
        self._attention = _SelfAttention(size, dropouts[0])
        self._attention_norm = layers.LayerNormalization(epsilon=size.epsilon, name="self_attention_layer_norm")
        self._intermediate = layers.Dense(size.intermediate, activation=_GELU[size.gelu], name="intermediate")
        self._output = layers.Dense(size.hidden, name="output")
        self._output_norm = layers.LayerNormalization(epsilon=size.epsilon, name="output_layer_norm")
        self._attention_dropout, self._output_dropout = dropouts[1:]

    def call(self, hidden: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        attended = self._attention(hidden, mask, training=training)
        hidden = self._attention_norm(hidden + self._attention_dropout(attended, training=training))
        fed = self._output(self._intermediate(hidden))
        return self._output_norm(hidden + self._output_dropout(fed, training=training))


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


def _approximate_gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)


_GELU = {"exact": _exact_gelu, "approximate": _approximate_gelu}


@contextmanager
def masks(seed: tf.Tensor) -> Iterator[None]:
    """Let every Dropout inside draw its mask from `seed`, int32 [2], and its own number."""
    _seeds.append(seed)
    try:
        yield
    finally:
        _seeds.pop()


class Dropout(tf_keras.layers.Layer):
    """A layer that zeroes a share `rate` of the elements and divides the others by 1 - rate.

    `number` tells the dropouts of one model apart. A mask takes 8 random bits an element, so `rate`
    is rounded to 1/256 (0.1 is 26/256). Keras' Dropout draws 32 bits and takes more than twice the
    time. Masks are the same in every precision, with and without XLA.
    Source: Srivastava et al. 2014.
    """

    def __init__(self, rate: float, number: int) -> None:
        super().__init__()
        self._zeroed, self._number = round(rate * 256), number

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self._zeroed:
            return x
        if not _seeds:
            return tf.nn.dropout(x, self._zeroed / 256)
        seed = tf.random.experimental.stateless_fold_in(_seeds[-1], self._number, alg="philox")
        kept = tf.cast(_random_bytes(x, seed) >= self._zeroed, x.dtype)
        return x * (kept * (256 / (256 - self._zeroed)))


def _random_bytes(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draw uint8 in the shape of x, by Philox (Salmon et al. 2011)."""
    words = tf.random.stateless_uniform([tf.size(x) // 4 + 1], seed, None, None, tf.uint32, alg="philox")
    return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[: tf.size(x)], tf.shape(x))
