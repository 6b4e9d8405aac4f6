"""The range test: the sweep, where it ends, and what it suggests."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.errors import TrainingError
from tests.support.training.jobs import JOB
from train.analysis import lr_finder
from train.analysis.lr_finder import Sweep

SWEEP = Sweep(1e-6, 1e-1, 51)


def test_the_sweep_goes_from_the_lowest_to_the_highest_by_equal_factors() -> None:
    rates = [SWEEP(number) for number in range(51)]
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 1e-1))
    assert np.diff(np.log(rates)) == pytest.approx(np.log(rates[1] / rates[0]))


def test_the_running_mean_has_no_bias_towards_its_beginning() -> None:
    assert lr_finder.smoothed([2.0] * 5).tolist() == pytest.approx([2.0] * 5)


def test_the_test_ends_where_the_loss_runs_away() -> None:
    losses = iter([1.0, 1.0, 100.0, 1.0])
    assert lr_finder._until_runaway(losses) == [1.0, 1.0, 100.0]
    assert next(losses) == 1.0  # the step after it was not taken


def test_a_loss_that_is_no_number_ends_the_test_and_is_not_kept() -> None:
    assert lr_finder._until_runaway([1.0, 0.9, float("nan"), 0.8]) == [1.0, 0.9]


def test_the_suggestion_is_a_tenth_of_the_rate_at_the_lowest_loss() -> None:
    losses = [1.4 - 0.02 * number for number in range(40)] + [9.0] * 5
    test = lr_finder.suggest(SWEEP, losses, JOB)
    assert test.lowest_loss_at == pytest.approx(SWEEP(39))
    assert test.suggestion == pytest.approx(SWEEP(39) / 10)
    assert not test.ran_to_the_end


def test_a_loss_that_falls_to_the_end_is_told() -> None:
    assert lr_finder.suggest(SWEEP, [1.4, 1.3, 1.2], JOB).ran_to_the_end


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    with pytest.raises(TrainingError, match="never fell"):
        lr_finder.suggest(SWEEP, [1.0, 1.1, 1.2], JOB)


def test_the_plot_shows_every_step_on_a_logarithmic_axis() -> None:
    figure = lr_finder._plot(lr_finder.suggest(SWEEP, [1.4, 1.3, 1.2], JOB))
    assert [len(curve.x) for curve in figure.data] == [3, 3]
    assert figure.layout.xaxis.type == "log"
