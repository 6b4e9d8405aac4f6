"""Which steps' weights are averaged, and that the model ends with their mean."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.tensorflow import tf
from train.engine.optimizer import WeightAverage


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
    found: list[float] = weights.numpy().tolist()
    return found


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
