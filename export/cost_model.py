"""The cost of one run of an engine: fixed + per_token · rows · tokens of the longest row, seconds.

Measured beside parity, where nothing else runs; serving cuts its micro-batches by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from train.ragged import Feed, Ragged

# (rows, tokens as a share of the longest sequence)
_COST_SHAPES = ((1, 1 / 8), (1, 1 / 2), (4, 1 / 8), (4, 1 / 2), (8, 1))
_LEAST_REPEATS, _MOST_REPEATS = 2, 5
_ENOUGH = 0.3  # seconds spent on a shape, after which the least repeats do: large models are timed well by few
_LEAST_PER_TOKEN = 1e-9  # seconds; a cost model that calls tokens free would never cut


def fit_cost_model(infer: Callable[[Feed], object], max_seq_len: int) -> dict[str, float]:
    """Time a few shapes, the best of some repeats each; fit by least squares of relative errors."""
    shapes = [(rows, max(1, round(share * max_seq_len))) for rows, share in _COST_SHAPES]
    seconds = np.array([_fastest(infer, rows, tokens) for rows, tokens in shapes])
    padded = np.array([rows * tokens for rows, tokens in shapes], float)
    # Divided by the time itself, so that a single short text weighs as much as a full batch.
    design = np.stack([np.ones_like(padded), padded], axis=1) / seconds[:, None]
    fixed, per_token = np.linalg.lstsq(design, np.ones_like(padded), rcond=None)[0]
    return {"fixed": max(float(fixed), 0.0), "per_token": max(float(per_token), _LEAST_PER_TOKEN)}


def _fastest(infer: Callable[[Feed], object], rows: int, tokens: int) -> float:
    feed = Ragged.of([[5] * tokens] * rows).padded()
    infer(feed)  # the first run of a shape allocates
    times: list[float] = []
    while len(times) < _LEAST_REPEATS or (len(times) < _MOST_REPEATS and sum(times) < _ENOUGH):
        started = time.perf_counter()
        infer(feed)
        times.append(time.perf_counter() - started)
    return min(times)
