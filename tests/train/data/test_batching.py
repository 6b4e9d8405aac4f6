from __future__ import annotations

import numpy as np
import pytest

from train.data import batching

LENGTHS = np.random.default_rng(0).integers(5, 128, 1003)
SHAPE = batching.Shape(rows=16, longest=128)


def plan(
    rows: int = len(LENGTHS), world: int = 2, per_rank: int = 16, epoch: int = 0, bucketed: bool = True
) -> list[batching.Step]:
    return batching.plan(LENGTHS[:rows], world, per_rank, epoch, seed=1, bucketed=bucketed)


@pytest.mark.parametrize("rows", [1003, 64, 63, 33, 3])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("per_rank", [1, 16])
@pytest.mark.parametrize("bucketed", [True, False])
def test_every_row_is_trained_on_exactly_once_an_epoch(rows: int, world: int, per_rank: int, bucketed: bool) -> None:
    steps = plan(rows, world, per_rank, bucketed=bucketed)
    trained = np.concatenate([step.shard(rank, world) for step in steps for rank in range(world)])
    assert sorted(trained) == list(range(rows))


@pytest.mark.parametrize("rows", range(960, 1003, 6))
@pytest.mark.parametrize("world", [2, 3, 6])
@pytest.mark.parametrize("per_rank", [1, 5, 16])
def test_ranks_have_equally_many_rows_in_every_step_when_they_divide_the_rows(rows: int, world: int, per_rank: int) -> None:
    for step in plan(rows, world, per_rank):
        assert len({len(step.shard(rank, world)) for rank in range(world)}) == 1


@pytest.mark.parametrize("world", [2, 4, 7])
@pytest.mark.parametrize("per_rank", [1, 5, 16])
def test_else_one_step_an_epoch_is_uneven_by_one_row_and_no_rank_is_ever_without(world: int, per_rank: int) -> None:
    sizes = [[len(step.shard(rank, world)) for rank in range(world)] for step in plan(1003, world, per_rank)]
    assert len(LENGTHS) % world
    assert sum(len(set(step)) > 1 for step in sizes) == 1
    assert all(max(step) - min(step) <= 1 and min(step) > 0 for step in sizes)


@pytest.mark.parametrize("rows", [961, 975, 991, 1003])
def test_no_step_is_a_small_rest(rows: int) -> None:
    sizes = [len(step.rows) for step in plan(rows)]
    assert min(sizes) >= 16
    assert sum(size != 32 for size in sizes) <= 2


def test_epochs_are_shuffled_differently_and_each_alike_every_time() -> None:
    first, again, second = plan(epoch=0), plan(epoch=0), plan(epoch=1)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].rows, second[0].rows)


def test_after_the_loss_of_a_rank_the_same_step_is_shared_by_the_others_in_more_micro_batches() -> None:
    step = plan()[0]
    shares = [batching.micro_batches(step.shard(rank, 1), SHAPE) for rank in range(1)]
    assert [len(rows) for rows in shares[0]] == [16, 16]
    assert sorted(np.concatenate(shares[0])) == sorted(step.rows)


def test_bucketing_by_length_wastes_little_padding() -> None:
    counts = [batching.fed(plan(bucketed=choice), LENGTHS, 2, SHAPE) for choice in (True, False)]
    bucketed, shuffled = (1 - own / padded for own, padded in counts)
    assert bucketed < 0.05 < 0.3 < shuffled


def test_fixed_padding_feeds_every_row_at_full_length() -> None:
    fixed = batching.Shape(rows=16, longest=128, fixed=True)
    assert batching.fed(plan(), LENGTHS, 2, fixed) == (LENGTHS.sum(), 1003 * 128)


def test_lengths_for_xla_are_few_and_never_over_the_longest() -> None:
    xla = batching.Shape(rows=16, longest=120, multiple=16)
    lengths = {xla.tokens(np.array([length])) for length in range(1, 121)}
    assert lengths == {16, 32, 48, 64, 80, 96, 112, 120}


def test_micro_batches_of_a_bucketed_step_hold_neighbours_in_length() -> None:
    share = plan(per_rank=32)[0].shard(0, 2)
    first, second = batching.micro_batches(share, SHAPE)
    assert LENGTHS[first].max() <= LENGTHS[second].min()
