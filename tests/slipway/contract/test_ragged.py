from __future__ import annotations

import numpy as np

from slipway.contract.ragged import Ragged, infer_rows, length_sorted_batches, random_batches

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


MANY = Ragged.of(
    [np.random.default_rng(length).integers(1, 99, length) for length in (4, 2, 7, 4, 9, 2, 5)],
    [np.arange(length) > length // 2 for length in (4, 2, 7, 4, 9, 2, 5)],
)


def test_taken_rows_keep_their_ids_and_segments() -> None:
    chosen = np.array([4, 0, 6, 0])
    found = MANY.take(chosen)
    for place, row in enumerate(chosen):
        tokens = slice(MANY.offsets[row], MANY.offsets[row + 1])
        assert found[place].tolist() == MANY.ids[tokens].tolist()
        assert found.types[found.offsets[place] : found.offsets[place + 1]].tolist() == MANY.types[tokens].tolist()


def test_segments_are_padded_with_zero_where_they_belong() -> None:
    feed = MANY.take(np.array([0, 1])).padded()
    assert feed["input_type_ids"].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]


def test_a_classifiers_answers_come_back_in_the_order_of_the_rows() -> None:
    found = infer_rows(lambda feed: feed["input_word_ids"][:, :1].astype(np.float32), MANY, 3)
    assert found[:, 0].tolist() == [MANY[row][0] for row in range(len(MANY))]


def test_a_taggers_answers_come_back_token_by_token_in_the_order_of_the_rows() -> None:
    done: list[int] = []
    found = infer_rows(lambda feed: feed["input_word_ids"][:, :, None].astype(np.float32), MANY, 3, done=done.append)
    assert found[:, 0].tolist() == MANY.ids.tolist()
    assert done == [3, 3, 1]


def test_random_batches_hold_every_row_once_and_every_size() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 700)
    batches = random_batches(lengths, 32)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(700))
    assert {len(batch) for batch in batches} == set(range(1, 33))


def test_random_batches_of_few_rows_are_whole() -> None:
    batches = random_batches(np.array([5, 9, 7]), 32)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(3))
