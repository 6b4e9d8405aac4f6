"""How busy a GPU was, and its memory and power, five times a second while the block runs; nothing where there is none."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from types import TracebackType
from typing import IO

import numpy as np

_QUERY = "utilization.gpu,memory.used,power.draw"  # %, MiB, W


class GpuWatch:
    """`with GpuWatch() as gpu: … gpu.since(time.monotonic() − 1)`. Of several GPUs the first."""

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
                self._seen.append((time.monotonic(), [_number(one) for one in line.split(",")]))

    def since(self, moment: float) -> dict[str, float | None] | None:
        """Means since then; what this GPU does not tell is None."""
        rows = [values for at, values in list(self._seen) if at >= moment]
        if not rows:
            return None
        means = [float(one) if np.isfinite(one) else None for one in np.mean(rows, axis=0)]
        return dict(zip(("utilisation", "memory_mib", "watts"), means, strict=True))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return float("nan")
