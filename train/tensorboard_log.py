"""The values of progress lines as TensorBoard events, one event a line.

.venv/bin/tensorboard --logdir runs/demo/tensorboard
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_EVENT_SUFFIX = ".slipway"  # of the files that may be removed because we wrote them
_TAGS = {  # field of a line → tag in TensorBoard
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
}


class TensorBoardLog:
    """The event files in `directory`. Those of an earlier run there are removed."""

    def __init__(self, directory: Path, earlier: Iterable[Mapping[str, Any]]) -> None:
        """Begin with the facts of `earlier` lines."""
        from train.keras2 import tf  # here: the supervisor reads progress lines without TensorFlow

        for old in directory.glob(f"events.out.tfevents.*{_EVENT_SUFFIX}"):
            old.unlink()
        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(directory), filename_suffix=_EVENT_SUFFIX)
        for facts in earlier:
            self.write(facts)

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write a line as one event: a tf.summary.scalar for each value takes ten times as long."""
        summary = self._tf.compat.v1.Summary
        values = [summary.Value(tag=tag, simple_value=facts[name]) for name, tag in _TAGS.items() if facts.get(name) is not None]
        with self._writer.as_default():
            self._tf.summary.experimental.write_raw_pb(summary(value=values).SerializeToString(), step=facts["step"])
        if "validation_loss" in facts:
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()
