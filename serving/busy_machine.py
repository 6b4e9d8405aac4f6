"""How much of the cores others took while something was measured, how much the hypervisor, and whether clocks fell.

Read from /proc/stat and /proc/cpuinfo before and after, for the cores this process may use: less than a millisecond each.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

# What a round may see of each before it no longer counts. The kernel's work for our own packets counts as others': below 2 %.
MOST_OTHERS, MOST_STEAL, LEAST_CLOCK = 0.10, 0.05, 0.90
_BUSY, _STEAL = (0, 1, 2, 5, 6), 7  # columns of /proc/stat: user, nice, system, irq, softirq
_HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Moment:
    at: float  # s
    busy: float  # s of all our cores, by anybody
    steal: float  # s
    ours: float  # s, by this process, its children that ended, and the server


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it. Empty when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        one = psutil.Process(pid)
        return [one, *one.children(recursive=True)]
    return []


def look(server: Iterable[psutil.Process]) -> Moment:
    """`server`: processes that are ours too, though they do not end."""
    busy, steal = _cores()
    used = os.times()
    ours = used.user + used.system + used.children_user + used.children_system + sum(map(_seconds, server))
    return Moment(time.monotonic(), busy, steal, ours)


def between(before: Moment, after: Moment) -> dict[str, Any]:
    """Shares of the cores' time, and the mean clock now, in MHz, where the machine tells."""
    cores = (after.at - before.at) * len(os.sched_getaffinity(0))
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return {
        "others_share": max(0.0, others / cores),
        "steal_share": (after.steal - before.steal) / cores,
        "mhz": _megahertz(),
    }


def disturbed(rounds: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Of each round of a load why it does not count; nothing where it does. A clock is compared with the fastest round's."""
    fastest = max((one["mhz"] for one in rounds if one["mhz"]), default=0.0)
    return [_why(one, fastest) for one in rounds]


def _why(found: dict[str, Any], fastest: float) -> list[str]:
    why = []
    if found["others_share"] > MOST_OTHERS:
        why.append(f"busy: other processes took {found['others_share']:.0%} of the cores, more than {MOST_OTHERS:.0%}")
    if found["steal_share"] > MOST_STEAL:
        why.append(f"throttled: the hypervisor took {found['steal_share']:.0%} of the cores, more than {MOST_STEAL:.0%}")
    if found["mhz"] and found["mhz"] < LEAST_CLOCK * fastest:
        why.append(f"throttled: clocks at {found['mhz']:.0f} MHz, below {LEAST_CLOCK:.0%} of {fastest:.0f}")
    return why


def _cores() -> tuple[float, float]:
    """Seconds busy and stolen, of the cores this process may use."""
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = (line.split() for line in Path("/proc/stat").read_text("utf-8").splitlines())
    times = np.array([line[1:9] for line in lines if line[0] in mine], float).sum(axis=0) / _HERTZ
    return float(times[list(_BUSY)].sum()), float(times[_STEAL])


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0


def _megahertz() -> float | None:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    mine = [clocks[core] for core in os.sched_getaffinity(0) if core < len(clocks)]
    return float(np.mean(mine)) if mine else None
