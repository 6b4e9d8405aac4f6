from __future__ import annotations

import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED, Golden
from slipway.contract.parity import comparison
from slipway.contract.ragged import Ragged

LOGITS = np.array([[9, 0], [0, 1], [2, 0], [0, 9]], np.float32)
OTHERS = LOGITS[:, ::-1].copy()  # every answer is another


@pytest.mark.parametrize(
    ("rows", "labels", "compared"),
    [
        ([[2, 3]] * 4, [0, NOT_ASKED, 0, 1], 4),  # a classifier's row without a label has an answer all the same
        ([[2, 5, 6, 3]], [NOT_ASKED, 1, 0, NOT_ASKED], 2),  # a tagger's [CLS] and [SEP] have none
    ],
)
def test_what_is_compared_of_golden_rows_is_what_is_answered(rows: list[list[int]], labels: list[int], compared: int) -> None:
    golden = Golden([""] * len(rows), Ragged.of(rows), np.array(labels), LOGITS)
    assert comparison.compare_golden(golden, OTHERS, ["no", "yes"]).flips == compared


def test_rows_are_ordered_by_the_answer_that_is_nearest_to_another() -> None:
    golden = Golden([""] * 4, Ragged.of([[2, 3]] * 4), np.array([0, 1, 0, 1]), LOGITS)
    assert comparison.by_margin(golden, LOGITS).tolist() == [1, 2, 0, 3]


def test_an_answer_that_is_not_finite_has_changed_in_every_count() -> None:
    broken = LOGITS.copy()
    broken[0, 0] = np.nan
    assert comparison.by_batch(LOGITS, broken, np.full(4, 4))[0].flips == 1
    assert comparison.neighbours("another", LOGITS, broken).flips == 1
