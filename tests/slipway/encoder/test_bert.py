from __future__ import annotations

import numpy as np
import pytest

from slipway.encoder import bert
from slipway.tensorflow import tf

SEED = tf.constant([3, 4])
ONES = tf.ones([64, 65])


def dropped(seed: tf.Tensor, number: int = 0, rate: float = 0.1, x: tf.Tensor = ONES) -> np.ndarray:
    with bert.masks(seed):
        return bert.Dropout(rate, number)(x, training=True).numpy()


def test_the_same_seed_draws_the_same_mask() -> None:
    np.testing.assert_array_equal(dropped(SEED), dropped(SEED))


@pytest.mark.parametrize(("seed", "number"), [([3, 5], 0), ([2, 4], 0), ([3, 4], 1)])
def test_another_seed_or_layer_draws_another(seed: list[int], number: int) -> None:
    assert (dropped(SEED) != dropped(tf.constant(seed), number)).mean() > 0.1


def test_the_mask_is_the_same_with_xla_and_in_every_precision() -> None:
    compiled = tf.function(lambda seed: _traced(seed), jit_compile=True)(SEED).numpy()
    np.testing.assert_array_equal(compiled, dropped(SEED))
    np.testing.assert_array_equal(dropped(SEED, x=tf.cast(ONES, tf.bfloat16)) == 0, dropped(SEED) == 0)


def _traced(seed: tf.Tensor) -> tf.Tensor:
    with bert.masks(seed):
        return bert.Dropout(0.1, 0)(ONES, training=True)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_as_many_are_zeroed_as_asked_for_and_the_mean_stays(rate: float) -> None:
    outputs = dropped(SEED, rate=rate, x=tf.ones([1000, 1000]))
    assert (outputs == 0).mean() == pytest.approx(rate, abs=3e-3)
    assert outputs.mean() == pytest.approx(1, abs=3e-3)


def test_the_gradient_passes_where_the_value_passed() -> None:
    x = tf.Variable(ONES)
    with tf.GradientTape() as tape, bert.masks(SEED):
        outputs = bert.Dropout(0.1, 0)(x, training=True)
    np.testing.assert_allclose(tape.gradient(outputs, x), outputs)


def test_nothing_is_dropped_outside_of_training() -> None:
    np.testing.assert_array_equal(bert.Dropout(0.5, 0)(ONES, training=False), ONES)


def test_without_a_seed_every_mask_is_new() -> None:
    layer = bert.Dropout(0.1, 0)
    assert (layer(ONES, training=True).numpy() != layer(ONES, training=True).numpy()).any()
