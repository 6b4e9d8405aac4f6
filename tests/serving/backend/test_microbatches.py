from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest

from tests.support.command import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "serving" / "backend"))
from engine import CostModel, plan


def cost_of(batches: list[np.ndarray], lengths: np.ndarray, cost: CostModel) -> float:
    return sum(cost.fixed + cost.per_token * len(batch) * lengths[batch].max() for batch in batches)


def cheapest(lengths: np.ndarray, cost: CostModel) -> float:
    """By trying every cut of the sorted rows."""
    order = np.argsort(lengths, kind="stable")
    inner = range(1, len(order))
    cuts = (chosen for size in range(len(order)) for chosen in combinations(inner, size))
    return min(cost_of(np.split(order, chosen), lengths, cost) for chosen in cuts)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_cut_is_cheaper(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths, cost = random.integers(1, 128, 9), CostModel(fixed=float(random.uniform(0, 0.02)), per_token=1e-4)
    assert cost_of(plan(lengths, cost), lengths, cost) == pytest.approx(cheapest(lengths, cost))


def test_every_row_is_in_exactly_one_batch() -> None:
    lengths = np.random.default_rng(0).integers(1, 128, 64)
    batches = plan(lengths, CostModel(0.001, 1e-4))
    assert sorted(np.concatenate(batches)) == list(range(64))


def test_equal_lengths_stay_together() -> None:
    assert len(plan(np.full(16, 50), CostModel(0.001, 1e-4))) == 1


@pytest.mark.timeout(20)  # for which trying every cut of so many rows would take an hour
def test_free_padding_never_cuts_and_takes_no_planning() -> None:
    (batch,) = plan(np.arange(1_000_000), CostModel(0.001, 0.0))
    assert len(batch) == 1_000_000


def test_free_runs_never_pad() -> None:
    lengths = np.array([5, 9, 5, 120])
    assert [sorted(lengths[batch]) for batch in plan(lengths, CostModel(0.0, 1e-4))] == [[5, 5], [9], [120]]
