"""The rows of a corpus that break a rule: counted, shown by file and line, or refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from slipway import errors
from slipway.contract.readers import BadRow, Row
from slipway.errors import CorpusError

_NUMBER = re.compile(r"-?[0-9]*\.?[0-9]+")
_SHOWN_BAD_ROWS = 5
_SHOWN = 40  # characters of a label
_FEW = 0.05  # share of the rows that may be left out without harm
CORRECT = "correct it, then run the same command again"
_T = TypeVar("_T")


class BadRows:
    """The rows of a corpus that break a rule, of which `allowed` may be left out.

    `command` is the one that is run; with more options behind it, it is the fix of an error.
    """

    def __init__(self, allowed: int, command: str) -> None:
        self._allowed, self._command = allowed, command
        self.rows: list[tuple[Path, BadRow]] = []

    def taken_out(self, path: Path, checked: Iterable[_T | BadRow]) -> list[_T]:
        """Collect the bad rows of the file `path`; return the others."""
        everything = list(checked)
        self.rows += [(path, row) for row in everything if isinstance(row, BadRow)]
        return [row for row in everything if not isinstance(row, BadRow)]

    def check(self, sound: Mapping[str, Sequence[Any]]) -> None:
        """Raise CorpusError for too many bad rows, or for one that makes its file unreadable."""
        unreadable, count = [(path, row) for path, row in self.rows if row.breaks], len(self.rows)
        if not unreadable and count <= self._allowed:
            return
        reported = unreadable or self.rows
        path, row = reported[0]
        total = count + sum(map(len, sound.values()))
        more = f", {self._allowed} are allowed" if self._allowed else ""
        refuse(
            f"{path.name} cannot be read" if unreadable else f"{count} of {total} rows of the corpus break a rule{more}",
            row.rule,
            row.found,
            f"{path}:{row.line}",
            self._fix(reported, total, len(sound)),
        )

    def _fix(self, reported: list[tuple[Path, BadRow]], total: int, files: int) -> str:
        """Return the command that reads the files, where there is one, and the first bad rows.

        An option would hold for all files; where the others are sound, the file is changed instead.
        """
        path, row = reported[0]
        if row.remedy and len({path for path, _ in reported}) < files:
            row = row._replace(options=())
        if fix := row.fix(path, self._command):
            return fix
        shown = [f"{path.name}:{row.line}: {row.rule}; found {row.found}" for path, row in reported[:_SHOWN_BAD_ROWS]]
        if row.breaks:
            return CORRECT if len(reported) == 1 else _below("correct them, then run the same command again:", *shown)
        lines = ["correct or remove these rows, then run the same command again:", *shown]
        if len(reported) <= _FEW * total:
            lines.append(f"or leave them out: {errors.with_options(self._command, ['--max-bad-rows', str(len(reported))])}")
        return _below(*lines)

    def by_rule(self) -> dict[str, int]:
        """Count the rows that break each rule."""
        return dict(Counter(row.rule for _, row in self.rows).most_common())


def _below(*lines: str) -> str:
    return "\n            ".join(lines)


def task_of(read: dict[str, list[Row]], files: dict[str, Path]) -> str:
    """Return the task that the rows of all files are of."""
    tasks = {files[split].name: sound[0].task for split, sound in read.items() if sound}
    if len(set(tasks.values())) > 1:
        listed = ", ".join(f"{name} {task}" for name, task in tasks.items())
        refuse("the files are not of one task", "single texts, pairs or tagged words, the same in all", listed, str(files["train"]))
    return next(iter(tasks.values()), "")


def consistent(sound: list[Row]) -> Iterator[Row | BadRow]:
    """Yield the rows; a name among numbers, or a last label that may be cut, makes a bad one."""
    counts = Counter(label for row in sound for label in row.labels)
    numeric = sum(count for label, count in counts.items() if _NUMBER.fullmatch(label))
    mostly_numbers = numeric * 2 >= counts.total()
    for row in sound:
        odd = [word for word, label in enumerate(row.labels) if bool(_NUMBER.fullmatch(label)) != mostly_numbers]
        if odd:
            rule = f"a label is a {'number' if mostly_numbers else 'name'} like most others, or the labels are given"
            yield row.broken(rule, repr(row.labels[odd[0]][:_SHOWN]), odd[0])
        elif row.may_be_cut and counts[row.labels[-1]] == 1:
            rule = "the last row is whole: it ends with a line end, or has a label that other rows have too"
            yield row.broken(rule, repr(row.labels[-1][:_SHOWN]), len(row.labels) - 1)
        else:
            yield row


def refuse(summary: str, expected: str, value: str, where: str, fix: str = CORRECT) -> NoReturn:
    """Raise CorpusError."""
    raise CorpusError(summary, expected=expected, found=value, where=where, fix=fix)
