"""The journal of a benchmark, RUN/benchmark.partial.jsonl: its measurements, a line each.

A benchmark that was ended goes on from it. Its first line says what was measured and how;
measurements of anything else are not taken over. It is removed when the record is written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from serving.benchmark.record import EngineRound
from serving.load.interference import Disturbance, GpuUse
from serving.load.latency_breakdown import Counters
from serving.load.perf_analyzer import LoadResult
from slipway.contract.records import from_json
from slipway.errors import ServerError

PARTIAL = "benchmark.partial.jsonl"


@dataclass(frozen=True)
class Pace:
    """The throughput of a subject while it warmed up: slow ones get longer windows."""

    texts_per_second: float


@dataclass(frozen=True, kw_only=True)
class LoadRound(Disturbance):
    """One round of one load, as it was measured."""

    result: LoadResult
    rate: float | None = None  # texts/s offered at random; None: a closed loop, or unknown
    counted: Counters | None = None  # by the server, during the load; None: it did not answer
    gpu: GpuUse | None = None
    tries: int = 0  # how often it was measured; 0: never, its rate is unknown


Entry = TypeVar("Entry", Pace, LoadRound, EngineRound)
_KINDS = {kind.__name__: kind for kind in (Pace, LoadRound, EngineRound)}


@contextmanager
def only_benchmark(run: Path) -> Iterator[None]:
    """Keep other benchmarks of this run out for the block. Raises ServerError if there is one."""
    directory = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerError(
                f"{run} is being measured already",
                expected="one benchmark of a run, on a quiet machine",
                found="another one at work",
                where=str(run),
                fix="wait until that one has ended, or end it: what it measured is kept",
            ) from error
        yield
    finally:
        os.close(directory)


class Journal:
    """Entries by type, round and name of a load or subject: (LoadRound, 2, "text_classifier/…")."""

    def __init__(self, run: Path, key: dict[str, Any]) -> None:
        """Take over what an earlier benchmark of the same `key` left; forget any other's."""
        self._path = run / PARTIAL
        self._entries: dict[tuple[type, int, str], Any] = {}
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.is_file() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # the last may have been cut
        if whole and json.loads(whole[0]) == key:
            for line in map(json.loads, whole[1:]):
                kind = _KINDS[line["kind"]]
                self._entries[kind, line["round"], line["name"]] = from_json(kind, line["entry"])
            os.truncate(self._path, sum(map(len, whole)))
        else:
            self._path.write_text(json.dumps(key) + "\n", "utf-8")
        self.taken_over = self.loads

    @property
    def loads(self) -> int:
        """Number of rounds of loads that are measured."""
        return sum(kind is LoadRound for kind, _, _ in self._entries)

    def add(self, number: int, name: str, entry: Pace | LoadRound | EngineRound) -> None:
        self._entries[type(entry), number, name] = entry
        line = {"kind": type(entry).__name__, "round": number, "name": name, "entry": asdict(entry)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=np.ndarray.tolist) + "\n")

    def get(self, kind: type[Entry], number: int, name: str) -> Entry | None:
        entry: Entry | None = self._entries.get((kind, number, name))
        return entry

    def rounds(self, kind: type[Entry], name: str) -> list[Entry]:
        """Return the entries of every round that has one, in the rounds' order."""
        numbers = sorted(number for other, number, of in self._entries if (other, of) == (kind, name))
        return [self._entries[kind, number, name] for number in numbers]

    def remove(self) -> None:
        self._path.unlink()
