from __future__ import annotations

import numpy as np
import pytest

from serving.load.perf_analyzer import LoadResult
from serving.tuning import search
from serving.tuning.search import Configuration, Level, MeasuredConfiguration, Slo, Trials


def result(rate: float, *latencies: float, errors: int = 0, failure: str = "") -> LoadResult:
    return LoadResult("perf_analyzer", np.array(latencies), rate, errors, failure)


def test_a_load_is_its_median_round() -> None:
    rounds = [[result(100, 10.0)], [result(20, 900.0)], [result(110, 12.0)]]
    assert Trials(Configuration("ort_int8", 1, 1), {1: rounds}).measured().levels == (Level(1, 100, 12),)


def test_of_two_rounds_the_worse_p99_counts() -> None:
    tried = Trials(Configuration("ort_int8", 1, 1), {4: [[result(100, 10.0)], [result(90, 30.0)]]})
    assert tried.measured().levels == (Level(4, 95, 30),)


@pytest.mark.parametrize("bad", [result(0, failure="exit status 99"), result(100, 10.0, errors=1)])
def test_a_load_that_failed_or_left_a_request_unanswered_holds_nothing(bad: LoadResult) -> None:
    tried = Trials(Configuration("ort_int8", 1, 1), {1: [[result(100, 10.0)]], 2: [[result(100, 10.0), bad]]})
    assert tried.measured().best(Slo(1000)) == Level(1, 100, 10)
    assert tried.measured().levels[1].to_json()["p99_ms"] is None


def test_without_a_rate_less_and_less_of_the_load_is_tried_open_rates() -> None:
    cheapest, other = (MeasuredConfiguration(Configuration("ort_int8", 1, threads), (Level(1, 100, 10),)) for threads in (1, 2))
    assert [rate for _, rate in search._open_rates([cheapest, other], Slo(50))] == [70, 50, 35]
    assert search._open_rates([cheapest, other], Slo(50, rate=80)) == [(cheapest, 80), (other, 80)]
    assert search._open_rates([], Slo(50)) == []
