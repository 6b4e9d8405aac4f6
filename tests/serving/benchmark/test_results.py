from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.benchmark import results
from serving.benchmark.journal import LoadRound
from serving.benchmark.plan import Planned
from serving.benchmark.record import FIGURES, Comparison
from serving.benchmark.results import LoadRounds
from serving.load.perf_analyzer import LoadResult
from slipway.statistics import Figure

PLANNED = Planned("text_classifier", "text", "grpc", "network", "own", 16)


def measured(answered: float, seed: int = 0, **changes: Any) -> LoadRound:
    """One round, as the journal has it. `changes`: of its result or of the round."""
    latencies = np.random.default_rng(seed).lognormal(5, 0.2, 200) * 100 / answered
    result = LoadResult("perf_analyzer -m x", latencies, answered, errors=0, failure="", sent=70.0)
    of_result = {name: value for name, value in changes.items() if name in vars(result)}
    others = {name: value for name, value in changes.items() if name not in of_result}
    quiet = LoadRound(result=replace(result, **of_result), others_share=0.01, mhz=2600.0, tries=1)
    return replace(quiet, **others)


FAILED: dict[str, Any] = {
    "failure": "exit status 99: error: no such model",
    "exit_status": 99,
    "throughput": 0.0,
    "latencies": np.zeros(0),
}


class Rounds:
    """A journal of one load."""

    def __init__(self, *rounds: LoadRound) -> None:
        self._rounds = list(rounds)

    def rounds(self, kind: type, name: str) -> list[LoadRound]:
        assert kind is LoadRound
        return self._rounds


def rounds_of(*rounds: LoadRound, planned: Planned = PLANNED) -> LoadRounds:
    return results.load_rounds(planned, Rounds(*rounds))  # type: ignore[arg-type]


def load(*rates: float, seed: int = 0, **last: Any) -> LoadRounds:
    """Rounds of these rates; the last is as told besides."""
    rounds = [measured(rate, seed + number) for number, rate in enumerate(rates)]
    return rounds_of(*rounds[:-1], measured(rates[-1], seed + len(rates) - 1, **last))


def compared(a: LoadRounds, b: LoadRounds, measure: str = "throughput") -> Comparison:
    comparisons = results.compare(a, b)
    assert [comparison.measure for comparison in comparisons] == [*FIGURES]
    return comparisons[FIGURES.index(measure)]


def verdict(a: LoadRounds, b: LoadRounds, measure: str = "throughput") -> str:
    return compared(a, b, measure).verdict


def test_half_as_much_again_is_faster_in_all_measures() -> None:
    a, b = load(150, 152, 149, 150, 151), load(100, 101, 99, 100, 102)
    assert [verdict(a, b, measure) for measure in FIGURES] == ["faster"] * len(FIGURES)
    assert [verdict(b, a, measure) for measure in FIGURES] == ["slower"] * len(FIGURES)


def test_the_same_again_is_no_difference_in_any_measure() -> None:
    a, b = load(100, 101, 99, 100, 102), load(101, 99, 100, 102, 100, seed=50)
    assert [verdict(a, b, measure) for measure in FIGURES] == ["no difference"] * len(FIGURES)


def noisy(seed: int, faster: float) -> LoadRounds:
    """Five rounds of 200 requests on a machine whose speed differs by 2 % from round to round."""
    random = np.random.default_rng(seed)
    rates = 100 * faster * np.exp(random.normal(0, 0.02, 5))
    return rounds_of(*(measured(rate, latencies=random.lognormal(5, 0.2, 200) * 100 / rate) for rate in rates))


@pytest.mark.parametrize("measure", ["throughput", "p50_ms"])
def test_run_again_the_same_is_seldom_called_different_and_a_tenth_more_always(measure: str) -> None:
    same = [verdict(noisy(seed, 1), noisy(100 + seed, 1), measure) for seed in range(20)]
    more = [verdict(noisy(seed, 1.1), noisy(100 + seed, 1), measure) for seed in range(20)]
    assert same.count("no difference") >= 17
    assert more == ["faster"] * 20


def test_two_per_cent_in_every_round_are_no_difference_worth_the_word() -> None:
    comparison = compared(load(*[102] * 5), load(*[100] * 5))
    assert comparison.interval is not None
    assert comparison.interval[0] > 1
    assert (comparison.verdict, comparison.why) == ("no difference", "less than 3%")


