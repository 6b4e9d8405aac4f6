"""The NVIDIA GPU that this process would use, asked of its driver without any framework."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from train.errors import ToolError

_DRIVER = "libcuda.so.1"
_VERSION = Path("/proc/driver/nvidia/version")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR, cuda.h


@dataclass(frozen=True)
class Gpu:
    name: str  # NVIDIA H200
    compute_capability: str  # 9.0
    driver: str  # 580.65.06


def current() -> Gpu:
    """Return the first visible GPU. Raises ToolError, whose `found` says what is not there."""
    try:
        cuda = ctypes.CDLL(_DRIVER)
    except OSError:
        raise _nothing(f"no {_DRIVER}, NVIDIA's driver") from None
    device, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGet(ctypes.byref(device), 0) != 0:
        raise _nothing("no NVIDIA GPU that this process may use")
    cuda.cuDeviceGetName(name, len(name), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    text = _VERSION.read_text("utf-8") if _VERSION.is_file() else ""
    return Gpu(name.value.decode(), ".".join(map(str, capability)), driver_version(text))


def absent() -> list[str]:
    """Return what keeps this process from using a GPU; empty when there is one."""
    try:
        current()
    except ToolError as error:
        return [error.found]
    return []


def driver_version(text: str) -> str:
    """Read the driver's version out of /proc/driver/nvidia/version; "unknown" where it is not."""
    version = re.search(r"Kernel Module\D*?(?:x86_64|aarch64)?\s+(\d+\.\d+(?:\.\d+)?)\b", text)
    return version[1] if version else "unknown"


def _nothing(found: str) -> ToolError:
    return ToolError(
        "there is no GPU to run on",
        expected="an NVIDIA GPU and its driver",
        found=found,
        where="this machine",
        fix="run in nvcr.io/nvidia/tensorflow:25.02-tf2-py3 on a machine with an NVIDIA GPU",
    )
