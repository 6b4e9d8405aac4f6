"""Tables and messages on the terminal, and wide enough when the output is a file or a pipe."""

from __future__ import annotations

from rich.console import Console
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


def verdict(passed: bool) -> str:
    return VERDICTS["passed" if passed else "FAILED"]
