"""Probe rows hold what golden texts do not: every piece, every position, both segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.bundle import TASKS
from slipway.contract.parity import probes
from slipway.contract.parity.probes import ProbeRows
from slipway.contract.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(400)), "the", "##s"]
LONGEST = 48


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", "utf-8")
    return path


def rows(vocabulary: Path, task: str = "single_text") -> ProbeRows:
    tokenizer = Tokenizer(vocabulary, lower_case=True, max_seq_len=LONGEST)
    return probes.rows(tokenizer, vocabulary, LONGEST, task)


def test_every_word_piece_but_padding_occurs(vocabulary: Path) -> None:
    assert set(rows(vocabulary).ids.ids.tolist()) == set(range(1, len(PIECES)))


def test_rows_reach_the_last_position_and_both_segments(vocabulary: Path) -> None:
    ids = rows(vocabulary).ids
    assert ids.lengths.max() == LONGEST
    assert set(ids.types.tolist()) == {0, 1}


@pytest.mark.parametrize("task", TASKS)
def test_the_first_rows_are_the_texts_as_the_tokenizer_reads_them(vocabulary: Path, task: str) -> None:
    tokenizer = Tokenizer(vocabulary, lower_case=True, max_seq_len=LONGEST)
    made = rows(vocabulary, task)
    texts: list[Any] = [tuple(text) if task == "text_pair" else text for text in made.texts]
    tokens = tokenizer.of_words(texts) if task == "tagging" else tokenizer(texts)
    assert [row.ids for row in tokens] == [made.ids[row].tolist() for row in range(len(texts))]


def test_a_text_of_which_nothing_is_left_is_no_probe(vocabulary: Path) -> None:
    made = rows(vocabulary)
    assert min(len(made.ids[row]) for row in range(len(made.texts))) > 2


def test_some_texts_are_cut_and_most_are_not(vocabulary: Path) -> None:
    lengths = [len(ids) for ids in map(rows(vocabulary).ids.__getitem__, range(len(probes.TEXTS)))]
    assert 0 < sum(length == LONGEST for length in lengths) < len(probes.TEXTS) / 2


def test_a_tokenizer_that_no_longer_lowers_reads_the_vocabularys_own_words_otherwise(vocabulary: Path) -> None:
    vocabulary.write_text("\n".join([*PIECES, "alpha", "beta", "gamma"]) + "\n", "utf-8")
    cased = Tokenizer(vocabulary, lower_case=False, max_seq_len=LONGEST)
    made = rows(vocabulary)
    assert [row.ids for row in cased(made.texts)] != [made.ids[row].tolist() for row in range(len(made.texts))]


def test_the_same_vocabulary_gives_the_same_rows(vocabulary: Path) -> None:
    assert np.array_equal(rows(vocabulary).ids.ids, rows(vocabulary).ids.ids)
