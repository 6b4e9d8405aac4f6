"""Figures with their 95 % intervals, drawn from rounds first and from requests second: what disturbs a round disturbs all of it.

Pure functions of numpy arrays; a round of a load is the array of its latencies, or its throughput.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PERCENTILES = (50, 95, 99)
# Of two loads within so much of each other "no difference" is said, however narrow the interval: the same program loaded twice
# differs by as much (docs/log.md).
_LEAST_DIFFERENCE = 0.03
_DRAWS = 1000
_TAILS = (2.5, 97.5)  # %


def needed(percentile: float) -> int:
    """Requests from which a percentile has an upper end at all: n with percentile^n ≤ 2.5 %, whatever the distribution.

    The largest of n requests is below the percentile q with the probability q^n. For p99: 0.99^368 = 2.48 %.
    """
    return math.ceil(math.log(0.025) / math.log(percentile / 100))


def throughput(rounds: Sequence[float]) -> dict[str, Any]:
    """The median round. Of five, its interval is nearly from the least to the most."""
    values = np.array(rounds)
    return _figure(float(np.median(values)), np.median(values[_picked(len(values))], axis=1))


def percentiles(rounds: Sequence[Floats]) -> dict[str, dict[str, Any]]:
    """p50_ms, p95_ms, p99_ms over the requests of all rounds; `enough` says whether there are as many requests as it `needs`."""
    pooled = np.concatenate(rounds)
    drawn = _drawn(rounds, _picked(len(rounds)), seed=1)
    return {
        f"p{one}_ms": {
            **_figure(_quantile(np.sort(pooled), one), drawn[:, at]),
            "needs": needed(one),
            "enough": len(pooled) >= needed(one),
        }
        for at, one in enumerate(PERCENTILES)
    }


def throughput_ratio(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """a ÷ b, the median of the rounds' ratios: both were run in each of the rounds."""
    ratios = np.array(a) / np.array(b)
    return _figure(float(np.median(ratios)), np.median(ratios[_picked(len(ratios))], axis=1))


def percentile_ratios(a: Sequence[Floats], b: Sequence[Floats]) -> dict[int, dict[str, Any]]:
    """a ÷ b of each of PERCENTILES; the same rounds are drawn of both."""
    picked = _picked(len(a))
    ratios = _drawn(a, picked, seed=1) / _drawn(b, picked, seed=2)
    ours, theirs = (np.sort(np.concatenate(rounds)) for rounds in (a, b))
    return {one: _figure(_quantile(ours, one) / _quantile(theirs, one), ratios[:, at]) for at, one in enumerate(PERCENTILES)}


def verdict(ratio: float, interval: Sequence[float], *, more_is_faster: bool) -> tuple[str, str]:
    """Of a, by a ÷ b: faster, slower, or no difference and why."""
    low, high = interval
    if low <= 1 <= high:
        return "no difference", "the interval holds 1"
    if abs(ratio - 1) < _LEAST_DIFFERENCE:
        return "no difference", f"less than {_LEAST_DIFFERENCE:.0%}"
    return ("faster" if (ratio > 1) == more_is_faster else "slower"), ""


def _figure(value: float, drawn: Floats) -> dict[str, Any]:
    low, high = np.percentile(drawn, _TAILS)
    return {"value": value, "interval": [float(low), float(high)]}


@cache
def _picked(rounds: int) -> NDArray[np.int64]:
    """[draws, rounds]: which rounds each draw takes, sorted, so that equal draws are seen to be equal."""
    return np.sort(np.random.default_rng(0).integers(0, rounds, (_DRAWS, rounds)), axis=1)


def _drawn(rounds: Sequence[Floats], picked: NDArray[np.int64], seed: int) -> Floats:
    """[draws, percentiles] of the resampled requests of the picked rounds.

    Nothing is resampled for it: of n requests drawn with replacement, the k-th smallest is where the distribution function of those
    there are reaches a value that is distributed as Beta(k, n − k + 1).
    """
    random = np.random.default_rng(seed)
    found = np.empty((len(picked), len(PERCENTILES)))
    draws, which = np.unique(picked, axis=0, return_inverse=True)
    for number, draw in enumerate(draws):
        pooled = np.sort(np.concatenate([rounds[one] for one in draw]))
        rows = np.flatnonzero(which == number)
        for at, percentile in enumerate(PERCENTILES):
            k = _rank(len(pooled), percentile)
            reached = random.beta(k, len(pooled) - k + 1, len(rows))
            found[rows, at] = pooled[np.minimum((reached * len(pooled)).astype(int), len(pooled) - 1)]
    return found


def _rank(count: int, percentile: int) -> int:
    return max(1, math.ceil(count * percentile / 100))


def _quantile(ordered: Floats, percentile: int) -> float:
    return float(ordered[_rank(len(ordered), percentile) - 1])
