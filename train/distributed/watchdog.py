"""Signs of life of the ranks, and which rank failed first.

A thread of every rank writes rank.<n>.json in the job's directory twice a second, and goes on when
the training step does not. So the supervisor can tell a process that stands still (stopped, or its
machine is gone: no ticks) from one that waits or computes (ticks). A rank that raises leaves
failure.<n>.json.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from train.job import ENDED, FAILURE

_BEAT_EVERY = 0.5  # seconds
LOADING = -1  # the step of a rank that has not begun
BEFORE, IN, AFTER = range(3)  # stages of a step
DONE = 3  # stage of a rank that has taken all steps, and evaluates
_ENDED_BY_SUPERVISOR = 1
_EXIT_LINE = re.compile(r"Process (\d+) exit with status code (\d+)\.")
_SILENCE = 15  # seconds without a tick until a rank counts as standing still
_FIRST_STEP = 600  # seconds at least to load, trace and compile, whatever the limit for later steps
_FROM_HOROVOD = ("HorovodInternalError", "UnknownError")  # the latter is what TensorFlow makes of the former


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


@dataclass(frozen=True)
class RankError:
    """An error that a rank raised: the content of failure.<rank>.json."""

    rank: int
    time: float  # seconds since 1970
    type: str  # name of the exception's class
    error: str  # type and text
    slipway: dict[str, str]  # parts of a SlipwayError: summary, expected, found, where, fix; else empty
    trace: str

    def write(self, directory: Path) -> None:
        beside = directory / f".{FAILURE}.{self.rank}"
        beside.write_text(json.dumps(asdict(self)), "utf-8")
        beside.replace(directory / f"{FAILURE}.{self.rank}.json")  # complete when the supervisor sees it


@dataclass(frozen=True)
class Failure:
    """The rank that made a job fail, and why; with its error where it recorded one."""

    rank: str
    reason: str
    error: RankError | None = None


class Watch:
    """The ranks of a job in `directory`, as their signs of life show them."""

    def __init__(self, directory: Path, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._processes, self._clock = directory, processes, clock
        self._observed: dict[int, _Observed] = {}
        self._started = clock()

    def look(self) -> None:
        """Read every rank's sign of life."""
        now = self._clock()
        for path in self._directory.glob("rank.*.json"):
            sign = SignOfLife(**json.loads(path.read_text("utf-8")))
            before = self._observed.get(sign.rank)
            ticked = before.ticked if before and before.sign.ticks == sign.ticks else now
            moved = before.moved if before and before.sign.position == sign.position else now
            self._observed[sign.rank] = _Observed(sign, ticked, moved)

    @property
    def training(self) -> bool:
        """Return whether a rank has taken a step, but not all: it can write a checkpoint."""
        return any(not rank.tracing and rank.sign.position[1:2] != [DONE] for rank in self._observed.values())

    def hanging(self, limit: float, lost: set[int]) -> Failure | None:
        """Return the rank that keeps the others waiting. `lost` ranks are known to have ended.

        A rank without a tick stands still, and so do all in the end. When all tick and none has
        moved for `limit` seconds, the one furthest behind hangs. While all load or trace their
        first step, the limit is at least ten minutes.
        """
        now = self._clock()
        alive = {number: rank for number, rank in self._observed.items() if number not in lost}
        for number, rank in sorted(alive.items()):
            if now - rank.ticked > _SILENCE:
                return Failure(str(number), f"stands still: no sign of life for {now - rank.ticked:.0f} s, {rank}")
        if all(rank.tracing for rank in alive.values()):
            limit = max(limit, _FIRST_STEP)
        if now - max([self._started, *(rank.moved for rank in alive.values())]) <= limit:
            return None
        if missing := set(range(self._processes)) - alive.keys() - lost:
            return Failure(str(min(missing)), f"did not start within {limit:.0f} s")
        behind = min(alive, key=lambda number: (alive[number].sign.position, number))
        together = all(rank.sign.position == alive[behind].sign.position for rank in alive.values())
        doubt = "; every rank is there, so which one is to blame cannot be told from outside" if together else ""
        return Failure(str(behind), f"hangs: no rank got further for {limit:.0f} s (--hang-limit), {alive[behind]}{doubt}")

    @property
    def evaluating(self) -> str:
        """Return what the rank does that is furthest behind, once all have taken their steps; else
        "".
        """
        signs = [rank.sign for rank in self._observed.values()]
        if not signs or any(sign.position[1:2] != [DONE] for sign in signs):
            return ""
        return min(signs, key=lambda sign: sign.position).phase


@dataclass(frozen=True)
class _Observed:
    """The newest sign of life of a rank, with times of our own clock: hosts' clocks differ."""

    sign: SignOfLife
    ticked: float  # when its ticks last changed
    moved: float  # when its position last changed

    @property
    def tracing(self) -> bool:
        """Return whether it is loading, or in its first step."""
        return self.sign.position <= [self.sign.first, IN] or self.sign.position[0] == LOADING

    def __str__(self) -> str:
        return f"{self.sign.phase} (process {self.sign.pid} on {self.sign.host})"


def rank_errors(directory: Path) -> list[RankError]:
    """Return the errors that ranks left in the job's directory, the earliest first."""
    errors = [RankError(**json.loads(path.read_text("utf-8"))) for path in directory.glob(f"{FAILURE}.*.json")]
    return sorted(errors, key=lambda error: error.time)


def exit_statuses(log: str) -> dict[int, int]:
    """Return rank → exit status (128 + n: by signal n), in the order that horovodrun logged."""
    return {int(rank): int(status) for rank, status in _EXIT_LINE.findall(log)}


def first_failure(directory: Path, log: str) -> Failure | None:
    """Return the rank to name when a job ended, or None when no rank left a trace.

    A rank that raised an error of its own comes first; then one that ended without a word, killed
    by the system or a person; last one whose all-reduce failed, because that is what the end of
    another rank does to it.
    """
    errors = rank_errors(directory)
    own = [error for error in errors if error.type not in _FROM_HOROVOD]
    silent = {rank: status for rank, status in exit_statuses(log).items() if rank not in {error.rank for error in errors}}
    if silent and not own:
        # The others of a failed job are ended by SIGTERM: one of those counts only when there is no
        # other.
        rank = min(silent, key=lambda rank: silent[rank] == 128 + signal.SIGTERM)
        return Failure(str(rank), exit_text(silent[rank]))
    return next((Failure(str(error.rank), error.error, error) for error in own or errors), None)


def exit_text(status: int) -> str:
    """Return an exit status in words."""
    if status <= 128:
        return f"ended with exit status {status} and said nothing"
    name = signal.Signals(status - 128).name
    hint = "; the kernel does that when memory runs out: dmesg | grep -i oom" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"
