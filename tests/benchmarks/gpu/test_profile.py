"""Profiles of ONNX Runtime, and CUDA's libraries: told by what they print, map and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import onnxruntime
import pytest

from benchmarks.gpu import device, models, profile
from benchmarks.gpu.profile import GraphProfile
from slipway import errors

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_a_nodes_time_is_its_median_and_shares_are_of_all_nodes() -> None:
    def event(name: str, kind: str, microseconds: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": kind, "provider": "P"}}

    first_run_allocates = [event("a", "MatMul", 900), event("b", "MatMul", 10), event("c", "Tanh", 20)]
    later = [event("a", "MatMul", 50), event("b", "MatMul", 10), event("c", "Tanh", 20)]
    taken = profile.summary(GraphProfile("", 1, 4), [*first_run_allocates, *later, *later, {"cat": "Session", "name": "run"}])
    assert taken.nodes == 3
    assert [(times.operator, times.nodes, times.us) for times in taken.operators] == [("MatMul", 2, 60), ("Tanh", 1, 20)]
    assert taken.operators[0].share == 0.75


def test_one_graph_that_fails_does_not_cost_the_profiles_of_the_others(tiny: models.GpuModel, tmp_path: Path) -> None:
    files = {"none": tmp_path / "none.onnx", "fused": tiny.files["ort_fp32"]}
    profiles = profile.run(files, CPU, [(1, 4), (2, 8)])
    assert [(taken.variant, taken.batch, taken.tokens) for taken in profiles] == [
        ("none", 1, 4),
        ("none", 2, 8),
        ("fused", 1, 4),
        ("fused", 2, 8),
    ]
    assert all("none.onnx" in taken.failed for taken in profiles[:2])
    assert all(taken.nodes > 10 for taken in profiles[2:])


def test_a_profile_without_end_is_given_up_and_says_what_to_run(tiny: models.GpuModel) -> None:
    with pytest.raises(errors.ToolError, match=r"no end within 0 s(.|\n)*gpu\.profile"):
        profile.run({"fused": tiny.files["ort_fp32"]}, CPU, [(1, 4)], limit=0.01)


@pytest.mark.skipif(CUDA, reason="onnxruntime-gpu is here")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_fell_back_to_the_cpu_is_not_profiled(tiny: models.GpuModel) -> None:
    with (
        mock.patch.object(profile, "load_libraries"),
        pytest.raises(RuntimeError, match="expected CUDAExecutionProvider, found CPUExecutionProvider"),
    ):
        profile._profile(GraphProfile("", 1, 4), tiny.files["ort_fp32"], "CUDAExecutionProvider")


def test_the_kernels_of_a_profile_are_those_named_before_it() -> None:
    named = "\x1b[36mOperator=Attention Node=a DataType=fp16 SdpaKernel={}\x1b[0m\n"
    output = (
        named.format("MATH") * 2
        + '{"variant": "", "batch": 1, "tokens": 4}\n'
        + named.format("CUDNN_FLASH_ATTENTION")
        + '{"variant": "", "batch": 2, "tokens": 4}\n'
    )
    kernels = [taken.attention_kernels for taken in profile.parsed(output)]
    assert kernels == [("Attention MATH",), ("Attention CUDNN_FLASH_ATTENTION",)]


@pytest.mark.parametrize("pytorch", [True, False])
def test_pytorchs_libraries_are_loaded_before_onnx_runtime_looks_for_its_own(
    pytorch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _: pytorch or None)
    monkeypatch.setattr("importlib.import_module", done.append)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: done.append("onnxruntime"))
    device.load_libraries()
    assert done == ["torch", "onnxruntime"] if pytorch else ["onnxruntime"]
