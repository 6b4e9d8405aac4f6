"""What disturbs a measurement, and how busy the GPU is meanwhile.

Two looks at the CPU's counters tell what other processes and the hypervisor took between them;
NVML tells a GPU's utilisation, memory and power, five times a second.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import psutil

from slipway import provenance

# Limits beyond which a round no longer counts. The kernel's work for our own packets counts as
# other processes'; it stays below 2 %.
_MOST_OTHERS, _MOST_STEAL, _LEAST_CLOCK = 0.10, 0.05, 0.90
_GPU_PERIOD = 0.2  # seconds between two looks at the GPU


@dataclass(frozen=True)
class Disturbance:
    """What took the machine from a measurement."""

    others_share: float = 0.0  # of the cores' time, used by processes that are not ours
    steal_share: float = 0.0  # of the cores' time, taken by the hypervisor
    mhz: float | None = None  # mean clock of the cores; None: the machine does not tell


@dataclass(frozen=True, slots=True)
class Moment:
    """CPU time used so far, in seconds."""

    at: float  # time.monotonic
    busy: float  # of the cores this process may use, by any process
    steal: float  # of the same cores, by the hypervisor
    ours: float  # by this process, its children that ended, and the server


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; nothing when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def look(server: Iterable[psutil.Process]) -> Moment:
    """Read the counters. `server`: processes that are ours too, though they go on running."""
    cores = [times for core, times in enumerate(psutil.cpu_times(percpu=True)) if core in os.sched_getaffinity(0)]
    busy = sum(times.user + times.nice + times.system + times.irq + times.softirq for times in cores)
    ours = sum(os.times()[:4]) + sum(map(_seconds, server))
    return Moment(time.monotonic(), busy, sum(times.steal for times in cores), ours)


def between(before: Moment, after: Moment) -> Disturbance:
    """Return what others and the hypervisor took between two looks, and the clock now."""
    cores = (after.at - before.at) * len(os.sched_getaffinity(0))
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return Disturbance(max(0.0, others / cores), (after.steal - before.steal) / cores, _megahertz())


def disturbed(rounds: Sequence[Disturbance]) -> list[list[str]]:
    """Return why each round does not count, if so; clocks are compared with the fastest round's."""
    fastest = max((measured.mhz for measured in rounds if measured.mhz), default=0.0)
    return [_why(measured, fastest) for measured in rounds]


def _why(measured: Disturbance, fastest: float) -> list[str]:
    others, steal, mhz = measured.others_share, measured.steal_share, measured.mhz
    why = []
    if others > _MOST_OTHERS:
        why.append(f"busy: other processes took {others:.0%} of the cores, more than {_MOST_OTHERS:.0%}")
    if steal > _MOST_STEAL:
        why.append(f"throttled: the hypervisor took {steal:.0%} of the cores, more than {_MOST_STEAL:.0%}")
    if mhz and mhz < _LEAST_CLOCK * fastest:
        why.append(f"throttled: clocks at {mhz:.0f} MHz, below {_LEAST_CLOCK:.0%} of {fastest:.0f}")
    return why


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0


def _megahertz() -> float | None:
    with contextlib.suppress(NotImplementedError, OSError):
        clocks = [clock.current for core, clock in enumerate(psutil.cpu_freq(percpu=True)) if core in os.sched_getaffinity(0)]
        return float(np.mean(clocks)) if clocks else None
    return None


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Means over some time; None where the GPU does not tell."""

    utilisation: float | None  # %
    memory_mib: float | None
    watts: float | None = None


class GpuWatch:
    """The first GPU, if there is one: `with GpuWatch() as gpu: … gpu.since(moment)`.

    `why_not` says what is missing here; "" where a GPU can be watched.
    """

    def __init__(self) -> None:
        self.why_not = ", ".join(provenance.missing_gpu())
        self._seen: list[tuple[float, list[float]]] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> GpuWatch:
        if not self.why_not:
            self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if not self.why_not:
            self._watcher.join()

    def _watch(self) -> None:
        nvml, device = provenance.gpu_device()
        reads: tuple[Callable[[], float], ...] = (
            lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu,
            lambda: nvml.nvmlDeviceGetMemoryInfo(device).used / 2**20,
            lambda: nvml.nvmlDeviceGetPowerUsage(device) / 1000,
        )
        while not self._ended.wait(_GPU_PERIOD):
            values = []
            for read in reads:
                try:
                    values.append(float(read()))
                except nvml.NVMLError:  # not every GPU tells everything
                    values.append(math.nan)
            self._seen.append((time.monotonic(), values))

    def since(self, moment: float) -> GpuUse | None:
        """Return the means since `moment` (time.monotonic); None where nothing was seen."""
        samples = [values for at, values in list(self._seen) if at >= moment]
        if not samples:
            return None
        return GpuUse(*(float(mean) if np.isfinite(mean) else None for mean in np.mean(samples, axis=0)))
