"""TensorRT's Python API without TensorRT: bindings over empty libraries, and their type stubs.

The package index has TensorRT's bindings, not its libraries. Over libraries that define what the
bindings need and do nothing, the bindings import: every class, flag and signature is there, and
nothing can be built. So the one file that speaks to TensorRT is type-checked against the real API
of each version, on any machine. NVIDIA's files stay in .tools.

Reads requirements/tensorrt-<major>.txt; writes .tools/tensorrt/<major>/package/tensorrt (for
PYTHONPATH) and stubs/tensorrt (for MYPYPATH).

    python -m scripts.tensorrt_api
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from slipway import tools

_LOCKS = Path(__file__).parents[1] / "requirements"
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (  # the C functions that the bindings need of their libraries, in 10.16 and 11.4
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
# RTLD_LAZY: the C++ symbols, which the empty libraries lack, are looked up only when they are
# called.
IMPORT = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL); import tensorrt"
_WRITE_STUBS = f"{IMPORT}; import pybind11_stubgen as s; s.main(['tensorrt', '--output-dir', sys.argv[1], '--ignore-all-errors'])"


def main() -> int:
    for major, lock in locks().items():
        package = tools.TENSORRT_API / major / "package"
        if not list(package.glob(f"*_bindings-{_version(lock)}.dist-info")):
            _make(major, lock)
    return 0


def locks() -> dict[str, Path]:
    """Return major version → its lock file."""
    return {path.stem.rpartition("-")[2]: path for path in sorted(_LOCKS.glob("tensorrt-*.txt"))}


def _make(major: str, lock: Path) -> None:
    """Build .tools/tensorrt/<major> in a sibling, and rename it into place."""
    target = tools.TENSORRT_API / major
    building = target.with_name(f".{major}.building")
    shutil.rmtree(building, ignore_errors=True)
    package = building / "package"
    with zipfile.ZipFile(_wheel(lock)) as wheel:
        wheel.extractall(package)
    # NVIDIA's package `tensorrt` is a shell around this one; its own imports are relative, or of
    # the name `tensorrt`.
    (package / "tensorrt_bindings").rename(package / "tensorrt")
    _compile_libraries(major, package / "tensorrt")  # beside the bindings: their RPATH looks there
    _run([sys.executable, "-c", _WRITE_STUBS, str(building / "stubs")], {"PYTHONPATH": str(package)})
    for stub in (building / "stubs").rglob("*.pyi"):
        stub.write_text(repaired(stub.read_text("utf-8")), "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)


def _version(lock: Path) -> str:
    return lock.read_text("utf-8").partition("==")[2].split()[0]


def _wheel(lock: Path) -> Path:
    """Return the bindings' wheel; download it if needed, checked against the lock's hashes."""
    pattern = f"tensorrt_*_bindings-{_version(lock)}-*.whl"
    if not list(tools.WHEELS.glob(pattern)):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
        _run([*command, "-r", str(lock), "-d", str(tools.WHEELS)])
    return next(tools.WHEELS.glob(pattern))


def _compile_libraries(major: str, directory: Path) -> None:
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS)
    for library in _LIBRARIES:
        soname = f"lib{library}.so.{major}"
        link = ["-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(directory / soname)]
        _run(["g++", "-x", "c", "-", *link], stdin=source)


def repaired(stub: str) -> str:
    """Return the stub as valid Python: pybind11-stubgen writes what only C++ allows.

    That is: parameters called `in`, a parameter without a default after one with a default, and
    `bool`, which is a data type in this module.
    """
    stub = re.sub(r"\bin: ", "in_: ", stub)
    stub = re.sub(r"( = None, channel_axis: typing\.SupportsInt)\)", r"\1 = ...)", stub)
    stub = re.sub(r"(->|\w:) bool\b", r"\1 builtins.bool", stub)
    return stub.replace("from __future__ import annotations\n", "from __future__ import annotations\nimport builtins\n", 1)


def _run(command: list[str], environment: dict[str, str] | None = None, stdin: str | None = None) -> None:
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"\nerror: {' '.join(command)}\n  ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
