"""What a training run tells while it runs: progress.jsonl, a line a step and a line a validation, and the same for TensorBoard.

Written by rank 0 only. The supervisor tails the file; at the end `read` gives what becomes history.json in the bundle.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from train.job import PROGRESS

if TYPE_CHECKING:
    from train.tensorboard_log import TensorBoardLog


class History:
    """Appends lines to `directory`/progress.jsonl, and events to `tensorboard` unless that is None. A context manager.

    What is already there is kept up to `from_step`, the last step of the checkpoint that is gone on from, and dropped beyond,
    because those steps are taken again; 0 starts anew. The file is cut in place, so that whoever tails it sees it shrink.
    """

    def __init__(self, directory: Path, tensorboard: Path | None, from_step: int = 0) -> None:
        path = directory / PROGRESS
        kept = _keep(path, from_step)
        self._file = path.open("a", encoding="utf-8")
        self._events = _events(tensorboard, kept) if tensorboard else None

    def __enter__(self) -> History:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._events:
            self._events.close()

    def step(self, **facts: Any) -> None:
        """One optimizer step. `facts` as JSON holds them, `step` counted from 1; a number that is not finite becomes null."""
        self._write(facts)

    def validation(self, **facts: Any) -> None:
        """One evaluation on the validation rows: `epoch`, `step`, `validation_loss`, `validation_accuracy`."""
        self._write(facts)
        if self._events:
            self._events.flush()

    def _write(self, facts: dict[str, Any]) -> None:
        line = {name: _finite(value) for name, value in facts.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        if self._events:
            self._events.write(line)


def read(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """{"steps": [...], "validation": [...]} of progress.jsonl in `directory`: what history.json holds."""
    lines = [json.loads(line) for line in (directory / PROGRESS).read_text("utf-8").splitlines()]
    return {
        "steps": [line for line in lines if "validation_loss" not in line],
        "validation": [line for line in lines if "validation_loss" in line],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keep(path: Path, from_step: int) -> list[dict[str, Any]]:
    """Cut the file after `from_step`; returns the lines that stay. A last line that was not written to its end goes too."""
    if not path.exists():
        return []
    kept, end = [], 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n") or (facts := json.loads(line))["step"] > from_step:
                break
            kept.append(facts)
            end += len(line)
        file.truncate(end)
    return kept


def _events(directory: Path, lines: list[dict[str, Any]]) -> TensorBoardLog:
    from train.tensorboard_log import TensorBoardLog  # TensorFlow, which the supervisor that reads lines does without

    events = TensorBoardLog(directory)
    for line in lines:
        events.write(line)
    return events
