"""Metrics of predicted labels: those of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.scoring import scores


def logits(predicted: list[int], labels: int) -> np.ndarray:
    return np.eye(labels, dtype=np.float32)[predicted]


def test_a_row_of_the_confusion_is_a_true_label() -> None:
    assert scores.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_precision_recall_and_f1_are_those_of_the_definition() -> None:
    # class 0: 3 rows, 2 found, 1 answer wrong → precision 2/3, recall 2/3; class 1: 2 rows, 1 found
    # of 2 answers
    one, other = scores.per_class(np.array([[2, 1], [1, 1]]))
    assert one == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3), "rows": 3}
    assert other == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    one = scores.per_class(np.array([[6, 2], [4, 8]]))[0]
    assert one["f1"] == pytest.approx(2 / (1 / one["precision"] + 1 / one["recall"]))


def test_a_class_never_answered_and_one_without_rows_score_zero() -> None:
    never, without = scores.per_class(np.array([[0, 2], [0, 0]]))
    assert (never["precision"], never["recall"], never["f1"]) == (0.0, 0.0, 0.0)
    assert (without["recall"], without["rows"]) == (0.0, 0)


def test_macro_f1_is_the_mean_over_the_classes_that_have_rows() -> None:
    found = scores.score(logits([0, 1, 1], 3), np.array([0, 1, 0]), ["a", "b", "never seen"], None)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["test_accuracy"] == pytest.approx(2 / 3)


def test_of_a_tagger_only_asked_words_count() -> None:
    expected = np.array([NOT_ASKED, 0, NOT_ASKED, 1, NOT_ASKED])
    found = scores.score(logits([1, 0, 1, 0, 1], 2), expected, ["O", "LOC"], None)
    assert found["test_rows"] == 2
    assert found["confusion"] == [[1, 0], [1, 0]]
    assert found["per_class"]["LOC"]["rows"] == 1


def test_nothing_to_score_is_an_error_and_not_a_perfect_score() -> None:
    with pytest.raises(ValueError, match="no answer to score"):
        scores.score(logits([0], 2), np.array([NOT_ASKED]), ["a", "b"], None)
