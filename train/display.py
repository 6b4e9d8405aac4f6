"""A running job as a person sees it: a progress bar, or lines in a file, and rank 0's output."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train import terminal
from train.job import PROGRESS, SAID

_LINE_EVERY = 15  # seconds between lines when the output is not a terminal


class Tail:
    """The end of a file that another process writes, and may cut."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def lines(self) -> list[str]:
        """Return the complete lines since the last call."""
        try:
            with self._path.open("rb") as file:
                self._read = file.seek(min(self._read, self._path.stat().st_size))
                complete, newline, _ = file.read().rpartition(b"\n")
                self._read += len(complete + newline)
        except FileNotFoundError:
            return []
        return complete.decode("utf-8", "replace").split("\n") if newline else []


class Display:
    """A context manager that shows what is new in the job's `directory` at every `update`."""

    def __init__(self, directory: Path) -> None:
        self._console = terminal.console()
        columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("training", total=None, text="loading the encoder")
        self._progress, self._printed_by_rank_0 = Tail(directory / PROGRESS), Tail(directory / SAID)
        self._printed = time.monotonic()

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def update(self) -> None:
        for text in self._printed_by_rank_0.lines():
            self.say(text)
        for text in self._progress.lines():
            try:
                line = json.loads(text)
            except ValueError:  # the file was cut, to take steps again, while it was read
                continue
            self._show_validation(line) if "validation_loss" in line else self._show_step(line)

    def _show_step(self, line: dict[str, Any]) -> None:
        step, steps, seconds = line["step"], line["steps"], max(line["seconds"], 1e-3)
        text = f"step {step}/{steps}  loss {_loss_text(line['loss'])}  {line['examples'] / seconds:.1f} examples/s"
        ending = "; evaluating" if step == steps else ""
        self._bar.update(self._task, total=steps, completed=step, text=text + ending)
        if not self._console.is_terminal and (ending or time.monotonic() - self._printed > _LINE_EVERY):
            self.say(f"          {text}  {(steps - step) * seconds / step:.0f} s left{ending}")
            self._printed = time.monotonic()

    def _show_validation(self, line: dict[str, Any]) -> None:
        accuracy = f"validation accuracy {line['validation_accuracy']:.4f}"
        self.say(f"          epoch {line['epoch']}  {accuracy}  loss {_loss_text(line['validation_loss'])}")


def _loss_text(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
