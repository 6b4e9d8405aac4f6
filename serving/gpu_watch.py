"""A GPU's utilisation, memory and power, read five times a second."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO

import numpy as np

_QUERY = "utilization.gpu,memory.used,power.draw"  # %, MiB, W


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Means over some time; None where the GPU does not tell."""

    utilisation: float | None  # %
    memory_mib: float | None
    watts: float | None = None


class GpuWatch:
    """The first GPU, watched with nvidia-smi: `with GpuWatch() as gpu: … gpu.since(moment)`.

    On a machine without nvidia-smi nothing is seen.
    """

    def __init__(self) -> None:
        self.there = shutil.which("nvidia-smi") is not None
        self._process: subprocess.Popen[str] | None = None
        self._seen: list[tuple[float, list[float]]] = []

    def __enter__(self) -> GpuWatch:
        if self.there:
            command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=200"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._seen.append((time.monotonic(), [_number(text) for text in line.split(",")]))

    def since(self, moment: float) -> GpuUse | None:
        """Return the means since `moment` (time.monotonic); None where nothing was seen."""
        samples = [values for at, values in list(self._seen) if at >= moment]
        if not samples:
            return None
        return GpuUse(*(float(mean) if np.isfinite(mean) else None for mean in np.mean(samples, axis=0)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return float("nan")
