"""The mean of the weights over the last steps of a run, which is what the model ends with.

At a rate that still moves them, weights wander around a minimum, and their mean lies nearer to it: Polyak and Juditsky 1992;
Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".
"""

from __future__ import annotations

from collections.abc import Sequence

from train.keras2 import tf

_EVERY = 10  # steps: neighbours hardly differ, and a pass over all weights costs a tenth of a step


class WeightAverage:
    """Of `trained`, over the last `share` (0 to 1) of `steps`. A share of 0 averages nothing and keeps nothing."""

    def __init__(self, trained: Sequence[tf.Variable], steps: int, share: float) -> None:
        averaged = -(-round(share * steps) // _EVERY)  # the last step among them
        self._numbers = range(steps - 1 - _EVERY * (averaged - 1), steps, _EVERY) if averaged else range(0)
        self._trained = list(trained) if averaged else []
        self.variables = [
            tf.Variable(tf.zeros(one.shape), trainable=False, name=f"{one.name.removesuffix(':0')}/average")
            for one in self._trained
        ]

    def take(self, number: int) -> None:
        """After step `number`, from 0. After the last one the weights become their mean."""
        if number not in self._numbers:
            return
        taken = self._numbers.index(number) + 1
        for mean, weights in zip(self.variables, self._trained, strict=True):
            mean.assign_add((weights - mean) / taken)
            if number == self._numbers[-1]:
                weights.assign(mean)
