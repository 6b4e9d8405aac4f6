from __future__ import annotations

import random

import pytest

from export.precision.fp16_repair import smallest_set

NODES = [f"node_{number}" for number in range(200)]


@pytest.mark.parametrize("needed", [set(), {"node_7"}, {"node_0", "node_199"}, {"node_3", "node_4", "node_90"}])
def test_exactly_the_needed_nodes_are_kept(needed: set[str]) -> None:
    assert smallest_set(NODES, lambda kept: needed <= kept) == needed


def test_a_graph_that_no_set_mends_is_not_repaired() -> None:
    assert smallest_set(NODES, lambda _: False) is None


def test_one_guilty_node_is_found_in_few_comparisons() -> None:
    calls = []

    def passes(kept: frozenset[str]) -> bool:
        calls.append(kept)
        return "node_123" in kept

    smallest_set(NODES, passes)
    assert len(calls) < 25


def test_nothing_can_be_left_out_of_the_result() -> None:
    source = random.Random(1)
    groups = [set(source.sample(NODES, 3)) for _ in range(4)]
    kept = smallest_set(NODES, lambda entry: all(entry & group for group in groups))
    assert kept is not None
    for name in kept:
        assert not all((kept - {name}) & group for group in groups)
