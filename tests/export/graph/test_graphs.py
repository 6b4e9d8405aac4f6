"""Graphs written from the same weights give the same answers, and hold nothing they should not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph import canonical, from_savedmodel, fused
from export.graph.bert import Bert, Dense, Layer, Norm
from export.graph.builder import GraphWriter
from export.precision import int8
from export.runtime import onnx_precision
from export.session import open_onnx
from slipway.contract.ragged import Feed, Ragged

HIDDEN, LABELS = 24, 3


def tiny_bert(gelu: str = "exact", layers: int = 2) -> Bert:
    random = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return random.normal(0, 0.5, shape).astype(np.float32)

    def dense(inputs: int, outputs: int) -> Dense:
        return Dense(array(inputs, outputs) / np.float32(np.sqrt(inputs)), array(outputs))

    def norm() -> Norm:
        return Norm(1 + array(HIDDEN), array(HIDDEN))

    def layer() -> Layer:
        attention = [dense(HIDDEN, HIDDEN) for _ in range(4)]
        return Layer(*attention, norm(), dense(HIDDEN, 48), dense(48, HIDDEN), norm())

    return Bert(
        array(50, HIDDEN),
        array(32, HIDDEN),
        array(2, HIDDEN),
        norm(),
        tuple(layer() for _ in range(layers)),
        dense(HIDDEN, HIDDEN),
        dense(HIDDEN, LABELS),
        heads=3,
        epsilon=1e-12,
        gelu=gelu,
    )


FEED = Ragged.of([np.arange(1, length) for length in (5, 12, 20, 3)]).padded()


def logits(model: onnx.ModelProto, directory: Path, feed: Feed = FEED) -> np.ndarray:
    path = directory / "model.onnx"
    onnx.save(model, path)
    with open_onnx(path, threads=1) as session:
        return session.infer(feed)


@pytest.mark.parametrize("gelu", ["exact", "approximate"])
def test_the_fused_graph_answers_as_the_canonical_one(gelu: str, tmp_path: Path) -> None:
    bert = tiny_bert(gelu)
    canonical_model, fused_model = (logits(write(bert), tmp_path) for write in (canonical.write, fused.write))
    np.testing.assert_allclose(fused_model, canonical_model, atol=1e-5)


def test_padding_and_neighbours_do_not_change_an_answer(tmp_path: Path) -> None:
    model = canonical.write(tiny_bert())
    alone = logits(model, tmp_path, Ragged.of([np.arange(1, 5)]).padded())
    np.testing.assert_allclose(logits(model, tmp_path)[0], alone[0], atol=1e-5)


def test_segments_matter(tmp_path: Path) -> None:
    model = canonical.write(tiny_bert())
    other = {**FEED, "input_type_ids": FEED["input_mask"]}
    assert np.abs(logits(model, tmp_path, other) - logits(model, tmp_path)).max() > 1e-3


def test_a_written_graph_reads_back_as_the_same_bert(tmp_path: Path) -> None:
    bert = tiny_bert("approximate")
    onnx.save(canonical.write(bert), tmp_path / "model.onnx")
    result = canonical.read(tmp_path / "model.onnx")
    np.testing.assert_equal(dataclasses.asdict(result), dataclasses.asdict(bert))  # type: ignore[arg-type]


def test_the_canonical_graph_is_standard_onnx_with_named_dimensions() -> None:
    model = canonical.write(tiny_bert())
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    dims = [
        [dim.dim_param or dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in (*model.graph.input, *model.graph.output)
    ]
    assert dims == [["batch", "sequence"]] * 3 + [["batch", LABELS]]


def test_the_canonical_graph_has_no_shape_arithmetic_and_no_constant_beyond_fp16() -> None:
    graph = canonical.write(tiny_bert()).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["Shape"] == 1
    assert not kinds.keys() & {"Concat", "GlobalAveragePool", "ReduceProd", "Einsum"}
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert np.abs(onnx.numpy_helper.to_array(tensor)).max() < np.finfo(np.float16).max


def test_the_fused_graph_has_the_operators_it_promises() -> None:
    kinds = Counter(node.op_type for node in fused.write(tiny_bert(layers=3)).graph.node)
    expected = fused.expected_operators(3, "exact")
    assert expected == {"EmbedLayerNormalization": 1, "Attention": 3, "SkipLayerNormalization": 6, "BiasGelu": 3}
    assert {kind: kinds[kind] for kind in expected} == expected


@pytest.mark.parametrize("pooled", [True, False], ids=["classifier", "tagger"])
def test_the_fused_graph_takes_any_mask_not_only_padding_at_the_end(pooled: bool, tmp_path: Path) -> None:
    bert = tiny_bert() if pooled else dataclasses.replace(tiny_bert(), pooler=None)
    holes = np.random.default_rng(0).integers(0, 2, FEED["input_mask"].shape, np.int32)
    holes[0] = 0  # a row of padding alone
    feed = {**FEED, "input_mask": holes}
    canonical_model, fused_model = (logits(write(bert), tmp_path, feed) for write in (canonical.write, fused.write))
    np.testing.assert_allclose(fused_model, canonical_model, atol=1e-5)


def test_longer_padding_does_not_change_a_fused_answer(tmp_path: Path) -> None:
    model, rows = fused.write(tiny_bert()), Ragged.of([np.arange(1, 9), np.arange(1, 4)])
    np.testing.assert_allclose(logits(model, tmp_path, rows.padded(30)), logits(model, tmp_path, rows.padded()), atol=1e-5)


def test_every_attention_of_the_fused_graph_can_be_quantized(tmp_path: Path) -> None:
    onnx.save(fused.write(tiny_bert(layers=3)), tmp_path / "fp32.onnx")
    int8.convert(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert (kinds["QAttention"], kinds["Attention"], kinds["MatMul"]) == (3, 0, 0)


def test_an_initializer_cannot_have_two_values() -> None:
    graph = GraphWriter()
    graph.constant("a", np.float32(1))
    with pytest.raises(ValueError, match="two values"):
        graph.constant("a", np.float32(2))


def test_precision_is_read_out_of_the_file(tmp_path: Path) -> None:
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    onnx.save(fused.write(tiny_bert()), source)
    int8.convert(source, target)
    proofs = {kind: onnx_precision.proof(path) for kind, path in (("fp32", source), ("int8", target))}
    assert proofs["fp32"].weights == {"fp32": 1.0}
    assert proofs["int8"].weights.get("int8", 0) > 0.95


def test_a_graph_of_another_writer_is_not_taken_for_ours_and_still_optimized(tmp_path: Path) -> None:
    model = canonical.write(tiny_bert())
    model.producer_name = "tf2onnx"
    source, target = tmp_path / "theirs.onnx", tmp_path / "optimized.onnx"
    onnx.save(model, source)
    assert canonical.read(source) is None
    from_savedmodel.optimize(source, target)
    optimized = onnx.load(target)
    assert len(optimized.graph.node) < len(model.graph.node)
    np.testing.assert_allclose(logits(optimized, tmp_path), logits(model, tmp_path), atol=1e-5)


def test_a_rewrite_that_answers_otherwise_is_noticed(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.onnx", tmp_path / "wrong.onnx"
    onnx.save(canonical.write(tiny_bert()), right)
    onnx.save(canonical.write(dataclasses.replace(tiny_bert(), heads=2)), wrong)
    assert from_savedmodel._difference(right, right, tiny_bert()) == 0
    assert from_savedmodel._difference(right, wrong, tiny_bert()) > 1e-3
