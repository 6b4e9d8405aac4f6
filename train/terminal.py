"""Tables and messages on the terminal, and wide enough when the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_WIDTH_OF_FILES = 120  # characters
VERDICTS = {"passed": "[green]passed[/]", "FAILED": "[red]FAILED[/]", "skipped": "[yellow]skipped[/]"}


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    """An empty table; columns are aligned right, but for those in `left`."""
    made = Table(title=f"\n{title}" if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return made


@contextmanager
def activity(name: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done, and for how long: yields what to call with each new thing. In a file, nothing."""
    shown = console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        line = progress.add_task(name)
        yield lambda doing: progress.update(line, description=f"{name:<14}{doing}")


def verdict(passed: bool) -> str:
    return VERDICTS["passed" if passed else "FAILED"]
