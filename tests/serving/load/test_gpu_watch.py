from __future__ import annotations

import itertools
import sys
import time
from types import SimpleNamespace

import pytest

from serving.load.interference import GpuUse, GpuWatch


class NVMLError(Exception):
    """What NVML raises for all that a GPU does not tell."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU whose utilisation is 10, 20 and then 30 %, and that does not tell its power."""
    busy = itertools.chain((10, 20), itertools.repeat(30))

    def no_power(_: object) -> int:
        raise NVMLError

    fake = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _: "a GPU",
        nvmlDeviceGetCudaComputeCapability=lambda _: (9, 0),
        nvmlSystemGetDriverVersion=lambda: "580.65",
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=next(busy)),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=2 << 30),
        nvmlDeviceGetPowerUsage=no_power,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # a machine may hide its GPUs from all tests


def test_a_gpu_is_watched_until_the_block_ends(nvml: None) -> None:
    started = time.monotonic()
    with GpuWatch() as gpu:
        while (seen := gpu.since(started)) is None:
            assert time.monotonic() - started < 10
            time.sleep(0.02)
    assert seen.memory_mib == 2048
    assert seen.watts is None
    assert seen.utilisation is not None
    assert 10 <= seen.utilisation <= 30
    assert not gpu._watcher.is_alive()
    assert gpu.since(time.monotonic()) is None


def test_means_are_of_what_was_seen_since_then(nvml: None) -> None:
    gpu = GpuWatch()
    gpu._seen = [(1.0, [90, 1, 1]), (2.0, [10, 2048, float("nan")]), (3.0, [30, 2048, float("nan")])]
    assert gpu.since(2) == GpuUse(20, 2048, None)


def test_without_a_gpu_there_is_nothing_to_see_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with GpuWatch() as gpu:
        assert "nvidia-ml-py" in gpu.why_not
        assert gpu.since(0) is None
