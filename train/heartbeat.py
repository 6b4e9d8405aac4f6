"""Signs of life of a rank: rank.<n>.json in the job's directory, written twice a second from a thread of its own.

The thread goes on when the training step does not, so that the supervisor can tell a process that stands still (stopped,
its machine gone: no ticks) from one that waits or computes (ticks, and where it is).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from train.job import ENDED

_EVERY = 0.5  # seconds
LOADING = -1  # the step of a rank that has not begun
BEFORE, IN, AFTER = range(3)  # stages of a step
DONE = 3  # stage of a rank that has taken all steps, and evaluates
_ENDED_BY_SUPERVISOR = 1


class Heartbeat:
    """A context manager; `rank` is the one the process was started as, `at` says where it is now."""

    def __init__(self, directory: Path, rank: int) -> None:
        self._path = directory / f"rank.{rank}.json"
        self._facts: dict[str, Any] = {"rank": rank, "host": socket.gethostname(), "pid": os.getpid()}
        self.begin(0)
        self.at("starting", LOADING)
        self._ticks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, step: int) -> None:
        """Say that the next step, from 0, is the first one: it takes longer, because it is traced and compiled."""
        self._first = step

    def at(self, phase: str, *position: int) -> None:
        """`phase` is for people; `position` grows with the work done: step, stage, and what is counted in it. Costs nothing:
        the thread writes."""
        self._where = {"phase": phase, "position": position}

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self._beat()
                ended = (self._path.parent / ENDED).exists()
            except FileNotFoundError:  # with its directory
                ended = True
            except OSError:  # a full disk, a file system that is away: no sign of life for now
                continue
            if ended:  # by the supervisor, who cannot kill a rank on another host
                os._exit(_ENDED_BY_SUPERVISOR)

    def _beat(self) -> None:
        self._ticks += 1
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({**self._facts, **self._where, "first": self._first, "ticks": self._ticks}), "utf-8")
        beside.replace(self._path)
