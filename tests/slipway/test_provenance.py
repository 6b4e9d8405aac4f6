"""Where a result came from is told of a GPU machine's packages and of a copy without .git too."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway import provenance
from slipway.errors import ToolError


@pytest.fixture
def onnxruntime_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which the package is installed as onnxruntime-gpu alone."""

    def version(name: str) -> str:
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(provenance, "_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"], "numpy": ["numpy"]})


@pytest.mark.usefixtures("onnxruntime_for_gpus")
def test_a_module_has_the_version_of_whatever_package_it_came_in() -> None:
    found = provenance.record("onnxruntime", "numpy", "torch")["versions"]
    del found["python"]
    assert found == {"onnxruntime-gpu": "1.2.3", "numpy": "1.2.3"}


@pytest.mark.parametrize("given", [["--header", "x-key: a b"], ["--header=x-key:a"], ["-H", "x-key:a"]])
def test_a_recorded_command_has_no_headers_value(given: list[str]) -> None:
    words = ["slipway", "bench", "runs/a b", *given, "--tls"]
    assert provenance.shown(words) == shlex.join([*words[:3], *given[:-1], given[-1].partition(":")[0] + ":…", "--tls"])


def test_what_is_imported_here_has_its_version() -> None:
    assert provenance.versions("numpy") == {"numpy": importlib.metadata.version("numpy")}


def test_a_copy_of_the_checkout_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_COMMIT", "abc123-dirty")
    assert provenance.commit() == "abc123-dirty"


def test_a_copy_that_is_told_nothing_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLIPWAY_COMMIT", raising=False)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "train" / "provenance.py"))
    assert provenance.commit() == ""


def nvml(*gpus: str) -> Any:
    """NVIDIA's library on a machine with GPUs of these names, whose UUIDs are GPU-0, GPU-1, …"""

    class NVMLError(Exception):
        pass

    def find(number: int) -> str:
        if number >= len(gpus):
            raise NVMLError("Invalid Argument")
        return gpus[number]

    def find_uuid(uuid: str) -> str:
        if not uuid.startswith("GPU-"):
            raise NVMLError("Not Found")
        return find(int(uuid.removeprefix("GPU-")))

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=find,
        nvmlDeviceGetHandleByUUID=find_uuid,
        nvmlDeviceGetName=str,
        nvmlDeviceGetCudaComputeCapability=lambda _: (9, 0),
        nvmlSystemGetDriverVersion=lambda: "580.65.06",
    )


@pytest.mark.parametrize(("visible", "name"), [(None, "A"), ("1,0", "B"), ("GPU-1", "B")])
def test_the_gpu_is_the_first_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch, visible: str | None, name: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml("A", "B"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert provenance.current_gpu() == provenance.Gpu(name, "9.0", "580.65.06")
    assert provenance.missing_gpu() == []


@pytest.mark.parametrize(("visible", "gpus"), [("", ["A"]), ("-1", ["A"]), ("0", [])])
def test_a_machine_without_a_visible_gpu_says_so(monkeypatch: pytest.MonkeyPatch, visible: str, gpus: list[str]) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(*gpus))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ToolError, match="no NVIDIA GPU"):
        provenance.current_gpu()


def test_without_nvidias_package_there_is_no_gpu_and_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert provenance.missing_gpu() == ["no package nvidia-ml-py"]
    with pytest.raises(ToolError) as refused:
        provenance.current_gpu()
    assert "install nvidia-ml-py" in refused.value.fix  # not a container that this may already be
