"""The places of the programs that are no Python packages, and the environment they need."""

from __future__ import annotations

import os
import resource
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

HAPROXY = TOOLS / "haproxy" / "haproxy"  # its libraries beside it, in lib/

TENSORRT_API = TOOLS / "tensorrt"  # by major version; made by scripts.tensorrt_api

UMASK = 0o077  # for what handles texts: its files and shared memory are for its user alone

OPEN_FILES = 1024  # that Triton should be able to have: each client's connection takes one, a model about 20

PERF_ANALYZER = Path(sys.prefix) / "bin" / "perf_analyzer"
PERF_ANALYZER_LIBRARIES = TOOLS / "perf_analyzer"


def most_open_files() -> int:
    """Return how many files a process may open here, once it asks for it (`ulimit -Hn`)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def environment(libraries: Path) -> dict[str, str]:
    """Return an environment with `libraries` on the loader's path and this Python on PATH."""
    earlier = os.environ.get("LD_LIBRARY_PATH")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{libraries}:{earlier}" if earlier else str(libraries),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
    }
