"""Faults of the file system in this process, and what a command has to leave behind after one.

Python asks its audit hooks before it opens, makes, links or renames a file, and what a hook raises
is what the caller gets. So a fault is met wherever Python writes, in our code and in libraries, as
the kernel's own would be, at the n-th operation below a directory, without root and without a disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from slipway import cli

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MAKING = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}  # event → which argument is the new name
_CHANGING = {**_MAKING, "os.remove": 0, "os.rmdir": 0, "os.chmod": 0, "os.truncate": 0, "os.utime": 0}


@dataclass
class Fault:
    """Operations below `root` fail with `number` from the `first` on, counted from 1.

    `reading`: those that read, and no others. `removing`: also those that remove or change what is
    there, as on a file system that is read-only; a full disk lets one remove.
    """

    root: Path
    number: int
    first: int = 1
    reading: bool = False
    removing: bool = False
    met: int = 0

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        events = _CHANGING if self.removing else _MAKING
        if event == "open":
            path, flags = arguments[0], arguments[2]
            counts = self.reading != bool(flags & _WRITES)
        else:
            path, counts = (arguments[events[event]], not self.reading) if event in events else (None, False)
        if not counts or not isinstance(path, str | bytes | os.PathLike):
            return
        if not Path(os.fsdecode(path)).absolute().is_relative_to(self.root):
            return
        self.met += 1
        if self.met >= self.first:
            raise OSError(self.number, os.strerror(self.number), os.fsdecode(path))


_active: list[Fault] = []


@cache  # a hook cannot be taken away again
def _hook() -> None:
    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if _active and (event == "open" or event in _CHANGING):
            _active[-1].look(event, arguments)

    sys.addaudithook(look)


@contextmanager
def failing(fault: Fault) -> Iterator[Fault]:
    """Have the fault met in the block."""
    _hook()
    _active.append(fault)
    try:
        yield fault
    finally:
        _active.pop()


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `slipway …` in this process, where the faults are. It has to end, with a status."""
    command = ["slipway", *map(str, words)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", command),
            mock.patch.dict(os.environ),
            warnings.catch_warnings(action="ignore"),  # as a person's Python does
        ):
            cli.main()
    except SystemExit as end:
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(command, int(end.code or 0), *said)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def tree(root: Path) -> dict[str, str]:
    """Return relative path → sha256 of every file below `root`, and "" of every directory."""
    return {
        str(path.relative_to(root)): "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
    }
