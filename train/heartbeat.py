"""Signs of life of a rank: a thread writes rank.<n>.json in the job's directory twice a second.

The thread goes on when the training step does not. So the supervisor can tell a process that
stands still (stopped, or its machine is gone: no ticks) from one that waits or computes (ticks).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from train.job import ENDED

_BEAT_EVERY = 0.5  # seconds
LOADING = -1  # the step of a rank that has not begun
BEFORE, IN, AFTER = range(3)  # stages of a step
DONE = 3  # stage of a rank that has taken all steps, and evaluates
_ENDED_BY_SUPERVISOR = 1


@dataclass(frozen=True)
class SignOfLife:
    """The content of rank.<n>.json."""

    rank: int
    host: str
    pid: int
    phase: str  # for people
    position: list[int]  # grows with the work done: step, stage, and what is counted in the stage
    first: int  # the step, from 0, that is traced and compiled
    ticks: int  # signs given so far


class Heartbeat:
    """A context manager that gives signs of life for `rank`, as which this process was started."""

    def __init__(self, directory: Path, rank: int) -> None:
        self._path, self._rank = directory / f"rank.{rank}.json", rank
        self.begin(0)
        self.at("starting", LOADING)
        self._ticks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_ended, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, step: int) -> None:
        """Say that `step`, from 0, comes next and takes longer: it is traced and compiled."""
        self._first = step

    def at(self, phase: str, *position: int) -> None:
        """Say where this rank is now, as in `SignOfLife`. Costs nothing: the thread writes it."""
        self._where = phase, list(position)

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(_BEAT_EVERY):
            try:
                self._beat()
                ended = (self._path.parent / ENDED).exists()
            except FileNotFoundError:  # the job's directory is gone
                ended = True
            except OSError:  # a full disk, a file system that is away: no sign of life for now
                continue
            if ended:  # by the supervisor, who cannot kill a rank on another host
                os._exit(_ENDED_BY_SUPERVISOR)

    def _beat(self) -> None:
        self._ticks += 1
        sign = SignOfLife(self._rank, socket.gethostname(), os.getpid(), *self._where, self._first, self._ticks)
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(sign)), "utf-8")
        beside.replace(self._path)
