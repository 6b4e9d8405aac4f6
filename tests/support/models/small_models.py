"""SavedModels of the shapes that people bring: a mean of embeddings, with the ends and the
signatures of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slipway.contract.ragged import INPUTS, Feed, Logits

PIECES, LABELS = 40, 3
_TABLE = np.random.default_rng(0).normal(0, 3, (PIECES, LABELS)).astype(np.float32)
Finish = Callable[[Any], Any]


def logits(feed: Feed, labels: int = LABELS) -> Logits:
    """What the model answers before its end, [rows, labels]; its type ids and positions count."""
    mask = feed["input_mask"].astype(np.float32)
    rows = _TABLE[feed["input_word_ids"]] + feed["input_type_ids"][..., np.newaxis]
    rows += 0.01 * np.arange(mask.shape[1])[:, np.newaxis]
    means: Logits = (rows * mask[..., np.newaxis]).sum(1)[:, :labels] / mask.sum(1, keepdims=True)
    return means


def save(
    target: Path,
    finish: Finish,
    *,
    names: Sequence[str] = INPUTS,
    labels: int = LABELS,
    length: int | None = None,
    key: str = "serving_default",
    positions: str = "",
    dtype: str = "int32",
) -> Path:
    """Write one whose answers are `finish` of its logits, a tensor or a dictionary of several.

    `names` are those of ids, mask and types; `positions` that of position ids, if it takes them.
    """
    from slipway.tensorflow import tf

    module = tf.Module()
    module.table = tf.Variable(_TABLE, name="a_table")

    def end(means: Any) -> Any:
        return finish(means)

    inner = tf.function(end)

    def answer(**given: Any) -> Any:
        ids, mask, types = (given[name] for name in names)
        place = given[positions] if positions else tf.range(tf.shape(ids)[1])[tf.newaxis]
        mask = tf.cast(mask, tf.float32)[..., tf.newaxis]
        rows = tf.gather(module.table, ids) + tf.cast(types, tf.float32)[..., tf.newaxis]
        rows += 0.01 * tf.cast(place, tf.float32)[..., tf.newaxis]
        answers = inner(tf.reduce_sum(rows * mask, axis=1)[:, :labels] / tf.reduce_sum(mask, axis=1))
        return answers if isinstance(answers, dict) else {"output_1": answers}

    specs = {name: tf.TensorSpec([None, length], dtype, name=name) for name in (*names, *([positions] if positions else []))}
    tf.saved_model.save(module, str(target), signatures={key: tf.function(answer).get_concrete_function(**specs)})
    return target


def feed(rows: int = 20, tokens: int = 7) -> Feed:
    """Rows of two segments, some of them padded."""
    random = np.random.default_rng(1)
    mask = (np.arange(tokens) < random.integers(2, tokens + 1, (rows, 1))).astype(np.int32)
    ids = random.integers(4, PIECES, (rows, tokens)).astype(np.int32)
    types = (np.arange(tokens) >= 3).astype(np.int32) * mask
    return dict(zip(INPUTS, (ids * mask, mask, types), strict=True))
