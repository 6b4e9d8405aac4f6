"""What lines of progress tell of a job's speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.train.test_flops import TINY
from train import flops, measure, speed
from train.errors import TrainingError
from train.ranks import Ranks


def lines(steps: int) -> list[dict[str, float]]:
    """The first step takes 10 s, every other 2 s: 32 examples of 50 tokens, padded to 60; 0.1 s outside of TensorFlow."""
    return [
        {
            "seconds": 10.0 + 2.0 * number,
            "outside_seconds": 0.1,
            "examples": 32 * (number + 1),
            "tokens": 32 * 50 * (number + 1),
            "padded_tokens": 32 * 60 * (number + 1),
        }
        for number in range(steps)
    ]


def test_the_first_steps_are_not_timed() -> None:
    timed = speed.of_lines(lines(6), untimed=1, peak_memory=7)
    assert timed.per_second(timed.examples) == {"median": 16.0, "low": 16.0, "high": 16.0}
    assert (len(timed.seconds), timed.first_step, timed.peak_memory) == (5, 10.0, 7)


def test_without_untimed_steps_the_first_counts_from_the_start() -> None:
    assert speed.of_lines(lines(2), untimed=0, peak_memory=0).seconds.tolist() == [10.0, 2.0]


def test_a_job_of_too_few_steps_is_refused_with_both_numbers() -> None:
    with pytest.raises(TrainingError, match=r"more than 3 steps.*(?s:.*)found     3 steps"):
        speed.of_lines(lines(3), untimed=3, peak_memory=0)


def test_padding_and_time_outside_are_shares() -> None:
    timed = speed.of_lines(lines(4), untimed=1, peak_memory=0)
    assert timed.padding_waste == pytest.approx(10 / 60)
    assert timed.outside_share == pytest.approx(0.05)


def test_one_slow_stretch_does_not_move_the_median() -> None:
    found = lines(41)
    for line in found[30:]:
        line["seconds"] += 100.0
    timed = speed.of_lines(found, untimed=1, peak_memory=0)
    assert timed.per_second(timed.examples)["median"] == pytest.approx(16.0)


def summary(**job: Any) -> dict[str, Any]:
    timed = speed.of_lines(lines(4), untimed=1, peak_memory=0)
    settings = {"labels": 4, "task": "single_text", "fine_tune_layers": -1, "amp": "none"} | job
    return measure.summary(timed, _Job(**settings), TINY, {"float32": 1e9, "bfloat16": 4e9})  # type: ignore[arg-type]


class _Job:
    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)


def test_the_texts_own_operations_are_told_apart_from_those_with_padding() -> None:
    found = summary()["flops"]
    assert found["model"]["per_example"] == pytest.approx(flops.training(TINY, 50, 4))
    assert found["fed"]["per_example"] == pytest.approx(flops.training(TINY, 60, 4))


def test_the_share_of_the_peak_is_of_the_precision_that_is_computed_in() -> None:
    plain, mixed = (summary(amp=amp)["flops"]["model"] for amp in ("none", "bfloat16"))
    assert plain["share_of_peak"] == pytest.approx(16 * flops.training(TINY, 50, 4) / 1e9)
    assert mixed["share_of_peak"] == pytest.approx(plain["share_of_peak"] / 4)


def test_of_an_encoder_that_is_not_recognised_no_operations_are_claimed() -> None:
    timed = speed.of_lines(lines(4), untimed=1, peak_memory=0)
    assert measure.summary(timed, _Job(), None, {})["flops"] is None  # type: ignore[arg-type]


def test_pinned_ranks_are_compared_with_the_peak_of_their_cores() -> None:
    assert measure.threads(Ranks(processes=2, cores_per_rank=3)) == 6


def test_the_rates_are_of_whole_stretches_and_not_of_single_steps() -> None:
    found = lines(21)
    timed = speed.of_lines(found, untimed=1, peak_memory=0)
    assert timed.per_second(np.arange(20.0))["high"] < 19 / 2.0
