"""The mean of the weights over the last steps of a run, with which the model ends.

At a rate that still moves them, weights wander around a minimum, and their mean lies nearer to it:
Polyak and Juditsky 1992; Izmailov et al. 2018, "Averaging weights leads to wider optima and better
generalization".
"""

from __future__ import annotations

from collections.abc import Sequence

from train.keras2 import tf

_AVERAGED_EVERY = 10  # steps: neighbours hardly differ, and a pass over all weights costs a tenth of a step


class WeightAverage:
    """The mean of `trained` over the last `share` (0 to 1) of `steps`; 0 keeps nothing."""

    def __init__(self, trained: Sequence[tf.Variable], steps: int, share: float) -> None:
        averaged = -(-round(share * steps) // _AVERAGED_EVERY)  # how many steps; the last is one of them
        self._numbers = range(steps - 1, -1, -_AVERAGED_EVERY)[:averaged][::-1]
        self._trained = list(trained) if averaged else []
        self.variables = [
            tf.Variable(tf.zeros(weights.shape), trainable=False, name=f"{weights.name.removesuffix(':0')}/average")
            for weights in self._trained
        ]

    def take(self, number: int) -> None:
        """Add the weights after step `number`, from 0; after the last they become their mean."""
        if number not in self._numbers:
            return
        count = self._numbers.index(number) + 1
        for mean, weights in zip(self.variables, self._trained, strict=True):
            mean.assign_add((weights - mean) / count)
            if number == self._numbers[-1]:
                weights.assign(mean)
