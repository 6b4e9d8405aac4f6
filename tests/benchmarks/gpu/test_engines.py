"""benchmarks.gpu.engines on the CPU: every line but the kernels, on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import pytest

from benchmarks.gpu import engines, measure, models, variants
from benchmarks.gpu.device import Deadline, Device
from benchmarks.gpu.profile import GraphProfile
from benchmarks.gpu.tables import ModelRecord
from slipway import errors
from slipway.contract.parity import comparison, judgement
from slipway.contract.records import from_json

CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
MEASURED = ModelRecord("tiny", 0, [], [], [], {}, [], None, {})


@pytest.fixture(scope="module")
def record(device: Device, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one run of the whole command."""
    path = tmp_path_factory.mktemp("gpu") / "engines.json"
    command = ["engines", "--provider", "cpu", "--size", "tiny", "--record", str(path), "--texts", "40"]
    command += ["--batch", "1", "--batch", "8", "--tokens", "32", "--tokens", "256"]
    with (
        mock.patch.multiple(measure, _CELL=0.0, _PASS=0.0),
        mock.patch.object(models, "ROWS", 1),
        mock.patch.object(engines, "Device", return_value=device),
        mock.patch.object(sys, "argv", command),
    ):
        assert engines.main() == 0
    written: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return written


def test_every_variant_is_compared_with_fp32_by_the_gate(record: dict[str, Any]) -> None:
    (tiny,) = record["models"]
    assert [entry["variant"] for entry in tiny["parity"]] == ["ort_fp32", "onnx_fp16", "ort_fp16", "ort_fp16_starts"]
    for entry in tiny["parity"]:
        assert entry["passed"]
        assert entry["rows"] >= 299
        assert {"flip_rate_bound", "accuracy_loss_bound", "logit_difference_max", "invariance", "precision"} <= entry.keys()


def test_every_shape_has_its_rates_and_ratios(record: dict[str, Any]) -> None:
    cells = record["models"][0]["shapes"]
    assert [(cell["batch"], cell["tokens"]) for cell in cells] == [(1, 32), (8, 32)]
    for cell in cells:
        for row in cell["contenders"].values():
            assert row["rounds"] >= 6
            assert row["sequences_per_second"] == pytest.approx(cell["batch"] / (row["ms"] / 1e3))
            assert row["share_of_peak"] == pytest.approx(row["tflops"] / record["matmul_peak"]["tflops"])
        assert cell["ratios"]["ort_fp16"]["ratio"] == 1


def test_ag_news_lengths_are_measured_sorted_and_as_they_come(record: dict[str, Any]) -> None:
    result = record["models"][0]["ag_news"]
    assert set(result) == set(models.ORDERS)
    assert result["as they come"]["padding"] >= result["length-sorted"]["padding"] > 0


def test_what_was_skipped_says_why(record: dict[str, Any]) -> None:
    skipped = record["models"][0]["skipped"]
    assert "PackedAttention" in skipped["packed_fp16"]
    assert {skipped[name] for name in models.CAPTURED} == {"a CPU has no CUDA graphs"}
    assert skipped["8 × 256"] == "the model has 64 positions"


def test_the_floor_has_the_launches_of_the_graph_with_the_simplest_mask(record: dict[str, Any]) -> None:
    (tiny,) = record["models"]
    nodes = {entry["variant"]: entry["nodes"] for entry in tiny["profiles"] if entry["batch"] == 1}
    assert tiny["batch_of_one"]["nodes"] == nodes["ort_fp16"] > 20
    assert nodes["ort_fp16_starts"] > nodes["ort_fp16"]
    assert tiny["batch_of_one"]["contenders"]["ort_fp16"]["over_floor"] > 1


def test_nothing_of_it_counts_as_reached(record: dict[str, Any]) -> None:
    assert [target["met"] for target in record["targets"]] == [None] * 4
    assert record["device"] == {"kind": "cpu", "provider": "CPUExecutionProvider"}
    assert {"onnx", "numpy"} <= record["versions"].keys()


def test_a_trial_on_a_cpu_never_takes_the_records_place(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["engines", "--provider", "cpu"])
    with pytest.raises(SystemExit):
        engines.main()
    assert "--record" in capsys.readouterr().err


@pytest.mark.skipif(CUDA, reason="onnxruntime-gpu is here")
def test_without_a_gpu_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.provenance.current_gpu", lambda: None)
    with pytest.raises(errors.ToolError, match=r"onnxruntime-gpu(.|\n)*requirements/gpu.txt"):
        Device("cuda")


