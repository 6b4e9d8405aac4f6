"""The rows that each rank trains on in each step, and the length that they are padded to.

Every row is trained on exactly once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
_POOL = 50  # global batches that are sorted by length together: packed well, and still random


@dataclass(frozen=True)
class Shape:
    """The largest feed of one forward pass, and how lengths are rounded up."""

    rows: int  # at most; a rank's share of a step takes as many micro-batches as it needs
    longest: int  # tokens; no row is longer
    fixed: bool = False  # always `longest` tokens, as the original example fed its model
    multiple: int = 1  # lengths are rounded up to one of it, so that XLA compiles few shapes

    def tokens(self, lengths: Numbers) -> int:
        """Return the length in tokens that rows of these lengths are padded to."""
        if self.fixed:
            return self.longest
        return min(self.longest, -(-int(lengths.max()) // self.multiple) * self.multiple)


@dataclass(frozen=True, eq=False)
class Step:
    """One global batch. Every rank knows all of it, so that all agree on sizes and steps."""

    rows: Numbers  # row numbers of the whole batch, all ranks together

    def shard(self, rank: int, world: int) -> Numbers:
        """Return this rank's rows. Sizes differ by 1 when `world` does not divide the batch."""
        return self.rows[rank::world]  # of a length-sorted batch: ranks have equal work


def plan(lengths: Numbers, world: int, rows_per_rank: int, epoch: int, seed: int, *, bucketed: bool) -> list[Step]:
    """Return the steps of one epoch, the same on every rank.

    `lengths` are tokens, [rows]; `rows_per_rank` are those of one optimizer step. Every step has
    world × rows_per_rank rows, but for two that share the rest evenly, so that no step is small and
    noisy. All ranks have equally many rows in every step, except in one step (by 1 row) when
    `world` does not divide the number of rows. `bucketed` puts neighbours in length together; else
    rows are only shuffled.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    if bucketed:
        pools = np.array_split(order, max(1, round(len(order) / (_POOL * world * rows_per_rank))))
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = np.split(order, np.cumsum(_sizes(len(order), world, rows_per_rank))[:-1])
    return [Step(batches[i]) for i in random.permutation(len(batches))]


def _sizes(rows: int, world: int, rows_per_rank: int) -> list[int]:
    """Return the number of rows of each global batch."""
    full, rest = divmod(rows, world * rows_per_rank)
    if not full or not rest:
        return [world * rows_per_rank] * full + [rest] * (rest > 0)
    shared = world * rows_per_rank + rest
    # 0 where the rest would leave ranks without a row: there is one larger step then.
    first = shared // 2 // world * world
    return [world * rows_per_rank] * (full - 1) + [size for size in (first, shared - first) if size]


def micro_batches(rows: Numbers, shape: Shape) -> list[Numbers]:
    """Divide a rank's rows of a step into micro-batches of equal size, ± 1."""
    return np.array_split(rows, -(-len(rows) // shape.rows))


def fed(steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> tuple[int, int]:
    """Return the tokens of these steps' rows, and those fed including padding, over all ranks."""
    own = padded = 0
    for step in steps:
        own += int(lengths[step.rows].sum())
        for rank in range(min(world, len(step.rows))):
            for rows in micro_batches(step.shard(rank, world), shape):
                padded += len(rows) * shape.tokens(lengths[rows])
    return own, padded
