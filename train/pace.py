"""How much was trained on and how long it took: the counts in every line of progress."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from train import batches
from train.batches import Numbers, Shape, Step


class Pace:
    """Counts follow from the plan, so every rank knows those of all ranks. Seconds go on from those of a resumed run."""

    def __init__(self, steps: list[Step], lengths: Numbers, world: int, shape: Shape) -> None:
        self._steps, self._lengths, self._world, self._shape = steps, lengths, world, shape

    def begin(self, done: int, progress: Path) -> None:
        """`done` steps were taken before, as the lines of `progress` tell."""
        self._before = _seconds(progress, done)
        self._counts = [sum(len(step.rows) for step in self._steps[:done])]
        self._counts += batches.fed(self._steps[:done], self._lengths, self._world, self._shape)
        self._began = self._turned = time.monotonic()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around the training step itself."""
        entered = time.monotonic()
        yield
        self._inside = time.monotonic() - entered

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training: its time is not counted."""
        entered = time.monotonic()
        yield
        self._began += time.monotonic() - entered
        self._turned += time.monotonic() - entered

    def line(self, done: int, ranks: int) -> dict[str, Any]:
        """Of the step that was just taken by so many ranks: counts of all of them so far, seconds since the first step began,
        seconds of this step that passed outside of TensorFlow."""
        step, now = self._steps[done - 1], time.monotonic()
        own, padded = batches.fed([step], self._lengths, ranks, self._shape)
        self._counts = [so_far + more for so_far, more in zip(self._counts, (len(step.rows), own, padded), strict=True)]
        outside = now - self._turned - self._inside
        self._turned = now
        return {
            **dict(zip(("examples", "tokens", "padded_tokens"), self._counts, strict=True)),
            "seconds": round(self._before + now - self._began, 4),
            "outside_seconds": round(outside, 6),
        }


def _seconds(progress: Path, done: int) -> float:
    """`seconds` of the line of step `done`; 0 at the beginning."""
    if not done or not progress.exists():
        return 0.0
    lines = [json.loads(line) for line in progress.read_text("utf-8").splitlines()]
    return float(next((line["seconds"] for line in lines if line["step"] == done and "seconds" in line), 0.0))
