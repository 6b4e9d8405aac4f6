"""A ratio of two interleaved measurements; its interval counts each load of the models once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Ratio:
    """A median of ratios and its 95 % interval."""

    ratio: float
    interval: tuple[float, float]

    def text(self, digits: int = 2, times: str = "") -> str:
        """Return, for example, `0.97 × (0.95 to 0.99)`; `times` stands behind the ratio."""
        low, high = (f"{end:.{digits}f}" for end in self.interval)
        return f"{self.ratio:.{digits}f}{times} ({low} to {high})"


def ratio(ours: list[Floats], others: list[Floats]) -> Ratio:
    """Return the median over the rounds of ours ÷ others, given one array [rounds] for every load
    of the models.

    The interval is a percentile bootstrap in two stages, loads and then rounds within each: rounds
    of one load are not independent.
    """
    loads = [own / other for own, other in zip(ours, others, strict=True)]
    random = np.random.default_rng(0)
    medians = []
    for _ in range(_RESAMPLES):
        picked = [loads[number] for number in random.integers(0, len(loads), len(loads))]
        medians.append(np.median(np.concatenate([random.choice(load, len(load)) for load in picked])))
    low, high = np.percentile(medians, (2.5, 97.5))
    return Ratio(round(float(np.median(np.concatenate(loads))), 4), (round(float(low), 4), round(float(high), 4)))
