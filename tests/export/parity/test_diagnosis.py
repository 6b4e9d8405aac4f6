"""What a person is told about answers that differ: the right cause, and no other beside it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from export.parity import diagnosis

Logits = NDArray[np.float32]
NAMES = ["World", "Sports", "Business", "Sci/Tech"]
ROWS = 2400


def confident(labels: int) -> Logits:
    """Logits of a trained classifier: its answer stands out, and most rows look alike."""
    random = np.random.default_rng(0)
    logits = random.normal(-1.5, 0.5, (ROWS, labels))
    logits[np.arange(ROWS), random.integers(labels, size=ROWS)] = random.normal(4, 1, ROWS)
    return logits.astype(np.float32)


def explain(answers: Logits, reference: Logits) -> list[str]:
    lengths = np.full(ROWS, 20)
    return diagnosis.explain(reference, answers, lengths, NAMES[: reference.shape[1]], 0.02)


def others_at(level: float) -> Callable[[Logits], Logits]:
    return lambda logits: np.where(logits == logits.max(axis=1, keepdims=True), logits, np.float32(level))


def others_lowered(amount: float) -> Callable[[Logits], Logits]:
    return lambda logits: logits - np.float32(amount) * (logits < logits.max(axis=1, keepdims=True))


def business_raised(logits: Logits) -> Logits:
    return logits + np.array([0, 0, 0.7, 0], np.float32)


FAULTS: dict[str, tuple[Callable[[Logits], Logits], str]] = {
    "scaled up": (lambda logits: 3 * logits, "the logits are 3.00 times the reference's"),
    "scaled down": (lambda logits: logits / 5, "the logits are 0.20 times the reference's"),
    "turned round": (lambda logits: -logits, "the logits are -1.00 times the reference's"),
    "one label raised": (business_raised, "in every row, Business is raised by 0.70"),
    "the others at −30": (others_at(-30), "in every row, all labels but the answered one have the logit -30.0"),
    "the others lowered": (others_lowered(27), "in every row, all labels but the answered one are lowered by 27.00"),
    "moved as a whole": (
        lambda logits: logits + np.float32(5),
        "all logits of a row are moved by the same amount, which changes no probability",
    ),
    "the same for every text": (np.zeros_like, "the same logits for every text: the ids do not reach the answer"),
    "labels in another order": (
        lambda logits: logits[:, [1, 0, 2, 3]],
        "the labels are in another order: World is in the place of Sports, Sports is in the place of World",
    ),
    "rows in another order": (
        lambda logits: logits[::-1],
        "the rows are in another order: nearly every expected answer is there, at another place",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_nothing_else_beside_it(fault: str) -> None:
    change, sentence = FAULTS[fault]
    assert explain(change(confident(4)), confident(4)) == [sentence]


# With noise the others are not told from chance.
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"moved as a whole", "the same for every text", "rows in another order"}))
def test_a_fault_is_named_also_through_the_noise_of_eight_bits(fault: str) -> None:
    change, sentence = FAULTS[fault]
    noise = np.random.default_rng(1).normal(0, 0.02, (ROWS, 4)).astype(np.float32)
    assert without_digits(explain(change(confident(4)) + noise, confident(4))) == without_digits([sentence])


def without_digits(sentences: list[str]) -> list[str]:
    return [re.sub(r"\d", "", sentence) for sentence in sentences]


@pytest.mark.parametrize("factor", [3, 0.2])
def test_two_labels_that_are_scaled_are_not_called_rows_in_another_order(factor: float) -> None:
    reference = confident(2)
    assert explain(reference * np.float32(factor), reference) == [f"the logits are {factor:.2f} times the reference's"]


def test_two_labels_in_another_order_are_not_called_a_negative_scale() -> None:
    [sentence] = explain(confident(2)[:, ::-1], confident(2))
    assert sentence.startswith("the labels are in another order")


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("deviation", [0.1, 1, 5])
def test_noise_is_called_nothing_that_it_is_not(labels: int, deviation: float) -> None:
    noise = np.random.default_rng(1).normal(0, deviation, (ROWS, labels)).astype(np.float32)
    assert explain(confident(labels) + noise, confident(labels)) == []


def test_equal_answers_need_no_sentence() -> None:
    assert explain(confident(4), confident(4)) == []


def test_answers_that_change_from_run_to_run_are_called_random() -> None:
    [sentence] = diagnosis.random(0.3, 1e-4)
    assert sentence.startswith("the same rows give other answers each time, by up to 0.3")
    assert "random" in sentence


def test_the_last_bit_of_a_sum_is_not_called_random() -> None:
    assert diagnosis.random(1e-5, 1e-4) == []


def test_answers_that_are_no_numbers_are_called_so_and_nothing_else() -> None:
    broken = confident(4)
    broken[:10] = np.nan
    assert explain(broken, confident(4)) == [f"NaN or Inf in 10 of {ROWS} rows"]


def test_answers_that_were_almost_ties_are_called_rounding() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(400, 3)) * np.where(np.arange(400) < 200, 0.05, 4)[:, None]
    rounded = reference + random.normal(size=reference.shape) * 0.05
    [sentence] = diagnosis.explain(reference, rounded, np.full(400, 9), ["a", "b", "c"], limit=0.02)
    assert "almost ties" in sentence


def test_answers_that_change_anywhere_are_not_called_rounding() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(400, 3)) * 4
    wrong = reference.copy()
    wrong[::9] = random.normal(size=wrong[::9].shape) * 4
    assert diagnosis.explain(reference, wrong, np.full(400, 9), ["a", "b", "c"], limit=0.02) == []
