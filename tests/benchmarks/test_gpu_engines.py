"""benchmarks.gpu on the CPU: every line but the kernels, on a tiny model."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from benchmarks import random_bert
from benchmarks.gpu import arithmetic, contenders, engines, measure, models, profile_ops, records, targets, timing
from benchmarks.gpu.device import Device
from benchmarks.gpu.timing import Deadline
from export import gpu_variants
from train import errors

CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture(scope="session")
def device() -> Device:
    return Device("cpu")


@pytest.fixture(scope="module")
def model(device: Device) -> Iterator[models.Model]:
    with models.random("tiny", device, rows=1) as found:
        yield found


@pytest.fixture(scope="module")
def record(device: Device, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one run of the whole command."""
    path = tmp_path_factory.mktemp("gpu") / "engines.json"
    command = ["engines", "--provider", "cpu", "--size", "tiny", "--record", str(path), "--texts", "40"]
    command += ["--batch", "1", "--batch", "8", "--tokens", "32", "--tokens", "256"]
    with (
        mock.patch.multiple(measure, _CELL=0.0, _PASS=0.0),
        mock.patch.object(engines, "_ROWS", 1),
        mock.patch.object(engines, "Device", return_value=device),
        mock.patch.object(sys, "argv", command),
    ):
        assert engines.main() == 0
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_every_variant_is_compared_with_fp32_by_the_gate(record: dict[str, Any]) -> None:
    (tiny,) = record["models"]
    assert [one["variant"] for one in tiny["parity"]] == ["ort_fp32", "onnx_fp16", "ort_fp16"]
    for one in tiny["parity"]:
        assert one["passed"]
        assert one["rows"] >= 368
        assert {"flip_rate_bound", "accuracy_loss_bound", "logit_difference_max", "invariance", "precision"} <= one.keys()


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
    found = record["models"][0]["ag_news"]
    assert list(found) == list(records.ORDERS)
    assert found["as they come"]["padding"] >= found["length-sorted"]["padding"] > 0


def test_what_was_skipped_says_why(record: dict[str, Any]) -> None:
    skipped = record["models"][0]["skipped"]
    assert "PackedAttention" in skipped["packed_fp16"]
    assert skipped[records.CAPTURED] == "a CPU has no CUDA graphs"
    assert skipped["8 × 256"] == "the model has 64 positions"


def test_the_profile_and_the_floor_are_of_the_same_graph(record: dict[str, Any]) -> None:
    (tiny,) = record["models"]
    assert sum(row["share"] for row in tiny["profiles"][0]["operators"]) == pytest.approx(1)
    assert tiny["batch_of_one"]["nodes"] == tiny["profiles"][1]["nodes"] > 20
    assert tiny["batch_of_one"]["contenders"]["ort_fp16"]["over_floor"] > 1


def test_nothing_of_it_counts_as_reached(record: dict[str, Any]) -> None:
    assert [one["reached"] for one in record["targets"]] == [None] * 4
    assert record["device"] == {"kind": "cpu", "provider": "CPUExecutionProvider"}
    assert {"onnx", "numpy"} <= record["versions"].keys()


def test_a_trial_on_a_cpu_never_takes_the_records_place(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["engines", "--provider", "cpu"])
    with pytest.raises(SystemExit):
        engines.main()
    assert "--record" in capsys.readouterr().err


@pytest.mark.skipif(CUDA, reason="onnxruntime-gpu is here")
def test_without_a_gpu_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.gpu.current", lambda: None)
    with pytest.raises(errors.ToolError, match=r"onnxruntime-gpu(.|\n)*benchmarks/gpu/requirements.txt"):
        Device("cuda")


def test_no_time_left_leaves_shapes_out(model: models.Model, device: Device) -> None:
    cells, skipped = measure.grid(model, [], device, ((1, 8), (2, 8)), Deadline(-1), 1.0)
    assert cells == []
    assert skipped == {"1 × 8": "no time was left", "2 × 8": "no time was left"}


def answering(*logits: float) -> Any:
    return mock.Mock(logits=lambda: np.array([logits]))


def test_who_answers_otherwise_or_fails_is_left_out_with_the_reason() -> None:
    runs = {"a": answering(1, -1), "same": answering(1, -1.01), "other": answering(1, -0.8), "broken": mock.Mock(logits=_refuse)}
    usable, left_out = measure.usable(runs)
    assert usable == {"a", "same"}
    assert left_out["other"].startswith(measure.OTHERWISE)
    assert left_out["broken"] == "RuntimeError: Memcpy nodes"


def test_a_nan_answers_otherwise() -> None:
    usable, _ = measure.usable({"a": answering(1, -1), "nan": answering(float("nan"), -1)})
    assert usable == {"a"}


