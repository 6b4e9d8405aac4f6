from __future__ import annotations

import pytest

from train.engine.optimizer import Schedule, scaled_rate


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(decay: str) -> None:
    rate = Schedule(2.0, steps=100, warm_up=0.1, decay=decay)
    assert [rate(0), rate(4), rate(9)] == pytest.approx([0.2, 1.0, 2.0])
    assert rate(10) == pytest.approx(2.0)
    assert rate(55) == pytest.approx(1.0)
    assert 0 < rate(99) < 0.03
    assert [rate(100), rate(1000)] == [0.0, 0.0]


def test_cosine_stays_high_longer_and_ends_lower_than_linear() -> None:
    linear, cosine = (Schedule(1.0, steps=100, warm_up=0.0, decay=decay) for decay in ("linear", "cosine"))
    assert cosine(25) == pytest.approx(0.8536, abs=1e-4)  # (1 + cos(π/4)) / 2
    assert cosine(25) > linear(25)
    assert cosine(75) < linear(75)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert Schedule(3.0, steps=10, warm_up=0.0, decay="linear")(0) == 3.0


def test_a_run_that_is_all_warm_up_never_falls() -> None:
    rate = Schedule(1.0, steps=4, warm_up=1.0, decay="linear")
    assert [rate(number) for number in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_a_run_of_one_step_trains() -> None:
    assert Schedule(1.0, steps=1, warm_up=0.1, decay="cosine")(0) == 1.0


def test_the_peak_grows_with_the_ranks_where_that_is_asked_for() -> None:
    assert (scaled_rate(1e-4, 8, True), scaled_rate(1e-4, 8, False)) == (8e-4, 1e-4)
