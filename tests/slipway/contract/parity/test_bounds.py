"""The bounds hold as often as they say, by exact enumeration, and decide at so many rows as they
say.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from slipway.contract.parity import bounds, judgement
from slipway.contract.variants import VARIANTS, Limits

INT8 = VARIANTS["ort_int8"].limits
COUNTS = np.arange(30)  # lost rows, and gained ones; a bound is the same whichever rows they are
NETS, GAINS = np.arange(0.05, 6, 0.05), (0.0, 0.1, 0.3, 0.5, 1, 2, 4, 6, 7, 8)  # mean lost less gained, mean gained


@pytest.mark.parametrize("rows", [300, 4000])
def test_the_loss_bound_holds_in_93_8_percent_of_the_cases_or_more(rows: int) -> None:
    bound = np.array([[bounds.loss_bound(lost, gained, rows) for gained in COUNTS] for lost in COUNTS])
    covered = []
    for gain in GAINS:
        # [nets, lost] and [gained]; counts beyond COUNTS are taken for not covered.
        lost, gained = stats.poisson.pmf(COUNTS, NETS[:, None] + gain), stats.poisson.pmf(COUNTS, gain)
        holds = bound >= NETS[:, None, None] / rows
        covered.append(np.einsum("nl,g,nlg->n", lost, gained, holds))
    assert np.min(covered) >= 0.938


def passing(flips: float, lost: float, gained: float, rows: int, limits: Limits = INT8) -> float:
    """The share of 200 samples of such rates that hold every bound."""
    shares = [lost, gained, flips - lost - gained, 1 - flips]
    samples = np.random.default_rng(0).multinomial(rows, shares, 200)
    passed = [
        rows - equal <= rows * limits.flip_rate
        and bounds.rate_bound(rows - equal, rows) <= limits.flip_rate_bound
        and bounds.loss_bound(lost, gained, rows) <= limits.accuracy_loss_bound
        for lost, gained, _, equal in samples
    ]
    return float(np.mean(passed))


@pytest.mark.parametrize(
    ("flips", "lost", "gained"),
    [(0.007, 0.0035, 0.0026), (0.01, 0.006, 0.003), (0.012, 0.006, 0.006), (0.015, 0.004, 0.007)],
)
def test_a_right_model_passes_in_nine_of_ten_tries_with_so_many_rows_as_would_decide(
    flips: float, lost: float, gained: float
) -> None:
    rows = bounds.rows_to_decide(INT8, flips, lost, gained)
    assert 0.85 <= passing(flips, lost, gained, rows) <= 0.98
    assert passing(flips, lost, gained, rows // 2) < 0.85


def test_a_model_beyond_the_limits_is_decided_by_no_number_of_rows() -> None:
    assert bounds.rows_to_decide(INT8, 0.025, 0.01, 0.01) == 0
    assert bounds.rows_to_decide(INT8, 0.015, 0.013, 0.002) == 0


def test_4_lost_of_445_allow_a_loss_of_2_percent_and_show_none() -> None:
    assert bounds.loss_bound(4, 0, 445) == pytest.approx(0.0204, abs=1e-4)
    assert bounds.loss_least(4, 0, 445) <= 0


def test_so_many_rows_as_a_right_int8_model_takes_are_about_a_thousand() -> None:
    assert 500 < judgement.usual_rows(INT8) < 1500


@pytest.mark.parametrize(("lost", "gained"), [(4, 0), (8, 6), (20, 20)])
def test_more_rows_and_fewer_lost_ones_make_the_bound_smaller(lost: int, gained: int) -> None:
    assert bounds.loss_bound(lost, gained, 2000) < bounds.loss_bound(lost, gained, 1000)
    assert bounds.loss_bound(lost - 1, gained, 1000) < bounds.loss_bound(lost + 1, gained, 1000)


@pytest.mark.parametrize("rows", [1, 2, 7, 100, 1500, 50_000])
def test_a_count_and_a_sign_test_are_those_of_scipy_stats(rows: int) -> None:
    for probability, share in ((0.005, 0.99), (0.5, 0.3), (0.95, 0.01)):
        assert bounds.least_count(probability, rows, share) == stats.binom.ppf(probability, rows, share)
    for lost in {0, 1, rows // 3, rows // 2, rows}:
        assert bounds.sign_test(lost, rows - lost) == pytest.approx(stats.binomtest(lost, rows).pvalue)
