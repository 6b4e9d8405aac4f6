"""A model's answers to validation, test and probe rows: every rank evaluates its share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Numbers, Ragged, length_sorted_batches, unpadded
from slipway.tensorflow import SavedClassifier, tf, tf_keras
from train.data.dataset import Split
from train.distributed.watchdog import AFTER, DONE, Heartbeat

_BATCH = 32


def validate(
    model: tf_keras.Model, split: Split, heartbeat: Heartbeat, step: int, stop: Callable[[], bool]
) -> tuple[float, float] | None:
    """Return (mean loss, accuracy) over all ranks' answers, or None once `stop` is true."""
    sums = np.zeros(4)  # losses, right answers, answers, ranks that stopped
    for number, rows in _share(split.rows):
        if stop():
            sums[3] = 1
            break
        heartbeat.at(f"validating after step {step}", step - 1, AFTER, number)
        feed, labels = split.micro_batch(rows, int(split.rows.lengths[rows].max()))
        logits = _forward(model, {name: tf.constant(value) for name, value in feed.items()}).numpy()
        labelled = labels != NOT_ASKED
        logits, labels = logits[labelled].astype(np.float64), labels[labelled]
        shifted = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
        sums[:3] += losses.sum(), (logits.argmax(axis=1) == labels).sum(), len(labels)
    loss, right, answers, stopped = hvd.allreduce(tf.constant(sums), op=hvd.Sum, name="validation").numpy()
    return None if stopped else (float(loss / answers), float(right / answers))


@tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
def _forward(model: tf_keras.Model, feed: dict[str, tf.Tensor]) -> tf.Tensor:
    return model(feed, training=False)


def write_logits(rows: Mapping[str, Ragged], directory: Path, heartbeat: Heartbeat, step: int, *, tagger: bool) -> None:
    """Write <name>.<rank>.npz for each name of `rows`: the SavedModel's answers to a share of them.

    The SavedModel is loaded back from disk. A file holds `logits` [answers, labels] and `answers`,
    their numbers: classifier: of rows; tagger: of tokens.
    """
    reference = SavedClassifier(directory / "saved_model")
    batches_before = 0
    for name, of_name in rows.items():
        answers, logits = [], []
        for number, batch in _share(of_name):
            done = f"{min(number * _BATCH, len(of_name)):,} of {len(of_name):,} {name} rows"
            heartbeat.at(f"evaluating the SavedModel: {done}", step, DONE, batches_before + number)
            feed = of_name.take(batch).padded()
            logits.append(unpadded(reference.infer(feed), feed))
            answers.append(of_name.tokens_of(batch) if tagger else batch)
        if answers:  # with very few rows a rank may have none
            np.savez(directory / f"{name}.{hvd.rank()}.npz", answers=np.concatenate(answers), logits=np.concatenate(logits))
        batches_before += -(-len(of_name) // _BATCH)
    hvd.allreduce(tf.zeros(1), name="evaluated")


def _share(rows: Ragged) -> list[tuple[int, Numbers]]:
    """Return this rank's batches and their numbers, dealt in turn: ranks carry equal work."""
    return list(enumerate(length_sorted_batches(rows.lengths, _BATCH)))[hvd.rank() :: hvd.size()]