def test_a_contender_that_answered_otherwise_fails_the_command(record: dict[str, Any]) -> None:
    model = copy.deepcopy(record["models"][0])
    assert engines._passed(model)
    model["shapes"][0]["left_out"]["ort_fp16 + CUDA graph"] = f"{measure.OTHERWISE}: |Δlogit| 2"
    assert not engines._passed(model)


def test_one_size_that_fails_does_not_cost_the_others(tmp_path: Path, device: Device) -> None:
    command = ["engines", "--provider", "cpu", "--size", "tiny", "--size", "bert-base", "--record", str(tmp_path / "engines.json")]
    measured = {
        "model": "tiny",
        "parity": [],
        "peers": [],
        "shapes": [],
        "ag_news": {},
        "profiles": [],
        "batch_of_one": {},
        "skipped": {},
        "rows_compared": 0,
    }
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(models, "random", mock.MagicMock()),
        mock.patch.object(engines, "Device", return_value=device),
        mock.patch.object(engines, "_measure", side_effect=[measured, MemoryError("too large")]),
    ):
        assert engines.main() == 1
    found = json.loads((tmp_path / "engines.json").read_text("utf-8"))
    assert found["failed"] == {"bert-base": "MemoryError: too large"}
    assert [model["model"] for model in found["models"]] == ["tiny"]


def test_a_peer_that_answers_otherwise_is_no_peer(model: models.Model) -> None:
    shuffled = model.golden.logits[:, ::-1]
    rows = iter(np.array_split(shuffled, range(64, len(shuffled), 64)))
    record = contenders._compared("PyTorch", lambda _: next(rows), model)
    assert not record["passed"]
    assert record["flips"] > 0


def test_without_pytorch_both_peers_are_skipped(model: models.Model, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    skipped: dict[str, str] = {}
    assert contenders.peers(model, device, Deadline(1000), skipped) == ([], [])
    assert set(skipped) == {records.PEER, records.COMPILED}


def test_pytorchs_answers_are_ours_and_compiling_waits_for_time(model: models.Model, device: Device) -> None:
    pytest.importorskip("torch", reason="no PyTorch: it is no part of Slipway; see benchmarks/gpu/requirements.txt")
    skipped: dict[str, str] = {}
    found, compared = contenders.peers(model, device, Deadline(5), skipped)
    assert [one.name for one in found] == [records.PEER]
    assert compared[0]["passed"]
    assert "s are left" in skipped[records.COMPILED]


def test_a_graph_that_cannot_be_captured_is_skipped_with_the_runtimes_words(model: models.Model, device: Device) -> None:
    refusing = mock.Mock(wraps=device, kind="cuda")
    refusing.open = lambda path, cuda_graph=False: _refuse() if cuda_graph else device.open(path)
    skipped: dict[str, str] = {}
    found = contenders.variants(model, refusing, skipped)
    assert [one.name for one in found] == ["ort_fp32", "onnx_fp16", "ort_fp16"]
    assert skipped == {records.CAPTURED: "RuntimeError: Memcpy nodes"}


def _refuse() -> None:
    raise RuntimeError("Memcpy nodes")


def test_a_bound_run_answers_its_own_batch(model: models.Model, device: Device) -> None:
    session = device.open(model.files["ort_fp32"])
    feeds = [models.random_rows(model.bert, np.array([4, 9]), seed).padded() for seed in (1, 2)]
    runs = [device.bind(session, feed) for feed in feeds]
    for run, feed in zip(runs, feeds, strict=True):
        expected = session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})[0]
        np.testing.assert_array_equal(run.logits(), expected)


def test_the_arithmetic_is_that_of_the_matrices() -> None:
    bert = random_bert.make("tiny")  # 2 layers, hidden 32, intermediate 64, 4 labels
    found = arithmetic.flops(bert, np.array([3]), first_token_only=False)
    assert found.attention == 2 * (3 * 2 * 32 * 96 + 2 * 2 * 3 * 3 * 32)
    assert found.matmul == 2 * 3 * (2 * 32 * 32 + 2 * 2 * 32 * 64) + 2 * 32 * 32 + 2 * 32 * 4


def test_a_last_layer_of_first_tokens_and_rows_without_padding_compute_less() -> None:
    bert, lengths = random_bert.make("tiny"), np.array([3, 9])
    whole = arithmetic.flops(bert, lengths, first_token_only=False).total
    assert arithmetic.flops(bert, lengths).total < whole < arithmetic.flops(bert, np.array([9, 9]), first_token_only=False).total


def test_ag_news_lengths_are_as_long_as_the_texts() -> None:
    lengths = models.ag_news_lengths(4000)
    assert 50 < lengths.mean() < 55
    assert lengths.max() <= 128
    np.testing.assert_array_equal(lengths, models.ag_news_lengths(4000))


