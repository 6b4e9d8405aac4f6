"""Print what this machine can run, and the commands that provide what is missing.

Runs with any Python 3.11, also before set-up. Exits with 9 where something is missing that set-up
should have provided; --strict counts what it provides for a GPU, if there is one.

    slipway doctor [--strict], or before set-up: python3.11 -m slipway.cli doctor
"""

from __future__ import annotations

import argparse
import ctypes.util
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

from slipway import provenance, tools
from slipway.errors import ToolError

_SETUP = "make setup"
# Asked of Horovod itself: `horovodrun --check-build` imports every framework in turn, which takes
# half a minute.
_HOROVOD = "import horovod.tensorflow as h, tensorflow as tf; print('gloo', bool(h.gloo_built()), 'nccl', bool(h.nccl_built())); "
_HOROVOD += "print('gpus', len(tf.config.list_physical_devices('GPU')))"
_GPU_SETUP = "HOROVOD_GPU_OPERATIONS=NCCL make setup (docs/gpu.md)"
_MORE_FILES = f"ulimit -Hn {tools.OPEN_FILES} as root: each connection to the server takes one"
_OLDEST_DRIVER = 580  # for CUDA 13, whose compiler requirements/cuda.txt has
_GPU_IMAGE = "nvcr.io/nvidia/tensorflow:25.02-tf2-py3, with an NVIDIA GPU"


@dataclass(frozen=True)
class Part:
    """One program, package or device, with the version that was looked for."""

    what: str
    wanted: str
    version: str  # "" when it is not there
    fix: str
    needed: bool = True  # False: Slipway runs without it, and skips what needs it

    @property
    def is_of_gpu_setup(self) -> bool:
        """Whether set-up provides it, if it is told to."""
        return self.fix == _GPU_SETUP

    @property
    def good(self) -> bool:
        return bool(self.version) and (self.wanted.startswith("any") or self.version.startswith(self.wanted))


def doctor(arguments: argparse.Namespace) -> int:
    parts = [*_programs(), *_packages(), *_tools(), *_gpu()]
    if arguments.strict and not provenance.missing_gpu():
        parts = [replace(part, needed=part.needed or part.is_of_gpu_setup) for part in parts]
    print(_line("", "", "wanted", "found"))
    for part in parts:
        mark = "ok" if part.good else ("MISSING" if part.needed else "absent")
        print(_line(mark, part.what, part.wanted, part.version or "–"))
        if not part.good:
            print(_line("", f"→ {part.fix}", "", ""))
    missing = [part.what for part in parts if part.needed and not part.good]
    needed = "Everything that is needed is here; commands skip what is absent, and say so.\n"
    needed += "The embedded Triton is for one machine and development."
    print(f"\nmissing: {', '.join(missing)}" if missing else f"\n{needed}")
    return ToolError.exit_code if missing else 0


def _line(mark: str, what: str, wanted: str, version: str) -> str:
    """Return a line of the table; of a long `what` the other cells begin where it ends."""
    return f"{mark:<7}  {what:<27}  {wanted:<14}  {version}".rstrip()


def _programs() -> list[Part]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    new_enough = glibc if tuple(map(int, glibc.split()[-1].split("."))) >= (2, 35) else ""
    return [
        Part("Python", "3.11", python, "apt-get install python3.11"),
        Part("g++", "any", _first_line(["g++", "--version"]), "apt-get install g++"),
        Part("make", "any", _first_line(["make", "--version"]), "apt-get install make"),
        Part("open files, at most", f"any from {tools.OPEN_FILES}", _open_files(), _MORE_FILES, False),
        Part("glibc", "any from 2.35", new_enough, "Debian 12, Ubuntu 22.04 or newer (perf_analyzer, Triton)"),
    ]


def _open_files() -> str:
    most = tools.most_open_files()
    return str(most) if most >= tools.OPEN_FILES else ""


def _packages() -> list[Part]:
    names = (
        "tensorflow",
        "tf_keras",
        "tensorflow-hub",
        "tf2onnx",
        "onnx",
        "onnxruntime",
        "tokenizers",
        "tritonclient",
        "polygraphy",
    )
    return [Part(name, _locked(name), _installed(name), _SETUP) for name in names]


