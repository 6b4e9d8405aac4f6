"""Models in turn on the same batches, each run waited for, until a budget is spent; and what time is left for all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.ratios import Floats

Runs = Mapping[str, Sequence[Callable[[], object]]]  # model → one run for each batch of the same shape

_WARM_UP = 3  # runs of every batch: ONNX Runtime captures a CUDA graph in the third
_LEAST_ROUNDS, _MOST_ROUNDS = 6, 40
_RESAMPLES = 2_000


class Deadline:
    """The time left of a budget in seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()


def seconds_of(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def interleaved(runs: Runs, between: Callable[[], None], budget: float, longest: float) -> tuple[dict[str, Floats], dict[str, str]]:
    """Model → seconds [rounds], and model → why it was left out. Each round runs every model once, in random order, on a batch.

    The batches of a model follow one another; `between` runs before each timed run. Warm-up is not timed. A model whose run takes
    more than `longest` seconds is left out.
    """
    random = np.random.default_rng(0)
    left_out = {}
    for name, batches in runs.items():
        batches[0]()
        if (took := seconds_of(batches[0])) > longest:
            left_out[name] = f"one run takes {took:.1f} s"
    kept = {name: batches for name, batches in runs.items() if name not in left_out}
    for batches in kept.values():
        for batch in batches:
            for _ in range(_WARM_UP):
                batch()
    seconds: dict[str, list[float]] = {name: [] for name in kept}
    end = Deadline(budget)
    for number in range(_MOST_ROUNDS if kept else 0):
        if number >= _LEAST_ROUNDS and end.left() < 0:
            break
        for name in random.permutation(list(kept)):
            between()
            seconds[name].append(seconds_of(kept[name][number % len(kept[name])]))
    return {name: np.array(found) for name, found in seconds.items()}, left_out


def ratio(theirs: Floats, ours: Floats) -> dict[str, Any]:
    """Median of theirs ÷ ours over the rounds, how many times faster ours is, and its 95 % interval; both [rounds].

    Percentile bootstrap of the rounds, in one step: hundreds of ratios have to be made within the time of a run. Models are
    loaded once, so what a load does to a model's speed is in the ratio and not in the interval; `benchmarks.ratios` is for
    where that matters.
    """
    rounds = theirs / ours
    picked = np.random.default_rng(0).integers(0, len(rounds), (_RESAMPLES, len(rounds)))
    low, high = np.percentile(np.median(rounds[picked], axis=1), (2.5, 97.5))
    return {"ratio": float(np.median(rounds)), "interval": [float(low), float(high)]}
