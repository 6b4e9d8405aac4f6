from __future__ import annotations

import numpy as np
import pytest

from train import batches

LENGTHS = np.random.default_rng(0).integers(5, 128, 1003)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_row_is_trained_on_exactly_once_an_epoch(world: int) -> None:
    steps = batches.plan(LENGTHS, 32 * world, epoch=0, seed=1)
    rows = np.concatenate([step.shard(rank, world) for step in steps for rank in range(world)])
    assert sorted(rows) == list(range(len(LENGTHS)))


def test_no_rank_is_ever_without_rows_and_shards_differ_by_one_at_most() -> None:
    for step in batches.plan(LENGTHS, 64, epoch=0, seed=1):
        sizes = [len(step.shard(rank, 2)) for rank in range(2)]
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1


def test_epochs_are_shuffled_differently_and_each_alike_every_time() -> None:
    first, again = (batches.plan(LENGTHS, 64, epoch=0, seed=1) for _ in range(2))
    second = batches.plan(LENGTHS, 64, epoch=1, seed=1)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].rows, second[0].rows)


def test_padding_is_counted_over_all_epochs() -> None:
    once = batches.plan(LENGTHS, 32, epoch=0, seed=1)
    assert batches.padding_waste(once + once, LENGTHS, 2) == batches.padding_waste(once, LENGTHS, 2) > 0


def test_bucketing_by_length_wastes_little_padding() -> None:
    bucketed = batches.padding_waste(batches.plan(LENGTHS, 32, epoch=0, seed=1), LENGTHS, world=2)
    unsorted = batches.padding_waste([batches.Step(rows) for rows in np.array_split(np.arange(len(LENGTHS)), 32)], LENGTHS, 2)
    assert bucketed < 0.05 < unsorted
