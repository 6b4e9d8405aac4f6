"""Figures with their 95 % intervals, from rounds of a measurement.

Rounds are drawn first and requests second, because what disturbs a round disturbs all of its
requests. A round of a load is the array of its latencies (ms), or its throughput.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RESAMPLES = 2_000
Interval = tuple[float, float]  # lower and upper end, 95 %
PERCENTILES = (50, 95, 99)
# Two loads that differ by less are called equal, however narrow the interval: the same program
# loaded twice differs by as much (docs/log/measuring.md).
_LEAST_DIFFERENCE = 0.03
_DRAWS = 1000
_TAILS = (2.5, 97.5)  # %


@dataclass(frozen=True)
class Ratio:
    """A median of ratios and its 95 % interval."""

    ratio: float
    interval: tuple[float, float]

    def text(self, digits: int = 2, times: str = "") -> str:
        """Return, for example, `0.97 × (0.95 to 0.99)`; `times` stands behind the ratio."""
        low, high = (f"{end:.{digits}f}" for end in self.interval)
        return f"{self.ratio:.{digits}f}{times} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Percentile(Figure):
    """A percentile of the latency, ms."""

    needs: int = 0  # requests for an interval of this percentile
    enough: bool = True  # whether there are as many


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


def needed(percentile: float) -> int:
    """Return from how many requests on the interval of a percentile has an upper end.

    The largest of n requests is below the percentile q with the probability q^n, whatever the
    distribution, so n is the least with q^n ≤ 2.5 %. For p99: 0.99^368 = 2.48 %.
    """
    return math.ceil(math.log(0.025) / math.log(percentile / 100))


def throughput(rounds: Sequence[float]) -> Figure:
    """Return the median round. The interval of five rounds is nearly from the least to the most."""
    values = np.array(rounds)
    return _figure(float(np.median(values)), np.median(values[_draws(len(values))], axis=1))


def percentiles(rounds: Sequence[Floats]) -> dict[str, Percentile]:
    """Return p50_ms, p95_ms and p99_ms over the requests of all rounds."""
    pooled = np.sort(np.concatenate(rounds))
    drawn = _drawn_percentiles(rounds, _draws(len(rounds)), seed=1)
    figures = {}
    for column, percentile in enumerate(PERCENTILES):
        figure, needs = _figure(_quantile(pooled, percentile), drawn[:, column]), needed(percentile)
        figures[f"p{percentile}_ms"] = Percentile(figure.value, figure.interval, needs, len(pooled) >= needs)
    return figures


def throughput_ratio(a: Sequence[float], b: Sequence[float]) -> Figure:
    """Return a ÷ b, the median of the rounds' ratios. Both were measured in each of the rounds."""
    return throughput(np.array(a) / np.array(b))


def percentile_ratios(a: Sequence[Floats], b: Sequence[Floats]) -> dict[int, Figure]:
    """Return a ÷ b for each of PERCENTILES. Each draw takes the same rounds of both."""
    draws = _draws(len(a))
    ratios = _drawn_percentiles(a, draws, seed=1) / _drawn_percentiles(b, draws, seed=2)
    pooled_a, pooled_b = (np.sort(np.concatenate(rounds)) for rounds in (a, b))
    return {
        percentile: _figure(_quantile(pooled_a, percentile) / _quantile(pooled_b, percentile), ratios[:, column])
        for column, percentile in enumerate(PERCENTILES)
    }


def verdict(ratio: float, interval: Sequence[float], *, more_is_faster: bool) -> tuple[str, str]:
    """Return from a ÷ b whether a is faster, slower, or "no difference" and why."""
    low, high = interval
    if low <= 1 <= high:
        return "no difference", "the interval holds 1"
    if abs(ratio - 1) < _LEAST_DIFFERENCE:
        return "no difference", f"less than {_LEAST_DIFFERENCE:.0%}"
    return ("faster" if (ratio > 1) == more_is_faster else "slower"), ""


def _figure(value: float, drawn: Floats) -> Figure:
    low, high = np.percentile(drawn, _TAILS)
    return Figure(value, (float(low), float(high)))


@cache
def _draws(rounds: int) -> NDArray[np.int64]:
    """Return the rounds each draw takes, [draws, rounds]; sorted, so equal draws look equal."""
    return np.sort(np.random.default_rng(0).integers(0, rounds, (_DRAWS, rounds)), axis=1)


def _drawn_percentiles(rounds: Sequence[Floats], draws: NDArray[np.int64], seed: int) -> Floats:
    """Return PERCENTILES of the requests resampled from the picked rounds, [draws, percentiles].

    Requests need not be drawn one by one: of n drawn with replacement, the k-th smallest is where
    the distribution function of the originals reaches a value distributed as Beta(k, n − k + 1).
    """
    random = np.random.default_rng(seed)
    drawn = np.empty((len(draws), len(PERCENTILES)))
    different, which = np.unique(draws, axis=0, return_inverse=True)
    for number, numbers in enumerate(different):
        pooled = np.sort(np.concatenate([rounds[index] for index in numbers]))
        equal = np.flatnonzero(which == number)
        for column, percentile in enumerate(PERCENTILES):
            k = _rank(len(pooled), percentile)
            reached = random.beta(k, len(pooled) - k + 1, len(equal))
            drawn[equal, column] = pooled[np.minimum((reached * len(pooled)).astype(int), len(pooled) - 1)]
    return drawn


def _rank(count: int, percentile: int) -> int:
    return max(1, math.ceil(count * percentile / 100))


def _quantile(ordered: Floats, percentile: int) -> float:
    return float(ordered[_rank(len(ordered), percentile) - 1])