def test_a_load_that_failed_in_one_round_is_failed_and_keeps_its_exit_status() -> None:
    row = results.result_row(load(100, 100, 100, **FAILED), 100)
    assert (row.status, row.exit_status, row.why) == ("FAILED", 99, (FAILED["failure"],))
    assert row.throughput is None
    assert row.errors is None
    assert [one_round.throughput for one_round in row.rounds] == [100, 100, None]


def test_four_rounds_are_figures_but_no_verdict() -> None:
    a, b = load(*[200] * 5), load(*[100] * 5, others_share=0.3)
    assert (results.judge(b), verdict(a, b)) == (("ok", []), "invalid run")
    assert compared(a, b).why == "4 rounds count of both, 5 are needed"


def test_nothing_is_compared_with_what_failed() -> None:
    against = compared(load(100, 100, 100), load(100, 100, 100, **FAILED))
    assert (against.verdict, against.ratio) == ("invalid run", None)
    assert "no such model" in against.why


@pytest.mark.parametrize(
    ("disturbed", "why"),
    [
        ({"others_share": 0.3}, "busy: other processes took 30% of the cores"),
        ({"steal_share": 0.2}, "throttled: the hypervisor took 20% of the cores"),
        ({"mhz": 1300.0}, "throttled: clocks at 1300 MHz"),
    ],
)
def test_a_disturbed_round_does_not_count(disturbed: dict[str, Any], why: str) -> None:
    row = results.result_row(load(100, 100, 100, 40, **disturbed), 100)
    assert row.status == "ok"
    assert row.throughput == Figure(100, (100, 100))
    assert row.rounds[-1].why[0].startswith(why)


def test_with_two_rounds_that_count_a_run_is_invalid_but_shown() -> None:
    row = results.result_row(load(100, 100, 100, others_share=0.3), 100)
    assert (row.status, row.why[0]) == ("invalid", "2 of 3 rounds count, 3 are needed")
    assert row.throughput == Figure(100, (100, 100))


def test_a_request_without_an_answer_makes_a_run_invalid() -> None:
    row = results.result_row(load(100, 100, 100, 100, errors=2), 100)
    assert (row.status, row.errors, row.why) == ("invalid", 2, ("2 requests without an answer",))


def test_throughput_that_jumps_from_round_to_round_is_invalid() -> None:
    row = results.result_row(load(100, 150, 100), 100)
    assert (row.status, row.why[0][:8]) == ("invalid", "unstable")


def test_a_p99_of_too_few_requests_is_not_compared() -> None:
    a = rounds_of(*(measured(100, latencies=np.ones(60)) for _ in range(5)))
    assert compared(a, a, "p99_ms").why == "p99 needs 368 requests, there are 300"
    assert verdict(a, a, "p50_ms") == "no difference"


def test_the_share_offered_is_of_the_capacity_in_all_rounds() -> None:
    at_random = replace(PLANNED, concurrency=None, share=0.7)
    rounds = rounds_of(*(measured(70, seed, rate=70.0) for seed in range(3)), planned=at_random)
    row = results.result_row(rounds, 140)
    assert (row.id.rpartition("/")[2], row.load, row.offered_share) == ("r70", "poisson", 0.5)


def compared_with(plans: list[Planned]) -> list[tuple[str, str]]:
    comparisons = results.compare_loads([LoadRounds(plan, [measured(100)], [[]]) for plan in plans])
    return [(comparison.a, comparison.b) for comparison in comparisons][:: len(FIGURES)]


def test_every_variant_is_compared_with_the_baselines() -> None:
    ours, other, baseline = (replace(PLANNED, subject=name) for name in ("text_classifier", "text_ort_fp32", "usual_tf2onnx"))
    assert compared_with([ours, other, baseline]) == [(ours.id, other.id), (ours.id, baseline.id), (other.id, baseline.id)]


def test_other_subjects_are_compared_with_text_classifier_and_ways_in_with_grpc() -> None:
    plans = [
        PLANNED,
        Planned("usual_tf2onnx", "text", "grpc", "network", "own", 16),
        Planned("text_classifier", "text", "http", "network", "own", 16),
        Planned("usual_tf2onnx", "text", "grpc", "network", "own", 64),
    ]
    assert compared_with(plans) == [(plans[0].id, plans[1].id), (plans[2].id, plans[0].id)]
