from __future__ import annotations

import pytest

from serving.tuning import search
from serving.tuning.search import Configuration, Level, MeasuredConfiguration, Slo

SLOW, FAST = "ort_fp32", "ort_int8"


def measured(engine: str, instances: int, threads: int, *levels: tuple[float, float]) -> MeasuredConfiguration:
    """`levels`: texts/s and p99 in ms, for 1, 2, 4 … clients."""
    at_clients = tuple(Level(2**power, *level) for power, level in enumerate(levels))
    return MeasuredConfiguration(Configuration(engine, instances, threads), at_clients)


ONE = measured(FAST, 1, 1, (50, 20), (90, 40), (100, 120))
TWO_THREADS = measured(FAST, 1, 2, (80, 12), (140, 30), (170, 90))
TWO_PROCESSES = measured(FAST, 2, 1, (50, 20), (100, 25), (175, 95))
PLAIN = measured(SLOW, 1, 2, (40, 25), (70, 60), (75, 110))
ALL = [ONE, TWO_THREADS, TWO_PROCESSES, PLAIN]


@pytest.mark.parametrize(("cores", "splits"), [(1, 1), (2, 3), (4, 6), (6, 7), (16, 15)])
def test_candidates_divide_no_more_than_the_cores_there_are(cores: int, splits: int) -> None:
    ways = search.configurations([FAST, SLOW], cores)
    assert len(set(ways)) == len(ways) == 2 * splits
    assert max(way.cores for way in ways) == cores
    assert [way.cores for way in ways] == sorted(way.cores for way in ways)


def test_the_highest_load_is_the_one_with_the_most_texts_whose_p99_holds() -> None:
    assert ONE.best(Slo(50)) == Level(2, 90, 40)
    assert ONE.best(Slo(10)) is None


def test_for_a_rate_the_choice_is_the_fewest_cores_that_hold_it() -> None:
    assert search.holding(ALL, Slo(100, rate=80))[0] is ONE
    assert search.holding(ALL, Slo(100, rate=150))[0] is TWO_THREADS  # one process holds the model once


def test_without_a_rate_it_is_the_most_texts_for_each_core() -> None:
    assert search.holding(ALL, Slo(100))[0] is ONE
    assert search.holding([TWO_THREADS, TWO_PROCESSES, PLAIN], Slo(100))[0] is TWO_PROCESSES


def test_what_cannot_hold_the_slo_is_never_chosen() -> None:
    assert search.holding(ALL, Slo(100, rate=176)) == []
    assert search.holding(ALL, Slo(5)) == []


def test_dearer_candidates_are_not_tried_once_the_rate_is_held() -> None:
    dearer, as_dear = Configuration(FAST, 2, 1), Configuration(SLOW, 1, 1)
    assert search.too_dear([ONE], dearer, Slo(100, rate=80))
    assert not search.too_dear([ONE], as_dear, Slo(100, rate=80))
    assert not search.too_dear([ONE], dearer, Slo(100, rate=120))
    assert not search.too_dear([ONE], dearer, Slo(100))


def test_the_reason_says_what_less_would_hold() -> None:
    reason = search.reason(TWO_THREADS, ALL, Slo(100, rate=150))
    assert reason == "2 cores hold 170 texts/s at a p99 of 90 ms; with fewer cores, the most that hold it is 90 texts/s"
    assert search.reason(ONE, ALL, Slo(100, rate=80)) == "1 core holds 90 texts/s at a p99 of 40 ms; nothing is cheaper"


def test_without_a_rate_the_reason_says_what_the_whole_machine_would_hold() -> None:
    reason = search.reason(ONE, ALL, Slo(100))
    assert (
        reason
        == "1 core holds 90 texts/s at a p99 of 40 ms, which is 90 for each core; the most at all is 175 texts/s, with 2 cores"
    )
