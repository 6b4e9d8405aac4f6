"""Two versions' p99: refused is what is slower for certain, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from serving.registry.canary import Ask, compare_latency, measure_pairs


def drawn(seed: int, milliseconds: float, spikes: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    times = milliseconds / 1000 * random.lognormal(0, 0.1, 300)
    return times + spikes * (random.random(300) < 0.05)


@pytest.mark.parametrize(
    ("old", "new", "passed"),
    [
        (drawn(1, 10), drawn(2, 10), True),
        (drawn(1, 10), drawn(2, 5), True),
        (drawn(1, 10), drawn(2, 20), False),
        (drawn(1, 10), drawn(2, 10, spikes=0.5), False),
        (drawn(1, 10, spikes=0.5), drawn(2, 10, spikes=0.5), True),
    ],
    ids=["as fast", "faster", "twice as slow", "slow now and then", "both slow now and then"],
)
def test_slower_is_refused_and_noise_is_not(old: np.ndarray, new: np.ndarray, passed: bool) -> None:
    compared = compare_latency(old, new, other_answers=0, limit=1.25)
    low, high = compared.interval
    assert compared.passed is passed
    assert low <= compared.ratio <= high


def test_both_are_asked_the_same_over_both_ways_and_take_turns_in_being_first() -> None:
    asked: list[tuple[str, str, int]] = []

    def ask(version: str, way: str) -> Ask:
        def answer(row: int) -> np.ndarray:
            asked.append((version, way, row))
            return np.array([row == 3 and version == "new", 0.5], np.float32)

        return answer

    ways = ("http", "grpc")
    old, new, others = measure_pairs([ask("old", way) for way in ways], [ask("new", way) for way in ways], 5, 20)
    counted = asked[-40:]
    assert (len(old), len(new), others) == (20, 20, 4)
    of_old, of_new = (sorted(entry[1:] for entry in counted if entry[0] == version) for version in ("old", "new"))
    assert of_old == of_new
    firsts = counted[::2]
    for way in ways:
        assert {entry[0] for entry in firsts if entry[1] == way} == {"old", "new"}
    assert len(asked) > len(counted)  # what warmed them up does not count


def test_more_pairs_are_other_questions() -> None:
    asked: list[int] = []

    def ask(row: int) -> np.ndarray:
        asked.append(row)
        return np.zeros(2, np.float32)

    measure_pairs([ask], [ask], 300, 100)
    measure_pairs([ask], [ask], 300, 200, 100)
    warm_up = (len(asked) - 600) // 2
    assert {*asked[warm_up : warm_up + 200], *asked[-400:]} == {*range(300)}
