"""Which rank failed first: from the ranks' signs of life, their own records of what was raised, and horovodrun's exit lines.

Horovod itself does not tell: after an exception on one rank it names another, a rank that hangs holds up all of them for ever,
and its stall check did not end them when tried.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.heartbeat import DONE, IN, LOADING
from train.job import FAILURE

_EXIT_LINE = re.compile(r"Process (\d+) exit with status code (\d+)\.")
_SILENCE = 15  # seconds without a tick until a rank counts as standing still
_FIRST_STEP = 600  # seconds at least to load, trace and compile, whatever the limit for later steps
_FROM_HOROVOD = ("HorovodInternalError", "UnknownError")  # the latter is what TensorFlow makes of the former


@dataclass(frozen=True)
class Failure:
    """Of a rank: what it raised (`record`, as train.worker writes it), or what was seen of it from outside."""

    rank: str
    reason: str
    record: dict[str, Any]


@dataclass
class _Seen:
    facts: dict[str, Any]
    ticked: float  # when its ticks last changed, by our own clock: those of other hosts may differ
    moved: float  # when its position last changed

    @property
    def tracing(self) -> bool:
        """Whether it is loading, or in its first step."""
        return bool(self.facts["position"] <= [self.facts["first"], IN] or self.facts["position"][0] == LOADING)


class Watch:
    def __init__(self, directory: Path, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._processes, self._clock = directory, processes, clock
        self._seen: dict[int, _Seen] = {}
        self._started = clock()

    def look(self) -> None:
        """Read every rank's sign of life."""
        now = self._clock()
        for path in self._directory.glob("rank.*.json"):
            facts = json.loads(path.read_text("utf-8"))
            before = self._seen.get(facts["rank"])
            ticked = now if before is None or before.facts["ticks"] != facts["ticks"] else before.ticked
            moved = now if before is None or before.facts["position"] != facts["position"] else before.moved
            self._seen[facts["rank"]] = _Seen(facts, ticked, moved)

    @property
    def training(self) -> bool:
        """Whether some rank has taken a step since it was started, and not yet all: it can write a checkpoint."""
        return any(not seen.tracing and seen.facts["position"][1:2] != [DONE] for seen in self._seen.values())

    def hanging(self, limit: float, lost: set[int]) -> Failure | None:
        """The rank that keeps the others waiting, when there is one. `lost` ranks are known to have ended.

        A rank without a tick stands still, and so do all in the end. When all tick and none has moved for `limit` seconds, it
        is the one furthest behind. While all load or trace their first step, the limit is at least ten minutes.
        """
        now = self._clock()
        alive = {rank: seen for rank, seen in self._seen.items() if rank not in lost}
        for rank, seen in sorted(alive.items()):
            if now - seen.ticked > _SILENCE:
                return Failure(str(rank), f"stands still: no sign of life for {now - seen.ticked:.0f} s, {_where(seen)}", {})
        if all(seen.tracing for seen in alive.values()):
            limit = max(limit, _FIRST_STEP)
        if now - max([self._started, *(seen.moved for seen in alive.values())]) <= limit:
            return None
        if missing := set(range(self._processes)) - alive.keys() - lost:
            return Failure(str(min(missing)), f"did not start within {limit:.0f} s", {})
        behind = min(alive, key=lambda rank: (alive[rank].facts["position"], rank))
        others = {tuple(seen.facts["position"]) for seen in alive.values()}
        alone = "" if len(others) > 1 else "; every rank is there, so which one is to blame cannot be told from outside"
        return Failure(
            str(behind), f"hangs: no rank got further for {limit:.0f} s (--hang-limit), {_where(alive[behind])}{alone}", {}
        )


def _where(seen: _Seen) -> str:
    return f"{seen.facts['phase']} (process {seen.facts['pid']} on {seen.facts['host']})"


def exits(log: str) -> dict[int, int]:
    """Rank → exit status, in the order in which horovodrun saw those that failed end; 128 + n: ended by signal n."""
    return {int(rank): int(status) for rank, status in _EXIT_LINE.findall(log)}


def first_failure(directory: Path, log: str) -> Failure | None:
    """The rank to name when a job ended, or None when no rank left a trace.

    First what a rank raised itself; then a rank that ended without a word, killed by the system or a person; last a rank whose
    all-reduce failed, which is what the end of another does to it.
    """
    records = [json.loads(path.read_text("utf-8")) for path in directory.glob(f"{FAILURE}.*.json")]
    records.sort(key=lambda record: record["time"])
    own = [record for record in records if record["type"] not in _FROM_HOROVOD]
    silent = {rank: status for rank, status in exits(log).items() if rank not in {record["rank"] for record in records}}
    if silent and not own:  # the others of a failed job are ended by SIGTERM: one of those counts only when there is no other
        rank, status = min(silent.items(), key=lambda one: one[1] == 128 + signal.SIGTERM)
        return Failure(str(rank), ended(status), {})
    return next((Failure(str(record["rank"]), record["error"], record) for record in own or records), None)


def ended(status: int) -> str:
    """An exit status in words."""
    if status <= 128:
        return f"ended with exit status {status} and said nothing"
    name = signal.Signals(status - 128).name
    hint = "; the kernel does that when memory runs out: dmesg | grep -i oom" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"
