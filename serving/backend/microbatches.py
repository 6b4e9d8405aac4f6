"""Cut texts of unequal length into the micro-batches that cost least. Copied into every served model version; imports numpy alone.

Padding makes a batch as expensive as its longest row; a batch of its own costs a fixed overhead. Between the two lies
the cheapest cut, found exactly by dynamic programming over the rows sorted by length. Where padding is free, nothing is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CostModel:
    """Time of one run: `fixed` + `per_token` · rows · tokens of the longest row. Seconds."""

    fixed: float
    per_token: float


def plan(lengths: NDArray[np.int64], cost: CostModel) -> list[NDArray[np.int64]]:
    """Row numbers of each micro-batch, at the least total cost under `cost`. `lengths` [rows] in tokens.

    best[j], the cost of the j shortest rows, is the least over i < j of best[i] + cost of rows i…j−1 as one batch.
    """
    order = np.argsort(lengths, kind="stable")
    if cost.per_token == 0:
        return [order]
    widths = lengths[order]
    count = len(order)
    best, cut = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    rows_before = np.arange(count)
    for end in range(1, count + 1):
        padded = (end - rows_before[:end]) * widths[end - 1]
        totals = best[:end] + cost.fixed + cost.per_token * padded
        cut[end] = totals.argmin()
        best[end] = totals[cut[end]]
    batches = []
    end = count
    while end:
        batches.append(order[cut[end] : end])
        end = cut[end]
    return batches[::-1]
