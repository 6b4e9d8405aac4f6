from __future__ import annotations

import numpy as np
import pytest

from slipway.tensorflow import tf, tf_keras
from train.engine import gradients, optimizer
from train.engine.optimizer import Schedule, WeightAverage, scaled_rate

RATE = 0.1


def table(rows: int = 6) -> tf.Variable:
    return tf.Variable(np.arange(rows * 2, dtype=np.float32).reshape(rows, 2), name="word_embeddings/embeddings")


def rows_of(dense: np.ndarray, *rows: int) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(dense[list(rows)]), tf.constant(rows), tf.constant(dense.shape))


def updates(variable: tf.Variable, applied: list, decay: float = 0.01) -> tuple[np.ndarray, list[np.ndarray]]:
    """The variable and the moments after these gradients."""
    update = optimizer.AdamW([variable], decay)
    apply = tf.function(update.apply, autograph=False)
    for gradient in applied:
        apply([gradient], tf.constant(RATE))
    return variable.numpy(), [moment.numpy() for moment in update.variables[1:]]


GRADIENTS = [np.random.default_rng(seed).normal(size=(6, 2)).astype(np.float32) for seed in range(5)]


def test_dense_updates_are_those_of_keras_adamw() -> None:
    expected, keras = table(), tf_keras.optimizers.AdamW(RATE, weight_decay=0.01, epsilon=1e-6, jit_compile=False)
    for gradient in GRADIENTS:
        keras.apply_gradients([(tf.constant(gradient), expected)])
    updated, _ = updates(table(), [tf.constant(gradient) for gradient in GRADIENTS])
    np.testing.assert_allclose(updated, expected.numpy(), rtol=1e-5)


def test_lazy_adam_is_adam_where_all_rows_are_touched() -> None:
    sparse, sparse_moments = updates(table(), [rows_of(gradient, 5, 0, 4, 2, 1, 3) for gradient in GRADIENTS])
    dense, dense_moments = updates(table(), [tf.constant(gradient) for gradient in GRADIENTS])
    np.testing.assert_allclose(sparse, dense, rtol=1e-5)
    np.testing.assert_allclose(sparse_moments, dense_moments, rtol=1e-4, atol=1e-7)


def test_lazy_adam_changes_no_row_that_the_batch_has_not() -> None:
    updated, moments = updates(table(), [rows_of(gradient, 4, 1) for gradient in GRADIENTS])
    changed = (updated != table().numpy()).any(axis=1)
    assert changed.tolist() == [False, True, False, False, True, False]
    assert [(moment != 0).any(axis=1).tolist() for moment in moments] == [changed.tolist()] * 2


def test_moments_of_rows_that_a_batch_skips_stay_as_they_are() -> None:
    _, before = updates(table(), [rows_of(GRADIENTS[0], 1, 4)])
    _, after = updates(table(), [rows_of(GRADIENTS[0], 1, 4), rows_of(GRADIENTS[1], 4)])
    for earlier, later in zip(before, after, strict=True):
        np.testing.assert_array_equal(later[1], earlier[1])
        assert (later[4] != earlier[4]).all()


def test_a_dense_update_moves_rows_of_zero_gradient_by_their_momentum() -> None:
    gradient = np.zeros((6, 2), np.float32)
    updated, _ = updates(table(), [tf.constant(GRADIENTS[0]), tf.constant(gradient)], decay=0.0)
    once, _ = updates(table(), [tf.constant(GRADIENTS[0])], decay=0.0)
    assert (updated != once).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("transformer/layer_0/output/kernel:0", True),
        ("word_embeddings/embeddings:0", True),
        ("classifier/kernel:0", True),
        ("classifier/bias:0", False),
        ("transformer/layer_0/self_attention/query/bias:0", False),
        ("transformer/layer_0/output_layer_norm/gamma:0", False),
        ("embeddings/layer_norm/beta:0", False),
    ],
)
def test_biases_and_layer_norm_do_not_decay(name: str, expected: bool) -> None:
    variable = tf.Variable([1.0], name=name.removesuffix(":0"))
    updated, _ = updates(variable, [tf.constant([0.0])], decay=0.5)
    assert (updated[0] < 1) == expected
    assert updated[0] == pytest.approx(1 - RATE * 0.5 if expected else 1)


