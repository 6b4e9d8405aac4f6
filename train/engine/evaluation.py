"""A model's answers to validation and test rows: every rank evaluates its share of the batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Numbers, length_sorted_batches, unpadded
from slipway.tensorflow import SavedClassifier, tf, tf_keras
from train.data.dataset import Split
from train.distributed.watchdog import AFTER, DONE, Heartbeat

_BATCH = 32


def validate(
    model: tf_keras.Model, split: Split, heartbeat: Heartbeat, step: int, stop: Callable[[], bool]
) -> tuple[float, float] | None:
    """Return (mean loss, accuracy) over all ranks' answers, or None once `stop` is true."""
    sums = np.zeros(4)  # losses, right answers, answers, ranks that stopped
    for number, rows in _share(split):
        if stop():
            sums[3] = 1
            break
        heartbeat.at(f"validating after step {step}", step - 1, AFTER, number)
        feed, labels = split.micro_batch(rows, int(split.rows.lengths[rows].max()))
        logits = _forward(model, {name: tf.constant(value) for name, value in feed.items()}).numpy()
        asked = labels != NOT_ASKED
        logits, labels = logits[asked].astype(np.float64), labels[asked]
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
        sums[:3] += losses.sum(), (logits.argmax(axis=1) == labels).sum(), len(labels)
    loss, right, answers, stopped = hvd.allreduce(tf.constant(sums), op=hvd.Sum, name="validation").numpy()
    return None if stopped else (float(loss / answers), float(right / answers))


@tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
def _forward(model: tf_keras.Model, feed: dict[str, tf.Tensor]) -> tf.Tensor:
    return model(feed, training=False)


def write_test_logits(split: Split, directory: Path, heartbeat: Heartbeat, step: int) -> None:
    """Write logits.<rank>.npz: the answers of the SavedModel on disk to this rank's test rows.

    The file holds `logits` [answers, labels] and `answers`, their numbers: classifier: of rows;
    tagger: of tokens.
    """
    reference = SavedClassifier(directory / "saved_model")
    answers, logits = [], []
    for number, rows in _share(split):
        heartbeat.at("evaluating on the test rows", step, DONE, number)
        feed = split.rows.take(rows).padded()
        logits.append(unpadded(reference.infer(feed), feed))
        answers.append(split.rows.tokens_of(rows) if split.tagger else rows)
    if answers:  # with very few rows a rank may have none
        np.savez(directory / f"logits.{hvd.rank()}.npz", answers=np.concatenate(answers), logits=np.concatenate(logits))
    hvd.allreduce(tf.zeros(1), name="evaluated")


def _share(split: Split) -> list[tuple[int, Numbers]]:
    """Return this rank's batches and their numbers, dealt in turn: ranks carry equal work."""
    return list(enumerate(length_sorted_batches(split.rows.lengths, _BATCH)))[hvd.rank() :: hvd.size()]
