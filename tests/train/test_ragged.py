from __future__ import annotations

import numpy as np

from train.ragged import Ragged, length_sorted_batches

ROWS = Ragged.of([[101, 7, 102], [101, 102], [101, 7, 8, 9, 102]])


def test_rows_come_back_as_they_were() -> None:
    assert [list(ROWS[i]) for i in range(len(ROWS))] == [[101, 7, 102], [101, 102], [101, 7, 8, 9, 102]]


def test_padding_is_zero_and_masked() -> None:
    feed = ROWS.take(np.array([0, 1])).padded(4)
    assert feed["input_word_ids"].tolist() == [[101, 7, 102, 0], [101, 102, 0, 0]]
    assert feed["input_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_sorted_batches_hold_every_row_once_longest_first() -> None:
    parts = [list(part) for part in length_sorted_batches(np.array([3, 9, 4, 1]), batch=2)]
    assert parts == [[1, 2], [0, 3]]