def _tools() -> list[Part]:
    horovod = _run([sys.executable, "-c", _HOROVOD])
    works = _installed("horovod") if "gloo True" in horovod else ""
    nccl = "yes" if "nccl True" in horovod else ""
    seen = re.search(r"gpus ([1-9]\d*)", horovod)
    chromium = shutil.which("chromium") or ""
    analyzer = _run([str(tools.PERF_ANALYZER), "--version"], tools.environment(tools.PERF_ANALYZER_LIBRARIES))
    return [
        Part("Horovod (TensorFlow, Gloo)", "0.28.1", works, _SETUP),
        Part("CUDA's libraries, training", "12.3", _installed("nvidia-cuda-runtime-cu12"), _GPU_SETUP, False),
        Part("Horovod with NCCL", "any", nccl, _GPU_SETUP, False),
        Part("GPUs TensorFlow sees", "any", seen[1] if seen else "", "a GPU, its driver, and the two above", False),
        Part("Triton, embedded", "2.51", _triton_version(), _SETUP),
        Part("HAProxy, in front of it", "2.8", _version_in(_run([str(tools.HAPROXY), "-v"])), _SETUP),
        Part("perf_analyzer", "2.51", _version_in(analyzer), _SETUP),
        Part("encoder (MiniLM-L6)", "any", "made" if (tools.ENCODER / "encoder.json").is_file() else "", _SETUP),
        Part("Triton, production", "any from 26.08", "", "nvcr.io/nvidia/tritonserver behind a proxy (docs/limits.md)", False),
        Part("Chromium", "any", chromium, "apt-get install chromium (one test looks at the report in it)", False),
    ]


def _gpu() -> list[Part]:
    gpu = None if provenance.missing_gpu() else provenance.current_gpu()
    driver = gpu.driver if gpu and int(gpu.driver.split(".")[0]) >= _OLDEST_DRIVER else ""
    older = f"docs/gpu.md; {gpu.driver} is here" if gpu else "NVIDIA's driver (docs/gpu.md)"
    tensorrt = _library("nvinfer")
    # TF-TRT is asked for by its library: importing TensorFlow's converter without it would abort
    # this process.
    tftrt = tensorrt if tensorrt and _library("nvinfer_plugin") else ""
    return [
        Part("NVIDIA GPU", "any", gpu.name if gpu else "", "a machine with one", False),
        Part("NVIDIA driver", f"any from {_OLDEST_DRIVER}", driver, older, False),
        Part("TensorRT", "any of 10, 11", tensorrt, _GPU_IMAGE, False),
        Part("TF-TRT", "any", tftrt, _GPU_IMAGE, False),
    ]


def _locked(name: str) -> str:
    """Return the version of a package in the checkout's lock; "any" where it is in none."""
    lock, wanted = tools.CHECKOUT / "requirements" / "all.txt", name.replace("_", "-")
    lines = lock.read_text("utf-8").splitlines() if lock.is_file() else []
    return next((line.split("==")[1].split()[0] for line in lines if line.startswith(f"{wanted}==")), "any")


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _library(name: str) -> str:
    return ctypes.util.find_library(name) or ""


def _triton_version() -> str:
    """Return the version that Triton prints when it starts, even if it then finds no repository."""
    flags = [f"--allow-{name}=false" for name in ("http", "grpc", "metrics")]
    command = [str(tools.TRITON_SERVER), "--model-repository=/nonexistent", *flags]
    output = _run(command, tools.environment(tools.TRITON_LIBRARIES), status=1)
    return next((line.split("|")[2].strip() for line in output.splitlines() if "server_version" in line), "")


def _run(command: list[str], environment: dict[str, str] | None = None, status: int = 0) -> str:
    """Return what the command printed, or "" when it is missing or ended with another status."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == status else ""


def _first_line(command: list[str]) -> str:
    """Return the first line that the command prints, without what stands in brackets."""
    lines = _run(command).splitlines()
    return " ".join(re.sub(r"\(.*?\)", "", lines[0]).split()) if lines else ""


def _version_in(text: str) -> str:
    """Return the first word that looks like a version."""
    return next((word for word in text.replace("|", " ").split() if word[0].isdigit() and "." in word), "")
