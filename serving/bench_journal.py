"""What a benchmark has measured so far, a line each in RUN/benchmark.partial.jsonl, so that one that was ended can go on.

Its first line says what was measured how; measurements of anything else are not taken over. Removed when the record is written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from train.errors import ServerError

PARTIAL = "benchmark.partial.jsonl"


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """No other benchmark of this run for the block. Raises ServerError while there is one; a killed one does not count."""
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
    """Entries by kind, round and name: ("load", 2, "text_classifier/grpc/network/own/16") → what was measured."""

    def __init__(self, run: Path, key: dict[str, Any]) -> None:
        """Takes over what an earlier benchmark of the same `key` left, and forgets what another one did."""
        self._path = run / PARTIAL
        self._entries: dict[tuple[str, int, str], dict[str, Any]] = {}
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.is_file() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # the last may have been cut
        if whole and json.loads(whole[0]) == key:
            self._entries = {(one["kind"], one["round"], one["name"]): one["found"] for one in map(json.loads, whole[1:])}
            self._path.write_bytes(b"".join(whole))
        else:
            self._path.write_text(json.dumps(key) + "\n", "utf-8")
        self.taken_over = self.count("load")

    def count(self, kind: str) -> int:
        return sum(one == kind for one, _, _ in self._entries)

    def add(self, kind: str, number: int, name: str, found: dict[str, Any]) -> None:
        self._entries[kind, number, name] = found
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "round": number, "name": name, "found": found}) + "\n")

    def get(self, kind: str, number: int, name: str) -> dict[str, Any] | None:
        return self._entries.get((kind, number, name))

    def rounds(self, kind: str, name: str) -> list[dict[str, Any]]:
        """What was found in every round that has it, in their order."""
        found = sorted((number, one) for (what, number, of), one in self._entries.items() if (what, of) == (kind, name))
        return [one for _, one in found]

    def remove(self) -> None:
        self._path.unlink()
