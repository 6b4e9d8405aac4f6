"""What the ranks wrote becomes golden rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.labelling import Unlabelled
from slipway.contract.ragged import Ragged
from slipway.errors import TrainingError
from train import finetune, write_bundle
from train.data import corpus
from train.data.corpus import Corpus, Example
from train.data.dataset import Split

TEST = [Example(f"test {row}", row % 2) for row in range(10)]
EXTRA = Unlabelled(["new", "newer"], 0, "texts.txt", "0")
LABELS = np.array([*(example.label for example in TEST), NOT_ASKED, NOT_ASKED])
SPLIT = Split(Ragged.of([[2, row, 3] for row in range(12)]), LABELS, tagger=False)


def golden(count: int, unlabelled: Unlabelled | None = EXTRA) -> write_bundle.bundle.Golden:
    data = Corpus("single_text", [], [], TEST, ("a", "b"), "here", "0", generated=False, bad_rows=0, unlabelled=unlabelled)
    return write_bundle.golden(data, SPLIT, np.arange(24, dtype=np.float32).reshape(12, 2), count, seed=1)


def test_texts_without_labels_are_golden_rows_after_the_test_rows() -> None:
    assert golden(0).texts == [*(example.text for example in TEST), "new", "newer"]
    assert golden(0).labels.tolist() == LABELS.tolist()


def test_a_sample_is_taken_of_the_test_rows_alone() -> None:
    sampled = golden(4)
    assert (len(sampled.texts), sampled.texts[4:]) == (6, ["new", "newer"])
    assert sampled.labels[:4].tolist().count(1) == 2


def test_each_golden_row_keeps_its_ids_and_logits() -> None:
    sampled = golden(4)
    assert sampled.ids[5].tolist() == [2, 11, 3]
    assert sampled.logits[5].tolist() == [22.0, 23.0]


def share(scratch: Path, rank: int, name: str, answers: list[int]) -> None:
    np.savez(scratch / f"{name}.{rank}.npz", answers=np.array(answers), logits=np.array([[row, -row] for row in answers]))


def test_logits_of_all_ranks_are_put_in_order_and_those_of_other_rows_are_not_taken(tmp_path: Path) -> None:
    share(tmp_path, 0, "test", [2, 0])
    share(tmp_path, 1, "test", [1])
    share(tmp_path, 0, "probe", [0])
    assert write_bundle.gathered_logits(tmp_path, "test", 3, "again")[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("answers", [[0], [0, 0], [0, 2]])
def test_a_row_that_no_rank_answered_is_an_error(tmp_path: Path, answers: list[int]) -> None:
    share(tmp_path, 0, "probe", answers)
    with pytest.raises(TrainingError, match="every probe row"):
        write_bundle.gathered_logits(tmp_path, "probe", 2, "again")


def test_few_golden_rows_are_told_before_training_with_how_many_would_do(
    generated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = corpus.load(generated)
    finetune._warn_of_few_golden_rows(data, 400)
    told = capsys.readouterr().out
    assert "400 golden rows" in told
    assert "ort_int8" in told
    assert "ort_fp32" not in told


def test_many_golden_rows_are_not_worth_a_word(generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finetune._warn_of_few_golden_rows(corpus.load(generated), 0)
    assert capsys.readouterr().out == ""
