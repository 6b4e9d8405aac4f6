"""The probabilities of a classifier, whose answers may all stay while these become anything.

A probability is the softmax of logits [rows, labels]; its error is taken over all labels of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from slipway.contract.parity.bounds import CHANCE_EACH, least_count

Logits = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]
_BINS = 15  # of the expected calibration error


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far stated probabilities are from how often answers are right, of labelled rows."""

    ece: float  # expected calibration error of the answer's probability, 15 bins (Naeini 2015)
    brier: float  # mean over rows of the squared error over all labels (Brier 1950)


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Logits and probabilities measured against the reference's."""

    slope: float  # of the logits on the reference's, both centred by row: least squares
    difference_mean: float  # of the rows' largest |Δp|
    difference_p99: float
    before: Calibration
    after: Calibration
    # One-sided lower bounds (bounds.CHANCE_EACH): so much it is in any case. 0: nothing is shown.
    difference_mean_least: float = 0.0
    difference_p99_least: float = 0.0


def centred(logits: Logits) -> Logits:
    """Return logits [rows, labels] less their row's mean: a softmax does not see that."""
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def spread(logits: Logits) -> float:
    """Return the standard deviation of centred logits [rows, labels], which errors are put to."""
    return float(centred(logits).std()) or 1.0


def softmax(logits: Logits) -> Logits:
    """Return the probabilities [rows, labels]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def probabilities(reference: Logits, answers: Logits, labels: Numbers) -> Probabilities | None:
    """Measure finite `answers` against `reference`, [rows, labels]; None without a row.

    `labels` are −1 where a row has none: it does not count for the calibration.
    """
    if not len(reference):
        return None
    before, after = reference.astype(np.float64), answers.astype(np.float64)
    expected, present = centred(before), centred(after)
    scale = float((expected * expected).sum())
    difference = np.sort(np.abs(softmax(after) - softmax(before)).max(axis=1))
    rows, deviation = len(difference), float(difference.std())
    # The least k that is at least the number of rows below the percentile in CHANCE_EACH of all
    # samples.
    place = max(least_count(CHANCE_EACH, rows, 0.99) - 1, 0)
    return Probabilities(
        slope=float((expected * present).sum() / scale) if scale else 1.0,
        difference_mean=float(difference.mean()),
        difference_mean_least=max(float(difference.mean()) + float(special.ndtri(CHANCE_EACH)) * deviation / rows**0.5, 0.0),
        difference_p99=float(np.quantile(difference, 0.99)),
        difference_p99_least=float(difference[place]),
        before=calibration(before, labels),
        after=calibration(after, labels),
    )


def calibration(logits: Logits, labels: Numbers) -> Calibration:
    """Return the calibration of logits [rows, labels] on the rows that have a label."""
    labelled = labels >= 0
    if not labelled.any():
        return Calibration(0.0, 0.0)
    stated, labels = softmax(logits[labelled]), labels[labelled]
    right = stated.argmax(axis=1) == labels
    confidence = stated.max(axis=1)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gap = np.bincount(bins, right - confidence, _BINS)
    truth = np.eye(stated.shape[1])[labels]
    return Calibration(float(np.abs(gap).sum() / len(labels)), float(((stated - truth) ** 2).sum(axis=1).mean()))
