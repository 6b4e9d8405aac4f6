"""Rows in one piece give the answers of rows padded, to the bit: it is the same graph behind a few
nodes more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import models
from export.graph import canonical, fused
from serving.repository import ragged_onnx
from slipway.contract.ragged import Ragged
from slipway.lint import signatures

LENGTHS = (9, 1, 30, 5, 30)


@pytest.fixture
def rows() -> Ragged:
    random = np.random.default_rng(1)
    ids = [random.integers(1, 100, length) for length in LENGTHS]
    return Ragged.of(ids, [np.arange(length) > length // 2 for length in LENGTHS])


@pytest.mark.parametrize("graph", [canonical, fused])
@pytest.mark.parametrize("pairs", [False, True])
def test_the_answers_are_the_same_to_the_bit(graph: object, pairs: bool, rows: Ragged, tmp_path: Path) -> None:
    onnx.save(graph.write(models.make("tiny")), tmp_path / "model.onnx")
    ragged_onnx.write(tmp_path / "model.onnx", tmp_path / "flat.onnx", pairs=pairs)
    given = rows if pairs else Ragged(rows.ids, np.zeros_like(rows.types), rows.offsets)
    assert ragged_onnx.difference(tmp_path / "model.onnx", tmp_path / "flat.onnx", given) == 0.0


@pytest.mark.parametrize(("pairs", "ragged"), [(False, {"input_word_ids"}), (True, {"input_word_ids", "input_type_ids"})])
def test_its_inputs_are_what_tritons_backend_wants_of_ragged_ones(pairs: bool, ragged: set[str], tmp_path: Path) -> None:
    onnx.save(canonical.write(models.make("tiny")), tmp_path / "model.onnx")
    ragged_onnx.write(tmp_path / "model.onnx", tmp_path / "flat.onnx", pairs=pairs)
    signature = signatures.read_onnx(tmp_path / "flat.onnx")
    assert {name for name, tensor in signature.inputs.items() if tensor.shape == (-1,)} == ragged
    assert signature.inputs[ragged_onnx.LENGTHS].shape == (-1, 1)
    assert signature.outputs == signatures.read_onnx(tmp_path / "model.onnx").outputs


def test_rows_that_a_client_padded_keep_the_answer_of_the_bare_row(rows: Ragged, tmp_path: Path) -> None:
    onnx.save(canonical.write(models.make("tiny")), tmp_path / "model.onnx")
    ragged_onnx.write(tmp_path / "model.onnx", tmp_path / "flat.onnx", pairs=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "flat.onnx"))
    padded = rows.padded(40)["input_word_ids"]
    lengths = np.full((len(rows), 1), 40, np.int32)
    [alone] = session.run(None, {"input_word_ids": rows.ids, "row_lengths": rows.lengths.astype(np.int32)[:, None]})
    [logits] = session.run(None, {"input_word_ids": padded.reshape(-1), "row_lengths": lengths})
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_inputs_that_a_branch_reads_are_laid_out_too(tmp_path: Path) -> None:
    """logits = the sum of the ids, by an If whose branches read the model's input."""
    ids = helper.make_tensor_value_info("input_word_ids", TensorProto.INT32, ["batch", "sequence"])
    logits = helper.make_tensor_value_info("logits", TensorProto.INT32, ["batch"])
    axes = numpy_helper.from_array(np.array([1]), "axes")

    def branch(name: str) -> onnx.GraphProto:
        inner = helper.make_tensor_value_info(name, TensorProto.INT32, ["batch"])
        return helper.make_graph([helper.make_node("ReduceSum", ["input_word_ids", "axes"], [name], keepdims=0)], name, [], [inner])

    chosen = helper.make_node("If", ["yes"], ["logits"], then_branch=branch("then"), else_branch=branch("else"))
    yes = numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph([chosen], "branches", [ids], [logits], [axes, yes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx")
    ragged_onnx.write(tmp_path / "model.onnx", tmp_path / "flat.onnx", pairs=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "flat.onnx"))
    feed = {"input_word_ids": np.array([5, 6, 7], np.int32), "row_lengths": np.array([[2], [1]], np.int32)}
    assert session.run(None, feed)[0].tolist() == [11, 7]
