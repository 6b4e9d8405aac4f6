"""A ratio of two interleaved measurements, with an interval that knows that a session's luck lasts as long as the session."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RESAMPLES = 2_000


def ratio(ours: list[Floats], theirs: list[Floats]) -> dict[str, Any]:
    """Median of the rounds' ratios ours ÷ theirs, and its 95 % interval. Both: one array [rounds] for every load of the models.

    Percentile bootstrap in two stages, loads and then rounds within each: rounds of one load are not independent.
    """
    loads = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    random = np.random.default_rng(0)
    medians = []
    for _ in range(_RESAMPLES):
        picked = [loads[number] for number in random.integers(0, len(loads), len(loads))]
        medians.append(np.median(np.concatenate([random.choice(load, len(load)) for load in picked])))
    low, high = np.percentile(medians, (2.5, 97.5))
    return {"ratio": round(float(np.median(np.concatenate(loads))), 4), "interval": [round(float(low), 4), round(float(high), 4)]}
