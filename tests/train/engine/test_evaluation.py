"""Answers to validation rows, and of the SavedModel to test and probe rows; the shares of several
ranks are seen in test_finetune.py and test_end_to_end.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway.contract.ragged import Feed, Ragged
from slipway.tensorflow import tf_keras
from tests.support.models import tiny_modules
from train.data.dataset import Split
from train.distributed.watchdog import DONE, Heartbeat
from train.engine import evaluation

pytestmark = pytest.mark.usefixtures("one_rank")


@pytest.fixture(scope="module")
def model(module: str) -> tf_keras.Model:
    return tiny_modules.build(tiny_modules.job(module))


def split(rows: int) -> Split:
    lengths = np.arange(rows) % 9 + 2
    ids = np.arange(lengths.sum()) % tiny_modules.WORDS
    return Split(
        Ragged(ids.astype(np.int32), np.zeros_like(ids, np.int32), np.r_[0, np.cumsum(lengths)]), np.arange(rows) % 4, False
    )


def test_loss_and_accuracy_are_those_of_the_logits(model: tf_keras.Model, tmp_path: Path) -> None:
    validation = split(40)
    logits = model(validation.rows.padded(), training=False).numpy()
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(chances[np.arange(40), validation.labels]).mean(), (logits.argmax(axis=1) == validation.labels).mean()
    answered = evaluation.validate(model, validation, Heartbeat(tmp_path, 0), 1, stop=lambda: False)
    assert answered == pytest.approx(expected, abs=1e-5)


def test_asked_to_stop_it_ends_before_the_next_batch(model: tf_keras.Model, tmp_path: Path) -> None:
    wishes = iter([False, True])
    assert evaluation.validate(model, split(100), Heartbeat(tmp_path, 0), 1, stop=lambda: next(wishes)) is None
    assert next(wishes, "all were taken") == "all were taken"


class FirstIds:
    """Answers as a SavedModel would, with each token's id (tagger), or the first token's."""

    def __init__(self, directory: Path) -> None:
        self.tagger = directory.parent.name == "tagger"

    def infer(self, feed: Feed) -> np.ndarray:
        ids = np.float32(feed["input_word_ids"])[..., None]
        return ids if self.tagger else ids[:, 0]


@pytest.mark.parametrize("task", ["tagger", "classifier"])
def test_every_row_is_answered_once_and_the_answers_are_numbered(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SavedClassifier", FirstIds)
    directory = tmp_path / task
    directory.mkdir()
    rows = {"test": split(70).rows, "probe": split(5).rows}
    evaluation.write_logits(rows, directory, Heartbeat(directory, 0), 1, tagger=task == "tagger")
    for name, ids in rows.items():
        with np.load(directory / f"{name}.0.npz") as written:
            answers, logits = written["answers"], written["logits"]
        expected = ids.ids if task == "tagger" else ids.ids[ids.offsets[:-1]]
        assert logits[np.argsort(answers)][:, 0].tolist() == expected.tolist()


class Positions(Heartbeat):
    """A heartbeat that keeps where its rank was."""

    def __init__(self, directory: Path) -> None:
        self.positions: list[tuple[int, ...]] = []
        super().__init__(directory, 0)

    def at(self, phase: str, *position: int) -> None:
        self.positions.append(position)
        super().at(phase, *position)


def test_its_sign_of_life_counts_the_batches_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "SavedClassifier", FirstIds)
    heartbeat = Positions(tmp_path)
    heartbeat.positions.clear()
    evaluation.write_logits({"test": split(70).rows, "probe": split(5).rows}, tmp_path, heartbeat, 7, tagger=False)
    assert heartbeat.positions == [(7, DONE, batch) for batch in range(4)]  # 32, 32 and 6 rows, then 5
