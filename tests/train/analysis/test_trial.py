"""What lines of progress tell of a job's speed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slipway.errors import TrainingError
from tests.support.training.jobs import JOB
from tests.train.analysis.test_flops import TINY
from tests.train.engine.test_history import step_line
from train.analysis import flops, throughput, trial
from train.distributed.ranks import Ranks
from train.engine.history import StepLine


def lines(steps: int, slow_from: int | None = None) -> list[StepLine]:
    """The first step takes 10 s, every other 2 s: 32 examples of 50 tokens, padded to 60; 0.1 s
    outside of TensorFlow.

    Step `slow_from`, from 0, takes 100 s longer.
    """
    return [
        replace(
            step_line(number + 1, loss=1.0),
            seconds=10.0 + 2.0 * number + 100.0 * (slow_from is not None and number >= slow_from),
            outside_seconds=0.1,
            examples=32 * (number + 1),
            tokens=32 * 50 * (number + 1),
            padded_tokens=32 * 60 * (number + 1),
        )
        for number in range(steps)
    ]


def test_the_first_steps_are_not_timed() -> None:
    timed = trial.timed_steps(lines(6), untimed=1, peak_memory=7, job=JOB)
    assert timed.per_second(timed.examples) == {"median": 16.0, "low": 16.0, "high": 16.0}
    assert (len(timed.seconds), timed.first_step, timed.peak_memory) == (5, 10.0, 7)


def test_without_untimed_steps_the_first_counts_from_the_start() -> None:
    assert trial.timed_steps(lines(2), untimed=0, peak_memory=0, job=JOB).seconds.tolist() == [10.0, 2.0]


def test_a_job_of_too_few_steps_is_refused_with_both_numbers() -> None:
    with pytest.raises(TrainingError, match=r"more than 3 steps.*(?s:.*)found     3 steps"):
        trial.timed_steps(lines(3), untimed=3, peak_memory=0, job=JOB)


def test_padding_and_time_outside_are_shares() -> None:
    timed = trial.timed_steps(lines(4), untimed=1, peak_memory=0, job=JOB)
    assert timed.padding_waste == pytest.approx(10 / 60)
    assert timed.outside_share == pytest.approx(0.05)


def test_one_slow_stretch_does_not_move_the_median() -> None:
    timed = trial.timed_steps(lines(41, slow_from=30), untimed=1, peak_memory=0, job=JOB)
    assert timed.per_second(timed.examples)["median"] == pytest.approx(16.0)


def costs(**job: Any) -> throughput.StepCost:
    timed = trial.timed_steps(lines(4), untimed=1, peak_memory=0, job=JOB)
    figures = throughput.training_speed(timed, replace(JOB, **job), TINY, {"float32": 1e9, "bfloat16": 4e9})
    assert figures.flops
    return figures.flops


def test_the_texts_own_operations_are_told_apart_from_those_with_padding() -> None:
    assert costs().model.per_example == pytest.approx(flops.training(TINY, 50, 4))
    assert costs().fed.per_example == pytest.approx(flops.training(TINY, 60, 4))


def test_the_share_of_the_peak_is_of_the_precision_that_is_computed_in() -> None:
    plain, mixed = (costs(amp=amp).model.share_of_peak for amp in ("none", "bfloat16"))
    assert plain == pytest.approx(16 * flops.training(TINY, 50, 4) / 1e9)
    assert mixed == pytest.approx(16 * flops.training(TINY, 50, 4) / 4e9)


def test_of_an_encoder_that_is_not_recognised_no_operations_are_claimed() -> None:
    timed = trial.timed_steps(lines(4), untimed=1, peak_memory=0, job=JOB)
    assert throughput.training_speed(timed, JOB, None, {}).flops is None


def test_pinned_ranks_are_compared_with_the_peak_of_their_cores() -> None:
    assert throughput.threads(Ranks(processes=2, cores_per_rank=3)) == 6


def test_the_rates_are_of_whole_stretches_and_not_of_single_steps() -> None:
    timed = trial.timed_steps(lines(21), untimed=1, peak_memory=0, job=JOB)
    assert timed.per_second(np.arange(20.0))["high"] < 19 / 2.0
