"""CUDA's libraries: loaded before ONNX Runtime looks for them, and the versions that this process has loaded in the end."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

import onnxruntime

_MAPPED = Path("/proc/self/maps")


def load() -> None:
    """For ONNX Runtime's CUDA provider, which looks for them beside its own package, and then where the system's loader does.

    PyTorch may lie in another directory of packages. It finds those it came with, and what is loaded is found by its name.
    """
    if importlib.util.find_spec("torch"):
        importlib.import_module("torch")
    onnxruntime.preload_dlls()


def versions() -> dict[str, str]:
    """Of those that are loaded, as they say themselves: {"CUDA": "12.8", "cuDNN": "9.10.2", "cuBLAS": "12.8.4"}."""
    paths = loaded(_MAPPED.read_text("utf-8"))
    return {name: ask(ctypes.CDLL(paths[file])) for name, file, ask in _ASKED if file in paths}


def loaded(maps: str) -> dict[str, str]:
    """Name of a library → its path, out of a process' memory map (proc(5))."""
    return {name: path for path, name in re.findall(r"\s(/.*/(lib\w+)\.so[.\d]*)$", maps, re.MULTILINE)}


def cuda(library: Any) -> str:
    """12080 is 12.8."""
    number = ctypes.c_int()
    library.cudaRuntimeGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def cudnn(library: Any) -> str:
    """91002 is 9.10.2: so since cuDNN 9."""
    number = int(library.cudnnGetVersion())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def cublas(library: Any) -> str:
    """Major, minor and patch, each asked for by its number (libraryPropertyType, library_types.h)."""
    number, found = ctypes.c_int(), []
    for part in range(3):
        library.cublasGetProperty(part, ctypes.byref(number))
        found.append(str(number.value))
    return ".".join(found)


_ASKED = (("CUDA", "libcudart", cuda), ("cuDNN", "libcudnn", cudnn), ("cuBLAS", "libcublas", cublas))
