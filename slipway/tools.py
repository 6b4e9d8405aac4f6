"""The places of the programs that are no Python packages, and the environment they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
TOOLS = CHECKOUT / ".tools"
WHEELS = TOOLS / "wheels"
ENCODER = TOOLS / "encoder"
HOROVOD_OPERATIONS = TOOLS / "horovod-operations"  # its content: NCCL where Horovod was built with it, or nothing

TRITON = TOOLS / "triton"
TRITON_SERVER = TRITON / "bin" / "tritonserver"
TRITON_BACKENDS = TRITON / "backends"
TRITON_LIBRARIES = TRITON / "libs"
TRITON_KEY = TRITON / "hidden_key.so"  # of scripts/hidden_key.c

TENSORRT_API = TOOLS / "tensorrt"  # by major version; made by scripts.tensorrt_api

UMASK = 0o077  # for what handles texts: its files and shared memory are for its user alone

PERF_ANALYZER = Path(sys.prefix) / "bin" / "perf_analyzer"
PERF_ANALYZER_LIBRARIES = TOOLS / "perf_analyzer"


def environment(libraries: Path) -> dict[str, str]:
    """Return an environment with `libraries` on the loader's path and this Python on PATH."""
    earlier = os.environ.get("LD_LIBRARY_PATH")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{libraries}:{earlier}" if earlier else str(libraries),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
    }