def test_rows_given_twice_are_added_once() -> None:
    values = tf.constant([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    summed = gradients.summed(tf.IndexedSlices(values, tf.constant([4, 1, 4]), tf.constant([6, 2])))
    assert dict(zip(summed.indices.numpy().tolist(), summed.values.numpy().tolist(), strict=True)) == {4: [101, 202], 1: [10, 20]}
    np.testing.assert_array_equal(gradients.dense(summed)[4], [101, 202])


def test_a_table_whose_gradient_tells_no_dimensions_may_stay_sparse() -> None:
    """As of a module that is called as it is."""
    rows = tf.IndexedSlices(tf.ones([2, 3]), tf.constant([4, 1]))
    small, large = (tf.Variable(tf.zeros([count, 3])) for count in (16, 2000))
    kept = gradients.densified([rows, rows], [small, large], sparse_as_dense=False)
    assert [isinstance(gradient, tf.IndexedSlices) for gradient in kept] == [False, True]
    assert kept[0].shape == (16, 3)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(decay: str) -> None:
    rate = Schedule(2.0, steps=100, warm_up=0.1, decay=decay)
    assert [rate(0), rate(4), rate(9)] == pytest.approx([0.2, 1.0, 2.0])
    assert rate(10) == pytest.approx(2.0)
    assert rate(55) == pytest.approx(1.0)
    assert 0 < rate(99) < 0.03
    assert [rate(100), rate(1000)] == [0.0, 0.0]


def test_cosine_stays_high_longer_and_ends_lower_than_linear() -> None:
    linear, cosine = (Schedule(1.0, steps=100, warm_up=0.0, decay=decay) for decay in ("linear", "cosine"))
    assert cosine(25) == pytest.approx(0.8536, abs=1e-4)  # (1 + cos(π/4)) / 2
    assert cosine(25) > linear(25)
    assert cosine(75) < linear(75)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert Schedule(3.0, steps=10, warm_up=0.0, decay="linear")(0) == 3.0


def test_a_run_that_is_all_warm_up_never_falls() -> None:
    rate = Schedule(1.0, steps=4, warm_up=1.0, decay="linear")
    assert [rate(number) for number in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_a_run_of_one_step_trains() -> None:
    assert Schedule(1.0, steps=1, warm_up=0.1, decay="cosine")(0) == 1.0


def test_the_peak_grows_with_the_ranks_where_that_is_asked_for() -> None:
    assert (scaled_rate(1e-4, 8, True), scaled_rate(1e-4, 8, False)) == (8e-4, 1e-4)


def trained(steps: int, share: float, resumed_at: int | None = None) -> list[float]:
    """The weights after a run whose weights are [n, 2 n] after step n; begun anew there from its
    variables if `resumed_at`.
    """
    weights = tf.Variable([0.0, 0.0], name="weights")
    average = WeightAverage([weights], steps, share)
    for number in range(steps):
        if number == resumed_at:
            kept, average = average.variables, WeightAverage([weights], steps, share)
            for variable, value in zip(average.variables, kept, strict=True):
                variable.assign(value)
        weights.assign([number, 2.0 * number])
        average.take(number)
    values: list[float] = weights.numpy().tolist()
    return values


@pytest.mark.parametrize(
    ("steps", "share", "averaged"),
    [(100, 0.4, [69, 79, 89, 99]), (100, 1.0, range(9, 100, 10)), (95, 0.25, [74, 84, 94]), (5, 0.4, [4]), (100, 0.0, [99])],
)
def test_the_last_share_of_the_steps_is_averaged(steps: int, share: float, averaged: list[int]) -> None:
    mean = np.mean(averaged)
    assert trained(steps, share) == pytest.approx([mean, 2 * mean])


def test_a_resumed_run_ends_with_the_same_mean() -> None:
    assert trained(100, 0.4, resumed_at=82) == trained(100, 0.4)


def test_nothing_is_kept_where_nothing_is_averaged() -> None:
    assert WeightAverage([tf.Variable([1.0])], 100, 0.0).variables == []
