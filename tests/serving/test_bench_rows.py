from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving import bench_rows
from serving.bench_plan import Planned
from serving.bench_rows import Measured

PLANNED = Planned("text_classifier", "text", "grpc", "network", "own", 16)


def found(answered: float, seed: int = 0, **other: Any) -> dict[str, Any]:
    """One round, as the journal has it."""
    latencies = np.random.default_rng(seed).lognormal(5, 0.2, 200) * 100 / answered
    busy = {"others_share": 0.01, "steal_share": 0.0, "mhz": 2600.0, "counted": None, "joules": None, "gpu": None, "tries": 1}
    said = {
        "command": "perf_analyzer -m x",
        "exit_status": 0,
        "failure": "",
        "errors": 0,
        "rejected": 0,
        "rate": None,
        "sent": 70.0,
    }
    return {**said, **busy, "throughput": answered, "latencies": latencies.tolist(), **other}


FAILED = {"failure": "exit status 99: error: no such model", "exit_status": 99, "throughput": None, "latencies": []}


class Rounds:
    """A journal of one load."""

    def __init__(self, *rounds: dict[str, Any]) -> None:
        self._rounds = list(rounds)

    def rounds(self, kind: str, name: str) -> list[dict[str, Any]]:
        assert (kind, name) == ("load", PLANNED.id)
        return self._rounds


def load(*rates: float, seed: int = 0, **last: Any) -> Measured:
    """Rounds of these rates; the last is as told besides."""
    rounds = [found(rate, seed + number) for number, rate in enumerate(rates)]
    return bench_rows.measured(PLANNED, Rounds(*rounds[:-1], {**rounds[-1], **last}))  # type: ignore[arg-type]


def compared(a: Measured, b: Measured, measure: str = "throughput") -> dict[str, Any]:
    found = bench_rows.compared(a, b)
    assert [one["measure"] for one in found] == [*bench_rows.MEASURES]
    return found[bench_rows.MEASURES.index(measure)]


def verdict(a: Measured, b: Measured, measure: str = "throughput") -> str:
    return str(compared(a, b, measure)["verdict"])


def test_half_as_much_again_is_faster_in_all_measures() -> None:
    a, b = load(150, 152, 149, 150, 151), load(100, 101, 99, 100, 102)
    assert [verdict(a, b, one) for one in bench_rows.MEASURES] == ["faster"] * len(bench_rows.MEASURES)
    assert [verdict(b, a, one) for one in bench_rows.MEASURES] == ["slower"] * len(bench_rows.MEASURES)


def test_the_same_again_is_no_difference_in_any_measure() -> None:
    a, b = load(100, 101, 99, 100, 102), load(101, 99, 100, 102, 100, seed=50)
    assert [verdict(a, b, one) for one in bench_rows.MEASURES] == ["no difference"] * len(bench_rows.MEASURES)


def noisy(seed: int, faster: float) -> Measured:
    """Five rounds of 200 requests on a machine whose speed differs by 2 % from round to round."""
    random = np.random.default_rng(seed)
    rates = 100 * faster * np.exp(random.normal(0, 0.02, 5))
    rounds = [{**found(rate), "latencies": (random.lognormal(5, 0.2, 200) * 100 / rate).tolist()} for rate in rates]
    return bench_rows.measured(PLANNED, Rounds(*rounds))  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["throughput", "p50_ms"])
def test_run_again_the_same_is_seldom_called_different_and_a_tenth_more_always(measure: str) -> None:
    same = [verdict(noisy(seed, 1), noisy(100 + seed, 1), measure) for seed in range(20)]
    more = [verdict(noisy(seed, 1.1), noisy(100 + seed, 1), measure) for seed in range(20)]
    assert same.count("no difference") >= 17
    assert more == ["faster"] * 20


def test_two_per_cent_in_every_round_are_no_difference_worth_the_word() -> None:
    found = compared(load(*[102] * 5), load(*[100] * 5))
    assert found["interval"][0] > 1
    assert (found["verdict"], found["why"]) == ("no difference", "less than 3%")


def test_a_load_that_failed_in_one_round_is_failed_and_keeps_its_exit_status() -> None:
    row = bench_rows.row(load(100, 100, 100, **FAILED), 100)
    assert (row["status"], row["exit_status"], row["why"]) == ("FAILED", 99, [FAILED["failure"]])
    assert "throughput" not in row
    assert row["errors"] is None
    assert [one["throughput"] for one in row["rounds"]] == [100, 100, None]


