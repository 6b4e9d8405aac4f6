"""The record of a training run while it runs: progress.jsonl, and the same values for TensorBoard.

Rank 0 writes a line after every step and every validation. The supervisor shows new lines as they
come, and at the end `read` returns the content of history.json in the bundle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from train.job import PROGRESS

_EVENT_SUFFIX = ".slipway"  # of the files that may be removed because we wrote them
_TAGS = {  # field of a line → tag in TensorBoard
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
}


@dataclass(frozen=True)
class StepLine:
    """The line of one optimizer step. Counts and seconds add up from the first step of the run."""

    step: int  # from 1
    steps: int  # of the whole run
    epoch: int  # from 1
    examples: int  # of all ranks, as the tokens
    tokens: int
    padded_tokens: int  # with padding, as the model is fed
    seconds: float
    outside_seconds: float  # of this step, that rank 0 was not inside TensorFlow
    loss: float | None  # None: not finite
    learning_rate: float
    gradient_norm: float | None  # None: not finite
    skipped: bool
    nonfinite_ranks: list[int]
    ranks: int


@dataclass(frozen=True)
class ValidationLine:
    """The line of one evaluation on the validation rows."""

    epoch: int
    step: int
    validation_loss: float | None  # None: not finite
    validation_accuracy: float


Line = StepLine | ValidationLine


def progress_lines(path: Path) -> list[Line]:
    """Return all whole lines of a progress.jsonl, in the order in which they were written."""
    return [_parse_line(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def read(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Return {"steps": […], "validation": […]} of a job's `directory`, as history.json holds it."""
    lines = progress_lines(directory / PROGRESS)
    return {
        "steps": [asdict(line) for line in lines if isinstance(line, StepLine)],
        "validation": [asdict(line) for line in lines if isinstance(line, ValidationLine)],
    }


class History:
    """A context manager that adds lines to progress.jsonl, and events for TensorBoard.

    A resumed run takes the steps after its checkpoint again: lines up to `from_step` stay, later
    ones are dropped; 0 starts anew. The file is cut in place: whoever tails it sees it shrink.
    """

    def __init__(self, directory: Path, tensorboard: Path | None, from_step: int = 0) -> None:
        """Open the files; `tensorboard` is the directory for events, None for no events."""
        kept = _cut(directory / PROGRESS, from_step)
        self._file = (directory / PROGRESS).open("a", encoding="utf-8")
        self._events = TensorBoardLog(tensorboard, map(_facts, kept)) if tensorboard else None

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events:
            self._events.close()

    def write(self, line: Line) -> None:
        """Add a line, readable at once; a number that is not finite becomes null."""
        facts = _facts(line)
        self._file.write(json.dumps(facts, allow_nan=False) + "\n")
        self._file.flush()
        if self._events:
            self._events.write(facts)


def _facts(line: Line) -> dict[str, object]:
    nonfinite = {name: None for name, value in vars(line).items() if isinstance(value, float) and not math.isfinite(value)}
    return asdict(line) | nonfinite


def _parse_line(text: str | bytes) -> Line:
    facts = json.loads(text)
    return ValidationLine(**facts) if "validation_loss" in facts else StepLine(**facts)


def _cut(path: Path, from_step: int) -> list[Line]:
    """Cut the file after `from_step` and before an incomplete line; return the lines that stay."""
    if not path.exists():
        return []
    kept: list[Line] = []
    end = 0
    with path.open("rb+") as file:
        for text in file:
            if not text.endswith(b"\n") or (line := _parse_line(text)).step > from_step:
                break
            kept.append(line)
            end += len(text)
        file.truncate(end)
    return kept


class TensorBoardLog:
    """The event files in `directory`. Those of an earlier run there are removed."""

    def __init__(self, directory: Path, earlier: Iterable[Mapping[str, Any]]) -> None:
        """Begin with the facts of `earlier` lines."""
        from slipway.tensorflow import tf  # here: the supervisor reads progress lines without TensorFlow

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
