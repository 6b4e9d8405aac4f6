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


def test_several_labels_at_once_are_refused_by_name() -> None:
    for given in (None, "probabilities", "multi-label"):
        with pytest.raises(ConversionError, match="multi-label"):
            outputs.check(outputs.meaning(SIGMOIDS, given), SIGMOIDS, ["toxic", "insult", "threat"], "model", "again")


@pytest.mark.parametrize(
    ("rows", "given", "fix"),
    [
        (LOGITS, "probabilities", "again --output-kind logits"),
        (SHARES, "logits", "again --output-kind probabilities"),
        (LOGITS, "log-probabilities", "again --output-kind logits"),
        (LOGITS, "sigmoid", "again --output-kind logits"),
        (SHARES * 100, None, "with probabilities from 0 to 1"),
        (LOGITS, None, "with the --labels of this model"),
        (SIGMOIDS[:, :1], None, "with the --labels of this model"),
    ],
    ids=["no probabilities", "no logits", "no logarithms", "no sigmoid", "percentages", "a label too many", "two labels too many"],
)
def test_numbers_of_another_kind_are_refused_with_what_they_are(rows: np.ndarray, given: str | None, fix: str) -> None:
    with pytest.raises(ConversionError, match="not what they are taken for") as refused:
        outputs.check(
            outputs.meaning(rows, given), rows, ["a", "b", "c"] if given or rows.max() > 90 else list("abcd"), "model", "again"
        )
    assert fix in refused.value.fix


def test_a_softmax_in_few_bits_is_one_choice() -> None:
    rounded = np.round(SHARES, 2)
    outputs.check(outputs.meaning(rounded, None), rounded, ["a", "b", "c"], "model", "again")
    assert outputs.meaning(rounded, None).kind == "probabilities"


@pytest.mark.parametrize(("rows", "labels"), [(LOGITS, 3), (SHARES, 3), (SIGMOIDS[:, :1], 2), (LOGITS[:, :1], 2)])
def test_one_choice_is_taken(rows: np.ndarray, labels: int) -> None:
    outputs.check(outputs.meaning(rows, None), rows, [str(label) for label in range(labels)], "model", "again")


def test_scores_from_0_to_1_are_logits_where_a_person_says_so() -> None:
    outputs.check(outputs.meaning(SIGMOIDS, "logits"), SIGMOIDS, ["a", "b", "c"], "model", "again")
