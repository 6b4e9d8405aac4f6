"""Where a result came from: command, versions, machine, commit. Written beside every result, read by the report."""

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

# What decides how fast a CPU multiplies matrices.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")


def record(*modules: str) -> dict[str, Any]:
    """`modules`, as they are imported: their versions are recorded, of those that are here."""
    return {
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **versions(*modules)},
        "machine": machine(),
        "commit": commit(),
    }


def versions(*modules: str) -> dict[str, str]:
    """Of the distributions that hold these modules: ONNX Runtime's has another name where it is built for a GPU."""
    names = dict.fromkeys(name for module in modules for name in _distributions().get(module, ()))
    return {name: importlib.metadata.version(name) for name in names}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()  # reads what every package installed


def machine() -> dict[str, Any]:
    """CPU model, the flags that matter, the cores this process may use, and memory in GiB."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
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
    """The checkout's commit, with "-dirty" when tracked files differ from it; "" outside a git checkout.

    A copy without .git, or one whose owner git distrusts, is told it in SLIPWAY_COMMIT.
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
