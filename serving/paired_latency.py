"""Paired latency: the same questions to the old and the new version in turn, p99 against p99.

Times of a shared machine are no results, so the two versions are compared only with each other: a
ratio, and an interval drawn from the pairs (bootstrap). A version is refused when even the
interval's lower end is above the limit; a noisy machine refuses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNCOUNTED = 5  # first questions to each way: connections are made, buffers grow
_DRAWS = 2000  # of the bootstrap
_CONFIDENCE = 0.95  # one-sided, at both ends

Ask = Callable[[int], NDArray[np.float32]]  # number of a golden row → its logits
Seconds = NDArray[np.float64]  # [pairs]


@dataclass(frozen=True)
class LatencyComparison:
    """The latency of two versions on the same questions; pairs of numbers are (old, new)."""

    pairs: int
    p99_ms: tuple[float, float]
    median_ms: tuple[float, float]
    ratio: float  # of the p99s, new ÷ old
    interval: tuple[float, float]  # of the ratio
    limit: float  # that the ratio has to hold
    passed: bool
    other_answers: int  # questions that the two answered differently


def measure_pairs(old: list[Ask], new: list[Ask], rows: int, pairs: int) -> tuple[Seconds, Seconds, int]:
    """Return the seconds of each question to the old and the new version, and the other answers.

    `old` and `new` have one way to ask for each protocol; they take turns, and so do the versions
    in being asked first.
    """
    seconds = np.zeros((2, pairs))
    other_answers = 0
    for number in range(-_UNCOUNTED * len(old), pairs):
        way, row = number % len(old), number % rows
        asks = (old[way], new[way])
        answers = [np.empty(0, np.float32)] * 2
        for version in (0, 1) if number // len(old) % 2 else (1, 0):
            started = time.perf_counter()
            answers[version] = asks[version](row)
            if number >= 0:
                seconds[version, number] = time.perf_counter() - started
        other_answers += number >= 0 and not np.array_equal(answers[0].argmax(axis=-1), answers[1].argmax(axis=-1))
    return seconds[0], seconds[1], other_answers


def compare_latency(old: Seconds, new: Seconds, other_answers: int, limit: float) -> LatencyComparison:
    """Compare the p99s; passed: the new one is not for certain above `limit` times the old one."""
    drawn = np.random.default_rng(0).integers(len(old), size=(_DRAWS, len(old)))
    low, high = np.quantile(_p99(new[drawn]) / _p99(old[drawn]), [1 - _CONFIDENCE, _CONFIDENCE])
    return LatencyComparison(
        pairs=len(old),
        p99_ms=(_milliseconds(_p99(old)), _milliseconds(_p99(new))),
        median_ms=(_milliseconds(np.median(old)), _milliseconds(np.median(new))),
        ratio=float(_p99(new) / _p99(old)),
        interval=(float(low), float(high)),
        limit=limit,
        passed=bool(low <= limit),
        other_answers=other_answers,
    )


def _p99(seconds: Seconds) -> Any:
    return np.quantile(seconds, 0.99, axis=-1)


def _milliseconds(seconds: Any) -> float:
    return round(1000 * float(seconds), 3)
