"""What a person sees of a running job: a progress bar, or a line now and then in a file, and what rank 0 has to say."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from train import terminal
from train.job import PROGRESS, SAID

_LINE_EVERY = 15  # seconds between lines when the output is not a terminal


class Tail:
    """New lines of a file that another process writes, and may cut."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def lines(self) -> list[str]:
        """The complete lines since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(min(self._read, self._path.stat().st_size))
                complete, _, _ = (data := file.read()).rpartition(b"\n")
                self._read = file.tell() - len(data) + (len(complete) + 1 if complete else 0)
        except FileNotFoundError:
            return []
        return complete.decode("utf-8", "replace").split("\n") if complete else []


class Display:
    """A context manager; `update` shows what is new in the job's `directory`."""

    def __init__(self, directory: Path) -> None:
        self._console = terminal.console()
        columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("training", total=None, text="loading the encoder")
        self._progress, self._said = Tail(directory / PROGRESS), Tail(directory / SAID)
        self._printed = time.monotonic()

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def update(self) -> None:
        for text in self._said.lines():
            self.say(text)
        for line in self._progress.lines():
            try:
                facts = json.loads(line)
            except ValueError:  # the file was cut, to take steps again, while it was read
                continue
            self._show_validation(facts) if "validation_loss" in facts else self._show_step(facts)

    def _show_step(self, facts: dict[str, Any]) -> None:
        step, steps, seconds = facts["step"], facts["steps"], max(facts["seconds"], 1e-3)
        text = f"step {step}/{steps}  loss {_number(facts['loss'])}  {facts['examples'] / seconds:.1f} examples/s"
        last = step == steps
        self._bar.update(self._task, total=steps, completed=step, text=f"{text}; evaluating" if last else text)
        if not self._console.is_terminal and (last or time.monotonic() - self._printed > _LINE_EVERY):
            left = (steps - step) * seconds / step
            self.say(f"          {text}  {left:.0f} s left" + ("; evaluating" if last else ""))
            self._printed = time.monotonic()

    def _show_validation(self, facts: dict[str, Any]) -> None:
        accuracy = f"validation accuracy {facts['validation_accuracy']:.4f}"
        self.say(f"          epoch {facts['epoch']}  {accuracy}  loss {_number(facts['validation_loss'])}")


def _number(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
