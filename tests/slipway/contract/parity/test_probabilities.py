from __future__ import annotations

import numpy as np
import pytest

from slipway.contract.parity import probabilities

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (500, 3)).astype(np.float32)
LABELS = LOGITS.argmax(axis=1)


def test_equal_logits_differ_by_nothing() -> None:
    measured = probabilities.probabilities(LOGITS, LOGITS, LABELS)
    assert measured
    assert (measured.slope, measured.difference_mean, measured.before) == (pytest.approx(1), 0, measured.after)


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_the_slope_is_the_scale(scale: float) -> None:
    measured = probabilities.probabilities(LOGITS, LOGITS * np.float32(scale), LABELS)
    assert measured
    assert measured.slope == pytest.approx(scale)


def test_noise_leaves_the_slope() -> None:
    noisy = LOGITS + RANDOM.normal(0, 0.5, LOGITS.shape).astype(np.float32)
    measured = probabilities.probabilities(LOGITS, noisy, LABELS)
    assert measured
    assert measured.slope == pytest.approx(1, abs=0.05)


def test_a_model_that_is_sure_and_always_right_is_calibrated() -> None:
    sure = 50 * np.eye(3, dtype=np.float32)[LABELS]
    measured = probabilities.calibration(sure, LABELS)
    assert (measured.ece, measured.brier) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))


def test_a_model_that_is_sure_and_right_in_half_of_the_rows_is_off_by_a_half() -> None:
    sure = 50 * np.eye(3, dtype=np.float32)[np.where(np.arange(500) % 2, LABELS, (LABELS + 1) % 3)]
    assert probabilities.calibration(sure, LABELS).ece == pytest.approx(0.5)


def test_rows_without_a_label_do_not_count_for_the_calibration() -> None:
    labels = np.where(np.arange(500) < 100, LABELS, -1)
    assert probabilities.calibration(LOGITS, labels) == probabilities.calibration(LOGITS[:100], LABELS[:100])


def test_without_a_row_nothing_is_measured() -> None:
    assert probabilities.probabilities(LOGITS[:0], LOGITS[:0], LABELS[:0]) is None


def test_the_lower_bounds_of_a_sample_lie_below_the_values_of_all_rows_in_95_of_100_samples() -> None:
    noisy = LOGITS + RANDOM.normal(0, 0.5, LOGITS.shape).astype(np.float32)
    whole = probabilities.probabilities(LOGITS, noisy, LABELS)
    samples = [RANDOM.integers(0, len(LOGITS), 300) for _ in range(300)]
    drawn = [probabilities.probabilities(LOGITS[rows], noisy[rows], LABELS[rows]) for rows in samples]
    assert whole
    assert np.mean([part.difference_mean_least <= whole.difference_mean for part in drawn if part]) > 0.9
    assert np.mean([part.difference_p99_least <= whole.difference_p99 for part in drawn if part]) > 0.9
