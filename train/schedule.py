"""The learning rate of every step: linear warm-up, then linear or cosine decay to zero.

Sources: Devlin et al. 2018, A.2 (linear); Loshchilov and Hutter 2017, eq. 5, one period (cosine);
Goyal et al. 2017, 2.1 (rate × ranks, since the global batch grows with them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step's number."""

    peak: float
    steps: int  # of the whole run
    warm_up: float  # share of the steps
    decay: str  # linear | cosine

    def __call__(self, number: int) -> float:
        """Return the rate of step `number`, from 0: above 0 in the first, 0 after the last."""
        warm_up_steps = round(self.warm_up * self.steps)
        if number < warm_up_steps:
            return self.peak * (number + 1) / warm_up_steps
        left = max(0.0, (self.steps - number) / max(1, self.steps - warm_up_steps))  # 1 → 0
        share = left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2
        return self.peak * min(1.0, share)


def scaled_rate(rate: float, ranks: int, scale: bool) -> float:
    """Return the rate for the global batch of `ranks`, given that of one rank's batch."""
    return rate * ranks if scale else rate