def test_without_a_driver_the_way_out_is_the_cpu_and_no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(errors.ToolError, match=r"nvidia-ml-py(.|\n)*--provider cpu") as raised:
        Device("cuda")
    assert "nvcr.io" not in str(raised.value)


def test_a_contender_that_answered_otherwise_fails_the_command(record: dict[str, Any]) -> None:
    model = from_json(ModelRecord, record["models"][0])
    assert engines._passed(model)
    model.shapes[0].left_out["ort_fp16 + CUDA graph"] = f"{measure.OTHERWISE}: |Δlogit| 2"
    assert not engines._passed(model)


def run(device: Device, path: Path, *arguments: str, **measure: Any) -> int:
    """The command with two sizes, none of them made; `measure` stands in for measuring."""
    command = ["engines", "--provider", "cpu", "--size", "tiny", "--size", "bert-base", "--record", str(path), *arguments]
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(models, "random", mock.MagicMock()),
        mock.patch.object(engines, "Device", return_value=device),
        mock.patch.object(engines, "_measure", **measure),
    ):
        return engines.main()


def test_one_size_that_fails_does_not_cost_the_others(tmp_path: Path, device: Device) -> None:
    assert run(device, tmp_path / "engines.json", side_effect=[MEASURED, MemoryError("too large")]) == 1
    result = json.loads((tmp_path / "engines.json").read_text("utf-8"))
    assert result["failed"] == {"bert-base": "MemoryError: too large"}
    assert [model["model"] for model in result["models"]] == ["tiny"]


def test_what_was_measured_outlives_whatever_ends_the_command(tmp_path: Path, device: Device) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(device, tmp_path / "engines.json", side_effect=[MEASURED, KeyboardInterrupt])
    result = json.loads((tmp_path / "engines.json").read_text("utf-8"))
    assert [model["model"] for model in result["models"]] == ["tiny"]
    assert result["failed"] == {"bert-base": "not finished"}


@pytest.mark.parametrize("seconds", ["0", "50"], ids=["at its end", "too little to write a model"])
def test_near_the_deadline_no_further_size_is_begun(seconds: str, tmp_path: Path, device: Device, capsys: Any) -> None:
    assert run(device, tmp_path / "engines.json", "--seconds", seconds, return_value=MEASURED) == 1
    result = json.loads((tmp_path / "engines.json").read_text("utf-8"))
    assert [model["model"] for model in result["models"]] == ["tiny"]
    assert models.LATE in result["failed"]["bert-base"]
    assert "tiny: measured" in capsys.readouterr().out


def test_after_the_deadline_a_size_has_its_answers_compared_and_nothing_measured(tiny: models.GpuModel, device: Device) -> None:
    arguments = mock.Mock(texts=8, batch=None, tokens=[32])
    with mock.patch.object(models, "parity", return_value=["verdict"]):
        measured = engines._measure(tiny, device, arguments, Deadline(-1), 1.0)
    assert measured.parity == ["verdict"]
    assert not any((measured.ag_news, measured.profiles, measured.shapes, measured.batch_of_one))
    late = {what for what, reason in measured.skipped.items() if reason == models.LATE}
    assert {"AG News, as they come", "AG News, length-sorted", "profiles", "1 × 32", "256 × 32"} <= late


def test_profiles_that_cannot_be_taken_leave_their_reasons(tiny: models.GpuModel, device: Device) -> None:
    taken = GraphProfile("ort_fp16", 1, 32, nodes=9)
    failed = GraphProfile("ort_fp16_starts", 1, 32, failed="no kernel")
    skipped: dict[str, str] = {}
    with mock.patch("benchmarks.gpu.profile.run", return_value=[taken, failed]):
        assert engines._profiles(tiny, device, Deadline(100), skipped) == [taken]
    assert skipped == {"profile of ort_fp16_starts, 1 × 32": "no kernel"}


def test_of_random_weights_some_flips_by_rounding_are_within_the_limits() -> None:
    """A MiniLM-L6 in FP16 changes 1 of 2,048 labels by rounding alone, where two labels are almost
    equal.
    """
    reference = np.zeros((models.ROWS, 2))
    reference[:, 0] = 1
    logits = reference.copy()
    logits[::500] = logits[::500, ::-1]
    labels, lengths = np.zeros(models.ROWS, int), np.full(models.ROWS, 30)
    measured = comparison.compare(reference, logits, labels, lengths, ["a", "b"])
    assert measured.flips == 5
    assert judgement.judge(measured, variants.PACKED.limits) == []
