"""Which rows each rank trains on in each step, and to what length they are padded: no row dropped or repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
_POOL = 50  # global batches shuffled together before sorting by length: large enough to pack well, small enough to stay random


@dataclass(frozen=True)
class Shape:
    """The shape of what a model is fed in one forward pass."""

    rows: int  # at most; a rank's share of a step is run in as many micro-batches as that takes
    longest: int  # tokens; no row is longer
    fixed: bool = False  # always `longest` tokens, as the original example fed its model
    multiple: int = 1  # lengths are rounded up to a multiple of it, so that XLA compiles few shapes

    def tokens(self, lengths: Numbers) -> int:
        """Tokens that rows of these lengths are padded to."""
        if self.fixed:
            return self.longest
        return min(self.longest, -(-int(lengths.max()) // self.multiple) * self.multiple)


@dataclass(frozen=True, eq=False)
class Step:
    """One global batch. Every rank knows all of it, so that all agree on its size and on the number of steps."""

    rows: Numbers  # row numbers of the whole batch, all ranks together

    def shard(self, rank: int, world: int) -> Numbers:
        """This rank's rows. Taken in turn from the length-sorted batch, so that ranks carry equal work; sizes are equal
        when `world` divides the batch, else they differ by 1."""
        return self.rows[rank::world]


def plan(lengths: Numbers, world: int, rows_per_rank: int, epoch: int, seed: int, *, bucketed: bool) -> list[Step]:
    """The steps of one epoch, the same on every rank. `lengths` [rows] in tokens; `rows_per_rank` of one optimizer step.

    Every step has world × rows_per_rank rows, but for two that share the rest evenly: no step is small and noisy. All ranks
    have equally many rows in every step, except in one step (by 1 row) when `world` does not divide the number of rows.
    `bucketed`: neighbours in length together; else rows are only shuffled.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    if bucketed:
        pools = np.array_split(order, max(1, round(len(order) / (_POOL * world * rows_per_rank))))
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = np.split(order, np.cumsum(_sizes(len(order), world, rows_per_rank))[:-1])
    return [Step(batches[i]) for i in random.permutation(len(batches))]


def _sizes(rows: int, world: int, rows_per_rank: int) -> list[int]:
    """Rows of each global batch."""
    full, rest = divmod(rows, world * rows_per_rank)
    if not full or not rest:
        return [world * rows_per_rank] * full + [rest] * (rest > 0)
    shared = world * rows_per_rank + rest
    first = shared // 2 // world * world  # 0 only where the rest would leave ranks without a row: one larger step then
    return [world * rows_per_rank] * (full - 1) + [size for size in (first, shared - first) if size]


def micro_batches(rows: Numbers, shape: Shape) -> list[Numbers]:
    """A rank's rows of a step in micro-batches of equal size, ± 1."""
    return np.array_split(rows, -(-len(rows) // shape.rows))


def fed(steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> tuple[int, int]:
    """(tokens of the rows, tokens the models are fed with, padding included) of these steps, all ranks together."""
    own = padded = 0
    for step in steps:
        own += int(lengths[step.rows].sum())
        for rank in range(min(world, len(step.rows))):
            for rows in micro_batches(step.shard(rank, world), shape):
                padded += len(rows) * shape.tokens(lengths[rows])
    return own, padded


def padding_waste(steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> float:
    """Share of the tokens fed to the model that are padding, 0 to 1."""
    own, padded = fed(steps, lengths, world, shape)
    return 1 - own / padded if padded else 0.0
