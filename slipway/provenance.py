"""The origin of a result, which stands in every record: command, versions, machine, commit; and
the GPU of this machine.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from slipway.errors import ToolError

_GPU_MACHINE = "run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3 on a machine with an NVIDIA GPU"
# Extensions that decide how a CPU multiplies matrices: how fast, and with which rounding. A served
# version (serving/backend/engine.py, which has this list too) compares them with its gate's.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16")
_HEADERS = ("--header", "-H")  # options of Slipway's and of perf_analyzer's


@dataclass(frozen=True)
class Gpu:
    name: str  # NVIDIA H200
    compute_capability: str  # 9.0
    driver: str  # 580.65.06


def record(*modules: str) -> dict[str, Any]:
    """Return the origin of a result, with the versions of those `modules` that are installed."""
    return {
        "command": shown([*_program(), *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **versions(*modules)},
        "machine": machine(),
        "commit": commit(),
    }


def shown(words: Sequence[str]) -> str:
    """Return a command line as a record may keep it: a header has its name, and … for its value,
    which may be a key.
    """
    line = [words[0]]
    for before, word in pairwise(words):
        is_header = before in _HEADERS or word.startswith("--header=")
        line.append(f"{word.partition(':')[0]}:…" if is_header else word)
    return shlex.join(line)


def now() -> str:
    """Return the time, in UTC and to the second, as a record's `made_at` has it (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(*modules: str) -> dict[str, str]:
    """Return the versions of the modules' distributions; names differ, as in onnxruntime-gpu."""
    names = dict.fromkeys(name for module in modules for name in _distributions().get(module, ()))
    return {name: importlib.metadata.version(name) for name in names}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()  # reads what every package installed


def machine() -> dict[str, Any]:
    """Return CPU model, flags that matter, cores that this process may use, and memory in GiB."""
    first_core = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first_core.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    flags = fields.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": platform.platform(),
    }


def current_gpu() -> Gpu:
    """Return the first GPU of CUDA_VISIBLE_DEVICES, or of all. Raises ToolError without one."""
    nvml, device = gpu_device()
    capability = ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(device)))
    return Gpu(nvml.nvmlDeviceGetName(device), capability, nvml.nvmlSystemGetDriverVersion())


def gpu_device() -> tuple[Any, Any]:
    """Return the module pynvml, initialised, and its handle of that GPU. Raises ToolError."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError as error:
        install = shlex.join([sys.executable, "-m", "pip", "install", "nvidia-ml-py"])
        raise _no_gpu("no package nvidia-ml-py", install) from error
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        nvml.nvmlInit()
        find = nvml.nvmlDeviceGetHandleByIndex if visible.isdecimal() else nvml.nvmlDeviceGetHandleByUUID
        return nvml, find(int(visible) if visible.isdecimal() else visible)
    except nvml.NVMLError as error:
        raise _no_gpu(f"no NVIDIA GPU ({error})") from error


def _no_gpu(found: str, fix: str = _GPU_MACHINE) -> ToolError:
    return ToolError(
        "there is no GPU to run on",
        expected="an NVIDIA GPU and its driver",
        found=found,
        where="this machine",
        fix=fix,
    )


def missing_gpu() -> list[str]:
    """Return what keeps this process from using a GPU; empty when there is one."""
    try:
        current_gpu()
    except ToolError as error:
        return [error.found]
    return []


def commit() -> str:
    """Return the checkout's commit, with "-dirty" when tracked files differ; "" outside a checkout.

    SLIPWAY_COMMIT overrides it, for a copy without .git or one whose owner git distrusts.
    """
    if given := os.environ.get("SLIPWAY_COMMIT"):
        return given
    command = ["git", "-C", str(Path(__file__).parents[1]), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _program() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if Path(sys.argv[0]).name == "slipway" or (spec and spec.name == "slipway.cli"):
        return ["slipway"]
    return ["python", "-m", spec.name] if spec else ["python", sys.argv[0]]
