"""The graphs for ONNX Runtime's CUDA kernels give the canonical graph's answers: their CUDA-only
operators run in numpy here.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as native

from benchmarks.gpu import variants
from benchmarks.gpu.variants import Packed, PaddedByLengths, PaddedByStarts
from export.graph import canonical, fused
from export.graph.bert import Bert
from export.precision import fp16
from export.runtime import onnx_precision
from export.session import open_onnx
from slipway.contract.ragged import Feed, Ragged
from slipway.contract.variants import Variant
from tests.benchmarks.gpu import contrib_evaluator
from tests.export.graph.test_graphs import tiny_bert

LENGTHS = {"ragged": (5, 12, 20, 3), "one row": (7,), "full rows": (6, 6), "single tokens": (1, 4, 1)}
TAGGER = dataclasses.replace(tiny_bert(), pooler=None)


def packed(bert: Bert) -> onnx.ModelProto:
    return fused.write(bert, Packed())


def feed(lengths: tuple[int, ...], longest: int | None = None) -> Feed:
    return Ragged.of([np.arange(1, length + 1) for length in lengths]).padded(longest)


def expected(bert: Bert, batch: Feed, directory: Path) -> np.ndarray:
    onnx.save(canonical.write(bert), directory / "canonical.onnx")
    with open_onnx(directory / "canonical.onnx", threads=1) as session:
        return session.infer(batch)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_without_padding_the_answers_are_the_same(lengths: tuple[int, ...], tmp_path: Path) -> None:
    result = contrib_evaluator.run(packed(tiny_bert()), feed(lengths))["logits"]
    np.testing.assert_allclose(result, expected(tiny_bert(), feed(lengths), tmp_path), atol=1e-5)


def test_a_tagger_gets_its_padding_back(tmp_path: Path) -> None:
    batch = feed(LENGTHS["ragged"])
    result = contrib_evaluator.run(packed(TAGGER), batch)["logits"]
    answers = expected(TAGGER, batch, tmp_path)
    assert result.shape == answers.shape
    text = batch["input_mask"].astype(bool)
    np.testing.assert_allclose(result[text], answers[text], atol=1e-5)


def test_only_text_goes_through_the_layers() -> None:
    tensors = contrib_evaluator.run(packed(tiny_bert()), feed((5, 12), longest=30))
    assert tensors["layers.0.output.norm"].shape == (17, tiny_bert().hidden)
    assert tensors["layers.1.output.norm"].shape == (2, tiny_bert().hidden)  # the head reads first tokens


def test_longer_padding_changes_no_packed_answer() -> None:
    model = packed(tiny_bert())
    short, long = (contrib_evaluator.run(model, feed((5, 12), longest))["logits"] for longest in (None, 30))
    np.testing.assert_array_equal(short, long)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_padded_with_lengths_and_starts_the_answers_are_the_same(lengths: tuple[int, ...], tmp_path: Path) -> None:
    result = contrib_evaluator.run(fused.write(tiny_bert(), PaddedByStarts()), feed(lengths, 25))
    np.testing.assert_allclose(result["logits"], expected(tiny_bert(), feed(lengths, 25), tmp_path), atol=1e-5)
    starts = [25 * row for row in range(len(lengths) + 1)]
    assert result["starts"].tolist() == [*lengths, *starts, *starts]


def test_padded_with_lengths_alone_the_answers_are_the_same(tmp_path: Path) -> None:
    onnx.save(fused.write(tiny_bert(), PaddedByLengths()), tmp_path / "fused.onnx")
    with open_onnx(tmp_path / "fused.onnx", threads=1) as session:
        result = session.infer(feed(LENGTHS["ragged"], 25))
    np.testing.assert_allclose(result, expected(tiny_bert(), feed(LENGTHS["ragged"], 25), tmp_path), atol=1e-5)


@pytest.mark.parametrize("variant", variants.LAYOUTS, ids=lambda variant: variant.name)
def test_in_fp16_the_answers_differ_by_rounding_and_come_in_fp32(variant: Variant, tmp_path: Path) -> None:
    model = variants.write(variant, fp16.bert(tiny_bert()))
    result = contrib_evaluator.run(model, feed(LENGTHS["ragged"]))["logits"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected(tiny_bert(), feed(LENGTHS["ragged"]), tmp_path), atol=0.03)


def test_fp16_weights_are_clamped_to_what_fp16_holds() -> None:
    bert = dataclasses.replace(tiny_bert(), word_embeddings=np.full((50, 24), 1e6, np.float32))
    halved = fp16.bert(bert)
    assert halved.word_embeddings.dtype == halved.layers[0].query.kernel.dtype == np.float16
    assert float(halved.word_embeddings.max()) == fp16.LARGEST


@pytest.mark.parametrize("bert", [tiny_bert("exact", 3), tiny_bert("approximate", 3)], ids=["exact", "approximate"])
def test_the_packed_graph_has_the_operators_it_promises(bert: Bert) -> None:
    kinds = Counter(node.op_type for node in packed(bert).graph.node)
    padded = fused.expected_operators(3, bert.gelu)
    promised = {"RemovePadding": 1, "PackedAttention": padded.pop("Attention"), "Attention": 0, **padded}
    assert {kind: kinds[kind] for kind in promised} == promised


def test_the_precision_of_a_packed_graph_is_read_out_of_its_attention(tmp_path: Path) -> None:
    onnx.save(variants.write(variants.PACKED, fp16.bert(tiny_bert())), tmp_path / "model.onnx")
    assert onnx_precision.proof(tmp_path / "model.onnx").weights == {"fp16": 1.0}


@pytest.mark.parametrize("bert", [tiny_bert(), fp16.bert(tiny_bert()), TAGGER], ids=["fp32", "fp16", "tagger"])
def test_nodes_follow_onnx_runtimes_own_schemas(bert: Bert) -> None:
    schemas = {(entry.domain, entry.name): entry for entry in native.get_all_operator_schema() if entry.domain == "com.microsoft"}
    for layout in variants.LAYOUTS.values():
        for node in fused.write(bert, layout).graph.node:
            if node.domain:
                schema = schemas[node.domain, node.op_type]
                assert {entry.name for entry in node.attribute} <= set(schema.attributes), node.op_type
                assert schema.min_input <= len(node.input) <= schema.max_input, node.op_type
                assert len(node.output) <= schema.max_output, node.op_type


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has the kernels, so nothing is missing"
)
@pytest.mark.parametrize("bert", [tiny_bert(), fp16.bert(tiny_bert()), TAGGER], ids=["fp32", "fp16", "tagger"])
def test_onnx_runtime_takes_the_packed_graph_and_lacks_only_the_kernels(bert: Bert) -> None:
    """Types and shapes are inferred before kernels are looked for: a wrong graph fails otherwise,
    and earlier.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(native.NotImplemented, match=r"(find an implementation|Failed to find kernel) for .*RemovePadding"):
        onnxruntime.InferenceSession(packed(bert).SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_a_packed_graph_of_wrong_types_fails_earlier() -> None:
    model = packed(tiny_bert())
    next(node for node in model.graph.node if node.op_type == "RemovePadding").input[1] = "embeddings"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises((native.Fail, native.InvalidGraph)):
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
