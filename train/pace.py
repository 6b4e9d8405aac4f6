"""The counts and seconds in every line of progress: how much was trained on, in what time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from train import batches
from train.batches import Numbers, Shape, Step
from train.history import StepLine, progress_lines
from train.step import StepResult


class Pace:
    """A count of what all ranks have done, which every rank knows from the plan."""

    def __init__(self, steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> None:
        self._steps, self._lengths, self._world, self._shape = steps, lengths, world, shape

    def begin(self, done: int, progress: Path) -> None:
        """Go on from `done` steps: their seconds are read from the lines of `progress`."""
        lines = progress_lines(progress) if done and progress.exists() else []
        self._before = next((line.seconds for line in lines if isinstance(line, StepLine) and line.step == done), 0.0)
        self._examples = sum(len(step.rows) for step in self._steps[:done])
        self._tokens, self._padded = batches.fed(self._steps[:done], self._lengths, self._world, self._shape)
        self._began = self._turned = time.monotonic()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Measure the training step itself."""
        entered = time.monotonic()
        yield
        self._inside = time.monotonic() - entered

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of what is not training."""
        entered = time.monotonic()
        yield
        self._began += time.monotonic() - entered
        self._turned += time.monotonic() - entered

    def line(self, done: int, epoch: int, ranks: int, result: StepResult) -> StepLine:
        """Return the line of step `done`, from 1, that `ranks` ranks have just taken in `epoch`."""
        step, now = self._steps[done - 1], time.monotonic()
        tokens, padded = batches.fed([step], self._lengths, ranks, self._shape)
        self._examples += len(step.rows)
        self._tokens += tokens
        self._padded += padded
        outside = now - self._turned - self._inside
        self._turned = now
        return StepLine(
            step=done,
            steps=len(self._steps),
            epoch=epoch,
            examples=self._examples,
            tokens=self._tokens,
            padded_tokens=self._padded,
            seconds=round(self._before + now - self._began, 4),
            outside_seconds=round(outside, 6),
            loss=result.loss,
            learning_rate=result.learning_rate,
            gradient_norm=result.gradient_norm,
            skipped=result.skipped,
            nonfinite_ranks=list(result.nonfinite_ranks),
            ranks=ranks,
        )
