"""Which rows each rank trains on in each step: shuffled, neighbours in length together, no row dropped or repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POOL = 50  # global batches shuffled together before sorting by length: large enough to pack well, small enough to stay random


@dataclass(frozen=True)
class Step:
    """One global batch. Every rank knows all of it, so that all agree on its size and on the number of steps."""

    rows: NDArray[np.int64]  # row numbers of the whole batch, all ranks together

    def shard(self, rank: int, world: int) -> NDArray[np.int64]:
        """This rank's rows. Taken in turn from the length-sorted batch, so that ranks carry equal work; sizes differ
        by 1 at most."""
        return self.rows[rank::world]


def plan(lengths: NDArray[np.int64], global_batch: int, epoch: int, seed: int) -> list[Step]:
    """The steps of one epoch, the same on every rank. `lengths` [rows] in tokens.

    Batches are of `global_batch` rows, or one less where that does not divide the rows, never a small rest at the end.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    pools = np.array_split(order, max(1, round(len(order) / (_POOL * global_batch))))
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = np.array_split(by_length, -(-len(by_length) // global_batch))
    return [Step(batches[i]) for i in random.permutation(len(batches))]


def padding_waste(steps: list[Step], lengths: NDArray[np.int64], world: int) -> float:
    """Share of the tokens fed to the model that are padding, 0 to 1."""
    shards = [lengths[step.shard(rank, world)] for step in steps for rank in range(world)]
    fed = sum(len(shard) * int(shard.max()) for shard in shards if len(shard))
    return 1 - sum(int(shard.sum()) for shard in shards) / fed if fed else 0.0
