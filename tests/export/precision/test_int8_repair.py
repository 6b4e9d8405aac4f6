"""INT8 that the gate refused is converted once more, with the nodes in FP32 that cost most."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph import fused
from export.graph.bert import Bert, Dense
from export.precision import int8, int8_repair
from export.runtime import onnx_precision
from export.session import open_onnx
from slipway.contract.bundle import Golden
from slipway.contract.ragged import Logits, Ragged, infer_rows
from slipway.errors import ConversionError
from tests.export.graph.test_graphs import tiny_bert

ROWS = Ragged.of(np.random.default_rng(0).integers(1, 50, length).astype(np.int32) for length in range(3, 30))
SHARE = 0.75


def answers(path: Path) -> Logits:
    with open_onnx(path) as session:
        return infer_rows(session.infer, ROWS, 8)


GUILTY = "MatMul:layers.0.attention_output"


def outlier_bert() -> Bert:
    """A row of weights is so large that eight bits have no steps left for the others. It is
    multiplied by 0, and so changes nothing in FP32.
    """
    bert = tiny_bert()
    layer = bert.layers[0]
    value, output = (Dense(dense.kernel.copy(), dense.bias.copy()) for dense in (layer.value, layer.attention_output))
    value.kernel[:, 0], value.bias[0] = 0, 0
    output.kernel[0] = 100
    return dataclasses.replace(bert, layers=(dataclasses.replace(layer, value=value, attention_output=output), *bert.layers[1:]))


def repaired(bert: Bert, directory: Path) -> str:
    onnx.save(fused.write(bert), directory / "fp32.onnx")
    reference = answers(directory / "fp32.onnx")
    golden = Golden([""] * len(ROWS), ROWS, reference.argmax(axis=1), reference)
    return int8_repair.convert(directory / "fp32.onnx", directory / "int8.onnx", golden, SHARE)


def test_what_costs_most_stays_in_fp32_and_is_named(tmp_path: Path) -> None:
    how = repaired(outlier_bert(), tmp_path)
    assert f"kept in FP32: {GUILTY}" in how
    nodes = {node.name: node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert nodes[GUILTY] == "MatMul"


def test_the_answers_are_nearer_to_the_reference_than_before(tmp_path: Path) -> None:
    repaired(outlier_bert(), tmp_path)
    int8.convert(tmp_path / "fp32.onnx", tmp_path / "before.onnx")
    reference = answers(tmp_path / "fp32.onnx")
    before, after = (np.abs(answers(tmp_path / name) - reference).mean() for name in ("before.onnx", "int8.onnx"))
    assert after < 0.7 * before


def test_the_share_that_the_gate_asks_for_stays_in_int8(tmp_path: Path) -> None:
    repaired(outlier_bert(), tmp_path)
    assert onnx_precision.proof(tmp_path / "int8.onnx").weights["int8"] >= SHARE


def test_a_head_in_fp32_is_multiplied_in_fp32(tmp_path: Path) -> None:
    """The quantizer makes a MatMul of a Gemm first, and gives it another name."""
    int8.quantize(fused.write(tiny_bert()), tmp_path / "int8.onnx", ["Gemm:pooler"])
    nodes = {node.name: node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert nodes["Gemm:pooler_MatMul"] == "MatMul"


def test_the_largest_gains_that_there_is_room_for_are_chosen() -> None:
    gains = {"small": 0.1, "large": 0.5, "useless": 0.01, "too large": 0.4, "embeddings": 0.3}
    weights = {"small": 10, "large": 10, "useless": 1, "too large": 30, "other": 49}
    assert int8_repair.choose(gains, weights, SHARE) == ["large", "embeddings", "small"]


def test_the_rows_of_the_smallest_margins_come_first() -> None:
    logits = np.array([[0, 5], [1, 0.5], [2, 0], [0, 0.1]], np.float32)
    rows = Ragged.of([[1, 2], [1, 3], [1, 4], [1, 5]])
    golden = Golden(["a", "b", "c", "d"], rows, logits.argmax(axis=1), logits)
    assert int8_repair.closest(golden, 2).texts == ["d", "b"]


def test_a_graph_that_keeping_does_not_help_is_refused_with_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_repair, "choose", lambda *_: [])
    with pytest.raises(ConversionError) as refused:
        repaired(tiny_bert(), tmp_path)
    assert "build" in refused.value.fix
