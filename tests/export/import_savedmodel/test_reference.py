from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.import_savedmodel.reference import Infer, check_answers, check_repeatable
from slipway.contract.ragged import Feed, Ragged
from slipway.errors import ConversionError

IDS = Ragged.of([[2, 4, 3], [2, 5, 4, 3]])


def answering(noise: float) -> Infer:
    random = np.random.default_rng(0)

    def infer(feed: Feed) -> np.ndarray:
        logits = np.stack([feed["input_word_ids"].sum(axis=1), feed["input_mask"].sum(axis=1)], axis=1)
        return np.float32(logits + noise * random.normal(size=logits.shape))

    return infer


def test_a_model_that_answers_differently_each_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="dropout or another random operation in its serving signature") as refused:
        check_repeatable(answering(0.1), IDS, tmp_path, "slipway import runs/x")
    assert "slipway import runs/x" in refused.value.fix


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_a_model_that_answers_the_same_but_for_rounding_is_taken(tmp_path: Path, noise: float) -> None:
    check_repeatable(answering(noise), IDS, tmp_path, "slipway import runs/x")


@pytest.mark.parametrize(
    ("answer", "task"),
    [
        (lambda ids: np.full((len(ids), 2), np.nan), "single_text"),
        (lambda ids: np.zeros((*ids.shape, 2)), "single_text"),
        (lambda ids: np.zeros((len(ids), 2)), "tagging"),
        (lambda ids: np.zeros((len(ids), 9, 2)), "tagging"),
        (lambda ids: np.zeros(len(ids)), "single_text"),
    ],
    ids=["NaN", "a tagger with texts", "a classifier with words", "another length", "no labels"],
)
def test_answers_of_another_task_or_that_are_no_numbers_are_refused(
    answer: Callable[[np.ndarray], np.ndarray], task: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match="do not fit the rows"):
        check_answers(lambda feed: answer(feed["input_word_ids"]).astype(np.float32), IDS, task, tmp_path, "again")


def test_a_model_that_answers_nan_is_not_called_repeatable(tmp_path: Path) -> None:
    with pytest.raises(ConversionError):
        check_repeatable(lambda feed: np.full((2, 2), np.nan, np.float32), IDS, tmp_path, "again")
