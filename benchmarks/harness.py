"""What experiments share: arguments, a record that says where it came from, and one table of it.

An experiment measures, builds a frozen dataclass that extends `Signed`, and hands it to `finish`
with its table. That writes benchmarks/records/<name>.json and prints what `python -m
benchmarks.tables` writes into the pages.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from slipway.contract import manifest
from slipway.contract.bundle import Bundle
from slipway.contract.records import from_json
from slipway.errors import ServerError
from slipway.statistics import Ratio

if TYPE_CHECKING:
    from serving.benchmark.record import Comparison

RECORDS = Path(__file__).parent / "records"
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    cpu: str
    cpu_flags: list[str]
    cores: int
    memory_gib: float
    system: str

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.cpu}"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The header of a record, as `slipway.provenance.record` makes it."""

    command: str
    versions: dict[str, str]
    machine: Machine
    commit: str

    @property
    def signature(self) -> str:
        return f"{self.machine}, commit {self.commit}."


@dataclass(frozen=True)
class Target:
    """A promise, and the value that decides it; None: not measured."""

    target: str
    found: float | None
    met: bool | None

    @classmethod
    def least(cls, target: str, found: float | None, limit: float) -> Target:
        return cls(target, found, None if found is None else found >= limit)

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.target}: not measured"
        return f"{self.target}: {self.found:.3g}, {'met' if self.met else 'MISSED'}"


def cell(compared: Comparison) -> str:
    """Return the ratio, and the verdict where it does not show it; an invalid run has none."""
    if compared.ratio is None or compared.interval is None:
        return "invalid run"
    shown = Ratio(compared.ratio, compared.interval).text(times=" ×")
    return f"{shown}, no difference" if compared.verdict == "no difference" else shown


def reasons(comparisons: Iterable[Comparison]) -> list[str]:
    """Return why runs are invalid, each reason once."""
    return list(dict.fromkeys(compared.why for compared in comparisons if compared.verdict == "invalid run"))


@dataclass(frozen=True)
class Table:
    """A record as people see it, on a terminal and in a page.

    Rows may be shorter than the columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""  # the paragraph below

    def markdown(self) -> str:
        lines = [_line(self.columns), "|---" * len(self.columns) + "|"] if self.columns else []
        lines += [_line((*row, *[""] * (len(self.columns) - len(row)))) for row in self.rows]
        return "\n".join([*lines, "", self.note]) + "\n"

    def show(self) -> None:
        from slipway.console import console, table  # here: the environment of PyTorch's peer has no rich

        if self.columns:
            shown = table(self.title, *self.columns, left=self.columns[:1])
            for row in self.rows:
                shown.add_row(*row)
            console().print(shown)
        if self.note:
            print(self.note)


def listing(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of all numbers and words in `rows`."""
    columns = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, int | float | str))
    return Table(title, tuple(columns), [tuple(_short(row.get(name, "")) for name in columns) for row in rows])


def _short(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _line(cells: tuple[str, ...]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def parser(description: str, record: str, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser that has --record, and --rounds where an experiment has rounds.

    `description` is the docstring of the experiment's module, whose first line is shown.
    """
    arguments = argparse.ArgumentParser(description=description.split("\n")[0], allow_abbrev=False)
    arguments.add_argument("--record", type=Path, default=RECORDS / record, help="where the JSON goes; default: %(default)s")
    if rounds is not None:
        arguments.add_argument("--rounds", type=int, default=rounds, help="how often everything is measured; default: %(default)s")
    return arguments


def in_turn(number: int, names: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (round, name): in each of `number` rounds every name once, in random order."""
    random = np.random.default_rng(0)
    for turn in range(number):
        for place in random.permutation(len(names)):
            yield turn, names[place]


def require_single_text(source: Bundle, command: str) -> None:
    """Raise ServerError unless the model answers single texts; `command` measures every task."""
    if source.task != "single_text":
        raise ServerError(
            f"a {source.task} model is not measured here",
            expected="a model of single texts",
            found=source.task,
            where=str(source.directory),
            fix=f"what measures every task: {command}",
        )


def seconds_of(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def cpu_seconds() -> float:
    """Return the CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def client_process() -> ProcessPoolExecutor:
    """Return a process for a client: in this one threads read the servers' logs."""
    return ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))


def finish(path: Path, record: Signed, shown: Table) -> None:
    """Write the record, and print its table."""
    write(path, record)
    shown.show()
    print(f"record    {path}")


def write(path: Path, record: Signed) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_json(path, dataclasses.asdict(record))


def read(kind: type[T], path: Path) -> T:
    """Return the record in `path`. Raises FileNotFoundError."""
    return from_json(kind, json.loads(path.read_text("utf-8")))