def test_a_contender_that_takes_too_long_is_left_out_of_the_rounds() -> None:
    ran: list[str] = []
    runs = {"short": [lambda: ran.append("short")], "long": [lambda: ran.append("long") or timing.time.sleep(0.02)]}
    seconds, left_out = timing.interleaved(runs, lambda: None, budget=0.0, longest=0.01)
    assert list(seconds) == ["short"]
    assert len(seconds["short"]) == 6
    assert "long" in left_out
    assert ran.count("long") == 2


def test_a_ratio_says_how_many_times_faster_ours_is() -> None:
    theirs, ours = np.full(9, 0.3), np.full(9, 0.2)
    found = timing.ratio(theirs, ours)
    assert found["ratio"] == pytest.approx(1.5)
    assert found["interval"] == pytest.approx([1.5, 1.5])


def test_the_cache_is_emptied_before_every_timed_run() -> None:
    emptied = mock.Mock()
    seconds, _ = timing.interleaved({"a": [lambda: None], "b": [lambda: None]}, emptied, budget=0.0, longest=1.0)
    assert emptied.call_count == sum(map(len, seconds.values())) == 12


def test_a_nodes_time_is_its_median_and_shares_are_of_all_nodes() -> None:
    def event(name: str, kind: str, microseconds: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": kind, "provider": "P"}}

    first_run_allocates = [event("a", "MatMul", 900), event("b", "MatMul", 10), event("c", "Tanh", 20)]
    usual = [event("a", "MatMul", 50), event("b", "MatMul", 10), event("c", "Tanh", 20)]
    found = profile_ops.summary([*first_run_allocates, *usual, *usual, {"cat": "Session", "name": "run"}])
    assert found["nodes"] == 3
    assert [(row["operator"], row["nodes"], row["us"]) for row in found["operators"]] == [("MatMul", 2, 60), ("Tanh", 1, 20)]
    assert found["operators"][0]["share"] == 0.75


def test_a_failed_profile_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(errors.ToolError, match=r"profile_ops"):
        profile_ops.run(tmp_path / "none.onnx", "CPUExecutionProvider", 1, 4)


def measured(name: str, share: float, packed: float, peer: float) -> dict[str, Any]:
    rates = {"ort_fp16": 100.0, "packed_fp16": packed, records.PEER: peer}
    rows = {key: {"share_of_peak": share, "sequences_per_second": rate} for key, rate in rates.items()}
    alone = {"contenders": {"ort_fp16": {"over_floor": 3.0}, records.CAPTURED: {"over_floor": 1.5}}}
    shapes = [{"tokens": tokens, "contenders": rows} for tokens in (128, 256)]
    return {"model": name, "shapes": shapes, "ag_news": {"as they come": {"contenders": rows}}, "batch_of_one": alone}


def test_targets_are_judged_on_what_was_measured() -> None:
    judged = targets.judged([measured("bert-base", 0.61, 160.0, 170.0), measured("minilm-l6", 0.1, 100.0, 100.0)])
    assert [one["reached"] for one in judged] == [True, True, False, True]
    assert [one["found"] for one in judged] == [0.61, 1.6, pytest.approx(160 / 170), 1.5]


def test_a_target_is_missed_below_its_limit() -> None:
    judged = targets.judged([measured("bert-base", 0.59, 149.0, 100.0)])
    assert [one["reached"] for one in judged] == [False, False, True, None]


def test_a_packed_text_costs_its_own_tokens(model: models.Model) -> None:
    lengths = np.array([2, 10])
    packed, padded = (contenders.Contender("", lambda _: lambda: None, padded).flops(model, lengths) for padded in (False, True))
    assert packed == arithmetic.flops(model.bert, lengths)
    assert padded == arithmetic.flops(model.bert, np.array([10, 10]))


def test_a_variant_with_a_damaged_weight_fails_the_gate(model: models.Model, tmp_path: Path) -> None:
    graph = onnx.load(model.files["ort_fp16"])
    pooler = next(one for one in graph.graph.initializer if one.name == "classifier.kernel" or one.name == "logits.kernel")
    pooler.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(pooler)[:, ::-1], pooler.name))
    onnx.save(graph, tmp_path / "model.onnx")
    (damaged,) = models.parity(replace(model, files={"ort_fp16": tmp_path / "model.onnx"}))
    assert not damaged["passed"]
    assert "upper bound on the flip rate" in {failure["what"] for failure in damaged["failures"]}


def test_the_packed_variant_is_judged_by_the_fp16_limits() -> None:
    assert gpu_variants.PACKED.limits == gpu_variants.FUSED.limits
    assert gpu_variants.PACKED.limits.flip_rate == 0.005
