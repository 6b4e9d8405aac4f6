"""The origin of a result: command, versions, machine, commit. It stands in every record."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Extensions that decide how fast a CPU multiplies matrices.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")


def record(*modules: str) -> dict[str, Any]:
    """Return the origin of a result, with the versions of those `modules` that are installed."""
    return {
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **versions(*modules)},
        "machine": machine(),
        "commit": commit(),
    }


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


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else sys.argv[0]