def test_four_rounds_are_figures_but_no_verdict() -> None:
    a, b = load(*[200] * 5), load(*[100] * 5, others_share=0.3)
    assert (bench_rows.judged(b), verdict(a, b)) == (("ok", []), "invalid run")
    assert compared(a, b)["why"] == "4 rounds count of both, 5 are needed"


def test_nothing_is_compared_with_what_failed() -> None:
    against = compared(load(100, 100, 100), load(100, 100, 100, **FAILED))
    assert (against["verdict"], against["ratio"]) == ("invalid run", None)
    assert "no such model" in against["why"]


@pytest.mark.parametrize(
    ("disturbed", "why"),
    [
        ({"others_share": 0.3}, "busy: other processes took 30% of the cores"),
        ({"steal_share": 0.2}, "throttled: the hypervisor took 20% of the cores"),
        ({"mhz": 1300.0}, "throttled: clocks at 1300 MHz"),
    ],
)
def test_a_disturbed_round_does_not_count(disturbed: dict[str, float], why: str) -> None:
    row = bench_rows.row(load(100, 100, 100, 40, **disturbed), 100)
    assert row["status"] == "ok"
    assert row["throughput"]["interval"] == [100, 100]
    assert row["rounds"][-1]["why"][0].startswith(why)


def test_with_two_rounds_that_count_a_run_is_invalid_but_shown() -> None:
    row = bench_rows.row(load(100, 100, 100, others_share=0.3), 100)
    assert (row["status"], row["why"][0]) == ("invalid", "2 of 3 rounds count, 3 are needed")
    assert row["throughput"]["value"] == 100


def test_a_request_without_an_answer_makes_a_run_invalid() -> None:
    row = bench_rows.row(load(100, 100, 100, 100, errors=2), 100)
    assert (row["status"], row["errors"], row["why"]) == ("invalid", 2, ["2 requests without an answer"])


def test_throughput_that_jumps_from_round_to_round_is_invalid() -> None:
    row = bench_rows.row(load(100, 150, 100), 100)
    assert (row["status"], row["why"][0][:8]) == ("invalid", "unstable")


def test_a_p99_of_too_few_requests_is_not_compared() -> None:
    few = [{**found(100, seed), "latencies": [1.0] * 60} for seed in range(5)]
    a = bench_rows.measured(PLANNED, Rounds(*few))  # type: ignore[arg-type]
    assert compared(a, a, "p99_ms")["why"] == "p99 needs 368 requests, there are 300"
    assert verdict(a, a, "p50_ms") == "no difference"


def test_the_share_offered_is_of_the_capacity_in_all_rounds() -> None:
    rounds = Rounds(*[found(70, seed, rate=70.0) for seed in range(3)])
    at_random = Planned("text_classifier", "text", "grpc", "network", "own", None, 0.7)
    rounds.rounds = lambda kind, name: rounds._rounds  # type: ignore[method-assign]
    row = bench_rows.row(bench_rows.measured(at_random, rounds), 140)  # type: ignore[arg-type]
    assert (row["id"].rpartition("/")[2], row["load"], row["offered_share"]) == ("r70", "poisson", 0.5)


def compared_with(plans: list[Planned]) -> list[tuple[str, str]]:
    pairs = [(one["a"], one["b"]) for one in bench_rows.comparisons([Measured(one, [found(100)], [[]]) for one in plans])]
    return pairs[:: len(bench_rows.MEASURES)]


def test_every_variant_is_compared_with_the_baselines() -> None:
    ours, other, usual = (replace(PLANNED, subject=name) for name in ("text_classifier", "text_ort_fp32", "usual_tf2onnx"))
    assert compared_with([ours, other, usual]) == [(ours.id, other.id), (ours.id, usual.id), (other.id, usual.id)]


def test_other_subjects_are_compared_with_text_classifier_and_ways_in_with_grpc() -> None:
    plans = [
        PLANNED,
        Planned("usual_tf2onnx", "text", "grpc", "network", "own", 16),
        Planned("text_classifier", "text", "http", "network", "own", 16),
        Planned("usual_tf2onnx", "text", "grpc", "network", "own", 64),
    ]
    assert compared_with(plans) == [(plans[0].id, plans[1].id), (plans[2].id, plans[0].id)]
