"""Is the new version slower than the old one? The same questions to both in turn, one at a time, and p99 against p99.

Times of a shared machine are no results, so the two are compared only with each other: a ratio, and an interval drawn from the
pairs (bootstrap). A version is refused when even the interval's lower end is above the limit; a noisy machine refuses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WARM = 5  # questions to each that do not count: connections are made, buffers grow
_DRAWS = 2000  # of the bootstrap
_CONFIDENCE = 0.95  # one-sided, at both ends

Ask = Callable[[int], NDArray[np.float32]]  # number of a golden row → its logits
Seconds = NDArray[np.float64]


def measure(old: list[Ask], new: list[Ask], rows: int, pairs: int) -> tuple[Seconds, Seconds, int]:
    """Seconds of each question to the old and the new version, [pairs], and how many got another answer.

    `old` and `new` have one way to ask for each protocol; they take turns, and so does who is asked first.
    """
    seconds = np.zeros((2, pairs))
    others = 0
    for number in range(-_WARM * len(old), pairs):
        way, row = number % len(old), number % rows
        asked = (old[way], new[way])
        answers = [np.empty(0, np.float32)] * 2
        for which in (0, 1) if number // len(old) % 2 else (1, 0):
            started = time.perf_counter()
            answers[which] = asked[which](row)
            if number >= 0:
                seconds[which, number] = time.perf_counter() - started
        others += number >= 0 and not np.array_equal(answers[0].argmax(axis=-1), answers[1].argmax(axis=-1))
    return seconds[0], seconds[1], others


def compare(old: Seconds, new: Seconds, limit: float) -> dict[str, Any]:
    """p99 of both in ms, their ratio with its interval, and whether the new one is within `limit` times the old one's."""
    drawn = np.random.default_rng(0).integers(len(old), size=(_DRAWS, len(old)))
    ratios = _p99(new[drawn]) / _p99(old[drawn])
    low, high = np.quantile(ratios, [1 - _CONFIDENCE, _CONFIDENCE])
    return {
        "pairs": len(old),
        "p99_ms": [round(1000 * float(_p99(one)), 3) for one in (old, new)],
        "median_ms": [round(1000 * float(np.median(one)), 3) for one in (old, new)],
        "ratio": float(_p99(new) / _p99(old)),
        "interval": [float(low), float(high)],
        "limit": limit,
        "passed": bool(low <= limit),
    }


def _p99(seconds: Seconds) -> Any:
    return np.quantile(seconds, 0.99, axis=-1)
