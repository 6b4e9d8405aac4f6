"""Tables and messages on the terminal, at their whole width when the output is a file or a pipe.

Text is shown as it is: labels and paths may have brackets, which rich takes for markup.

What is written for programs goes to the real stdout, whatever shows a clock or a bar meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_WIDTH_OF_FILES = 10_000  # characters: no cell is cut and no line is broken
_PATIENCE = 20  # seconds between two lines in a file
VERDICTS = {
    "passed": Text("passed", "green"),
    "worse": Text("worse", "red"),
    "undecided": Text("not decided", "yellow"),
    "FAILED": Text("FAILED", "red"),
    "skipped": Text("skipped", "yellow"),
}


def console() -> Console:
    """Return a console for stdout."""
    return Console(highlight=False, markup=False, emoji=False, width=None if is_terminal(sys.stdout) else _WIDTH_OF_FILES)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person may be looking at the stream; None is a closed one.

    Rich's `is_terminal` is also true of a file where FORCE_COLOR is set.
    """
    return stream is not None and stream.isatty()


def table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    """Return an empty table whose columns are aligned right, but for those in `left`."""
    empty = Table(title=f"\n{title}" if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        empty.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return empty


def bar(*columns: str | ProgressColumn) -> Progress:
    """Return a bar on stdout, with what is printed meanwhile above it.

    It is disabled where stdout is no terminal. Rich would take both streams, so that what is
    written to a file or a pipe would be shown on the terminal instead: each is taken only where it
    is a terminal itself.
    """
    shown = is_terminal(sys.stdout)
    return Progress(*columns, console=console(), transient=True, redirect_stderr=is_terminal(sys.stderr), disable=not shown)


def bar_beside_data(*columns: str | ProgressColumn, data_on_stdout: bool) -> Progress:
    """Return a bar on stderr, beside data for programs: stdout is not taken, whatever it is.

    It is disabled where stderr is no terminal, and where the data appear on the terminal too.
    """
    shown = is_terminal(sys.stderr) and not (data_on_stdout and is_terminal(sys.stdout))
    screen = Console(highlight=False, stderr=True)
    return Progress(*columns, console=screen, transient=True, redirect_stdout=False, disable=not shown)


@contextmanager
def activity(name: str) -> Iterator[Callable[[str], None]]:
    """Show a clock and the current step; yield a function that sets the step."""
    with bar(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        line = progress.add_task(name)
        printed = time.monotonic()

        def say(doing: str) -> None:
            nonlocal printed
            progress.update(line, description=f"{name:<14}{doing}")
            if progress.disable and time.monotonic() - printed > _PATIENCE:
                printed = time.monotonic()
                print(f"{name:<14}{doing} …", flush=True)

        yield say


def verdict(passed: bool) -> Text:
    return VERDICTS["passed" if passed else "FAILED"]
