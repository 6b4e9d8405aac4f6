from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from export.graph import canonical
from export.precision import fp16
from export.runtime import onnx_precision
from slipway.errors import ConversionError
from tests.export.graph.test_graphs import FEED, logits, tiny_bert

MODEL = canonical.write(tiny_bert())


def test_the_answers_differ_by_rounding_only(tmp_path: Path) -> None:
    difference = np.abs(logits(fp16.convert(MODEL), tmp_path) - logits(MODEL, tmp_path))
    assert 0 < difference.max() < 0.02


def test_the_weights_are_fp16_by_type(tmp_path: Path) -> None:
    onnx.save(fp16.convert(MODEL), tmp_path / "half.onnx")
    assert onnx_precision.proof(tmp_path / "half.onnx").weights == {"fp16": 1.0}


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return {value.name: value.type.tensor_type.elem_type for value in (*inferred.graph.value_info, *inferred.graph.output)}


def test_layer_norm_and_softmax_compute_in_fp32_and_matmul_in_fp16() -> None:
    model = fp16.convert(MODEL)
    result = types(model)
    kinds = {node.op_type: {result[node.output[0]]} for node in model.graph.node}
    assert kinds["LayerNormalization"] == kinds["Softmax"] == {TensorProto.FLOAT}
    assert kinds["MatMul"] == {TensorProto.FLOAT16}
    assert result["logits"] == TensorProto.FLOAT


def test_a_kept_node_computes_in_fp32() -> None:
    assert types(fp16.convert(MODEL, keep={"MatMul:layers.0.scores"}))["layers.0.scores"] == TensorProto.FLOAT


def test_keeping_everything_gives_back_the_fp32_answers(tmp_path: Path) -> None:
    kept = fp16.convert(MODEL, keep=set(fp16.convertible(MODEL)))
    np.testing.assert_allclose(logits(kept, tmp_path), logits(MODEL, tmp_path), atol=1e-6)


def test_a_mask_that_fp16_cannot_hold_is_brought_into_range_and_named(tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    mask = next(tensor for tensor in model.graph.initializer if tensor.name == "masked")
    mask.CopyFrom(numpy_helper.from_array(np.float32(-np.inf), "masked"))
    assert fp16.clamped(model) == ["masked"]
    difference = np.abs(logits(fp16.convert(model), tmp_path) - logits(MODEL, tmp_path))
    assert difference.max() < 0.02


def test_a_layer_norm_in_parts_keeps_its_epsilon_and_its_statistics(finished_run: Path, tmp_path: Path) -> None:
    """tf2onnx's own graph, of which nothing was recognised."""
    model = onnx.load(finished_run / "artifacts/onnx_fp32/tf2onnx.onnx")
    difference = np.abs(logits(fp16.convert(model), tmp_path) - logits(model, tmp_path))
    assert 0 < difference.max() < 0.05
    assert (
        types(fp16.convert(model))[next(node.output[0] for node in model.graph.node if node.op_type == "Sqrt")] == TensorProto.FLOAT
    )


def test_a_graph_whose_types_cannot_be_followed_is_refused() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) {
            y = If(c) <then_branch = a () => (float[2] t) {t = Neg(x)}, else_branch = b () => (float[2] e) {e = Abs(x)}>
        }""")
    with pytest.raises(ConversionError, match="a node If"):
        fp16.convert(model)


def test_what_a_node_makes_by_its_attribute_keeps_that_type() -> None:
    """As zeros for type ids that a model does not ask for."""
    graph = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 17]>
        g (int64[2, 3] ids) => (float[2, 3] y) {
            x = Cast<to = 1>(ids)
            shape = Shape(ids)
            zeros = ConstantOfShape(shape)
            half = Constant<value_float = 0.5>()
            sum = Add(x, zeros)
            y = Mul(sum, half)
        }""")
    ids = np.arange(6).reshape(2, 3)
    session = onnxruntime.InferenceSession(fp16.convert(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"ids": ids})[0], ids / 2, rtol=1e-3)


def test_no_initializer_is_left_unused() -> None:
    model = fp16.convert(MODEL)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


def test_the_original_is_not_changed() -> None:
    before = MODEL.SerializeToString()
    fp16.convert(MODEL)
    assert MODEL.SerializeToString() == before
    assert not any(numpy_helper.to_array(t).dtype == np.float16 for t in MODEL.graph.initializer)
    assert FEED["input_word_ids"].dtype == np.int32
