from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.labelling import Unlabelled
from slipway.contract.ragged import Ragged
from slipway.contract.tokenizer import Tokenizer
from train.data import dataset
from train.data.corpus import Corpus, Example
from train.data.dataset import Split

ROWS = Ragged.of([[2, 7, 8, 3], [2, 9, 3]])
CLASSIFIER = Split(ROWS, np.array([5, 6]), tagger=False)
TAGGER = Split(ROWS, np.array([NOT_ASKED, 1, NOT_ASKED, NOT_ASKED, NOT_ASKED, 0, NOT_ASKED]), tagger=True)


def test_a_classifiers_micro_batch_has_a_label_a_row() -> None:
    feed, labels = CLASSIFIER.micro_batch(np.array([1, 0]), 6)
    assert feed["input_word_ids"].tolist() == [[2, 9, 3, 0, 0, 0], [2, 7, 8, 3, 0, 0]]
    assert labels.tolist() == [6, 5]


def test_a_taggers_micro_batch_has_a_label_a_token_and_asks_for_none_in_the_padding() -> None:
    _, labels = TAGGER.micro_batch(np.array([1, 0]), 5)
    assert labels.tolist() == [[-1, 0, -1, -1, -1], [-1, 1, -1, -1, -1]]


def test_answers_asked_for_are_rows_and_of_a_tagger_words() -> None:
    assert CLASSIFIER.labelled(np.array([0, 1])) == 2
    assert TAGGER.labelled(np.array([0])) == 1


@pytest.mark.parametrize(
    ("task", "example", "ids", "types"),
    [
        ("single_text", Example("a b", 1), [2, 4, 5, 3], [0, 0, 0, 0]),
        ("text_pair", Example(("a", "b"), 1), [2, 4, 3, 5, 3], [0, 0, 0, 1, 1]),
        ("tagging", Example(["a", "b"], [0, 1]), [2, 4, 5, 3], [0, 0, 0, 0]),
    ],
)
def test_what_was_loaded_is_what_every_rank_reads(
    tmp_path: Path, task: str, example: Example, ids: list[int], types: list[int]
) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n")
    corpus = Corpus(task, [example], [], [example, example], ("no", "yes"), "here", "0", generated=False, bad_rows=0)
    dataset.write(corpus, tmp_path)
    splits = dataset.read(tmp_path, task, Tokenizer(tmp_path / "vocab.txt", lower_case=True, max_seq_len=8))
    assert {name: len(split) for name, split in splits.items()} == {"train": 1, "validation": 0, "test": 2}
    assert splits["train"].rows[0].tolist() == ids
    assert splits["train"].rows.types.tolist() == types
    assert splits["train"].labels.tolist() == ([-1, 0, 1, -1] if task == "tagging" else [1])


def test_texts_without_labels_follow_the_test_rows_and_are_not_asked(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n")
    extra = Unlabelled(["b a", "b"], 0, "texts.txt", "0")
    a_and_b = [Example("a", 0), Example("b", 1)]
    corpus = Corpus("single_text", a_and_b, [], a_and_b, ("no", "yes"), "here", "0", generated=False, bad_rows=0, unlabelled=extra)
    dataset.write(corpus, tmp_path)
    splits = dataset.read(tmp_path, "single_text", Tokenizer(tmp_path / "vocab.txt", lower_case=True, max_seq_len=8))
    assert {name: split.labels.tolist() for name, split in splits.items()} == {
        "train": [0, 1],
        "validation": [],
        "test": [0, 1, NOT_ASKED, NOT_ASKED],
    }
    assert splits["test"].rows[2].tolist() == [2, 5, 4, 3]
