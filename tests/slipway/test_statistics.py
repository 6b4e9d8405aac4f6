from __future__ import annotations

import numpy as np
import pytest

from slipway import statistics
from slipway.statistics import Figure, Floats


def latencies(seed: int, scale: float = 1.0, rounds: int = 5, requests: int = 300) -> list[Floats]:
    return [scale * times for times in np.random.default_rng(seed).lognormal(3, 0.3, (rounds, requests))]


@pytest.mark.parametrize(("percentile", "requests"), [(50, 6), (95, 72), (99, 368)])
def test_the_upper_end_of_a_percentile_needs_so_many_requests(percentile: int, requests: int) -> None:
    assert statistics.needed(percentile) == requests
    assert (percentile / 100) ** requests <= 0.025 < (percentile / 100) ** (requests - 1)


def test_too_few_requests_for_a_p99_are_said_to_be_too_few() -> None:
    few, many = (statistics.percentiles(latencies(0, requests=count))["p99_ms"] for count in (73, 74))
    assert (few.enough, many.enough) == (False, True)


def test_throughput_is_the_median_round_and_its_interval_nearly_all_of_five() -> None:
    assert statistics.throughput([90, 100, 101, 102, 130]) == Figure(101, (90, 130))


def test_percentiles_are_resampled_as_by_drawing_every_request_anew() -> None:
    rounds, random = latencies(1), np.random.default_rng(2)
    drawn = []
    for _ in range(2000):
        picked = [rounds[number] for number in random.integers(0, 5, 5)]
        drawn.append(np.quantile(random.choice(np.concatenate(picked), 1500), 0.99, method="inverted_cdf"))
    np.testing.assert_allclose(statistics.percentiles(rounds)["p99_ms"].interval, np.percentile(drawn, (2.5, 97.5)), rtol=0.03)


def test_a_round_that_was_slow_widens_the_interval_more_than_its_requests_do() -> None:
    even, uneven = latencies(3), latencies(3)
    uneven[0] = 2 * uneven[0]
    widths = [np.ptp(statistics.percentiles(rounds)["p50_ms"].interval) for rounds in (even, uneven)]
    assert widths[1] > 3 * widths[0]


def test_two_of_the_same_differ_by_a_ratio_whose_interval_holds_1() -> None:
    for percentile in (50, 99):
        low, high = statistics.percentile_ratios(latencies(4), latencies(5))[percentile].interval
        assert low < 1 < high


def test_twice_the_latency_is_a_ratio_of_2() -> None:
    ratio = statistics.percentile_ratios(latencies(6, scale=2), latencies(6))[99]
    assert ratio.value == pytest.approx(2)
    assert ratio.interval[0] > 1.5


def test_throughput_is_compared_round_by_round() -> None:
    drifting = np.array([100.0, 80, 60, 90, 70])
    ratio = statistics.throughput_ratio(list(1.1 * drifting), list(drifting))
    np.testing.assert_allclose([ratio.value, *ratio.interval], 1.1)
