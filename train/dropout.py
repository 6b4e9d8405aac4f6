"""Dropout whose masks depend on a given seed and the layer, so that a resumed run repeats them.

Keras' own Dropout draws from a generator whose state no checkpoint holds. Here the step gives its
seed while it traces the model,

    with dropout.masks(seed):
        logits = model(feed, training=True)

and a graph traced with training=False has no dropout in it. Without a seed, masks are drawn anew
each time, as by Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from train.keras2 import tf, tf_keras

_seeds: list[tf.Tensor] = []  # of the model that is traced; the last one counts


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
