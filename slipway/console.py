"""Tables and messages on the terminal, at a fixed width when the output is a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_WIDTH_OF_FILES = 120  # characters
_PATIENCE = 20  # seconds between two lines in a file
VERDICTS = {
    "passed": "[green]passed[/]",
    "worse": "[red]worse[/]",
    "undecided": "[yellow]not decided[/]",
    "FAILED": "[red]FAILED[/]",
    "skipped": "[yellow]skipped[/]",
}


def console() -> Console:
    """Return a console for stdout."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    """Return an empty table whose columns are aligned right, but for those in `left`."""
    empty = Table(title=f"\n{title}" if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        empty.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return empty


@contextmanager
def activity(name: str) -> Iterator[Callable[[str], None]]:
    """Show a clock and the current step; yield a function that sets the step."""
    shown = console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        line = progress.add_task(name)
        printed = time.monotonic()

        def say(doing: str) -> None:
            nonlocal printed
            progress.update(line, description=f"{name:<14}{doing}")
            if not shown.is_terminal and time.monotonic() - printed > _PATIENCE:
                printed = time.monotonic()
                print(f"{name:<14}{doing} …", flush=True)

        yield say


def verdict(passed: bool) -> str:
    return VERDICTS["passed" if passed else "FAILED"]
