"""What rows of numbers mean, and what is refused because it is no choice out of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from export.import_savedmodel import outputs
from export.import_savedmodel.outputs import KINDS, Meaning
from export.options import OUTPUT_KINDS
from slipway.contract.parity.probabilities import softmax
from slipway.errors import ConversionError

LOGITS = np.random.default_rng(0).normal(0, 3, (50, 3)).astype(np.float32)
SHARES = softmax(LOGITS.astype(np.float64)).astype(np.float32)
SIGMOIDS = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (LOGITS, "logits"),
        (SHARES, "probabilities"),
        (SHARES.astype(np.float16), "probabilities"),
        (np.log(SHARES), "log-probabilities"),
        (SIGMOIDS, "multi-label"),
        (SIGMOIDS[:, :1], "sigmoid"),
        (LOGITS[:, :1], "logit"),
    ],
    ids=["logits", "softmax", "softmax in FP16", "log-softmax", "sigmoids", "a sigmoid", "a logit"],
)
def test_the_kind_is_found_by_the_numbers(rows: np.ndarray, kind: str) -> None:
    assert outputs.meaning(rows, None).kind == kind


def test_what_is_given_counts() -> None:
    assert outputs.meaning(SHARES, "logits") == Meaning("logits", "as --output-kind says")


def test_the_options_are_the_kinds() -> None:
    assert tuple(KINDS) == OUTPUT_KINDS


def test_several_labels_at_once_are_refused_by_name_with_the_way_to_take_them_as_scores() -> None:
    meaning = outputs.meaning(SIGMOIDS, None)
    with pytest.raises(ConversionError, match="multi-label") as refused:
        outputs.check(meaning, SIGMOIDS, ["toxic", "insult", "threat"], "model", "slipway import runs/x")
    assert "slipway import runs/x --output-kind logits" in refused.value.fix


@pytest.mark.parametrize(
    ("rows", "given", "labels"),
    [(LOGITS, None, 4), (SIGMOIDS[:, :1], None, 3), (LOGITS, "probabilities", 3), (LOGITS, "sigmoid", 2)],
    ids=["a label too many", "three labels for one number", "probabilities beyond 1", "a row for a sigmoid"],
)
def test_numbers_of_another_kind_are_refused(rows: np.ndarray, given: str | None, labels: int) -> None:
    meaning = outputs.meaning(rows, given)
    with pytest.raises(ConversionError, match="not what they are taken for"):
        outputs.check(meaning, rows, [str(label) for label in range(labels)], "model", "again")


@pytest.mark.parametrize(("rows", "labels"), [(LOGITS, 3), (SHARES, 3), (SIGMOIDS[:, :1], 2), (LOGITS[:, :1], 2)])
def test_one_choice_is_taken(rows: np.ndarray, labels: int) -> None:
    outputs.check(outputs.meaning(rows, None), rows, [str(label) for label in range(labels)], "model", "again")
