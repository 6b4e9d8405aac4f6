from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph import canonical
from export.graph.bert import Bert, Dense
from export.precision import fp16, fp16_repair
from slipway.contract.bundle import Golden
from slipway.contract.ragged import Ragged, infer_rows
from slipway.contract.variants import VARIANTS
from tests.export.graph.test_graphs import logits, tiny_bert

ROWS = Ragged.of(np.random.default_rng(0).integers(1, 50, length).astype(np.int32) for length in range(3, 30))


def giant_bert() -> Bert:
    """LayerNorm undoes any scale, so in FP32 a giant residual changes nothing; in FP16 it is
    infinite.
    """
    bert = tiny_bert()
    layer = bert.layers[0]
    wide = Dense(layer.intermediate.kernel * np.float32(100), layer.intermediate.bias)
    giant = Dense(layer.output.kernel * np.float32(1e5), layer.output.bias)
    return dataclasses.replace(bert, layers=(dataclasses.replace(layer, intermediate=wide, output=giant), *bert.layers[1:]))


def convert(bert: Bert, directory: Path) -> onnx.ModelProto:
    model = canonical.write(bert)
    onnx.save(model, directory / "fp32.onnx")
    reference = np.concatenate([logits(model, directory, Ragged.of([ROWS[i]]).padded()) for i in range(len(ROWS))])
    golden = Golden([""] * len(ROWS), ROWS, reference.argmax(axis=1), reference)
    fp16_repair.convert(directory / "fp32.onnx", directory / "fp16.onnx", golden)
    return onnx.load(directory / "fp16.onnx")


def test_a_graph_that_the_gate_refused_is_repaired_with_the_fewest_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU hides what FP16 would do; so one node's weights are spoiled where it is not kept in
    FP32.
    """
    guilty = "MatMul:classifier.product"
    spoil, sound = fp16.convert, canonical.write(tiny_bert())

    def spoiled(model: onnx.ModelProto, keep: frozenset[str] = frozenset()) -> onnx.ModelProto:
        written = spoil(model, keep)
        for tensor in written.graph.initializer:
            if guilty not in keep and tensor.name == "classifier.kernel.fp16":
                tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
        return written

    monkeypatch.setattr(fp16, "convert", spoiled)
    onnx.save(sound, tmp_path / "fp32.onnx")
    rows = Ragged.of(list(map(ROWS.__getitem__, range(len(ROWS)))) * 15)  # enough for the gate
    answers = infer_rows(lambda feed: logits(sound, tmp_path, feed), rows, 64)
    golden = Golden([""] * len(rows), rows, answers.argmax(axis=1), answers)
    fp16_repair.repaired(tmp_path / "fp32.onnx", tmp_path / "fp16.onnx", golden, VARIANTS["onnx_fp16"], np.arange(5))
    assert kept(onnx.load(tmp_path / "fp16.onnx")) == guilty


def kept(model: onnx.ModelProto) -> str:
    return str({entry.key: entry.value for entry in model.metadata_props}["kept_in_fp32"])


def test_an_ordinary_encoder_keeps_nothing_more_in_fp32(tmp_path: Path) -> None:
    assert kept(convert(tiny_bert(), tmp_path)) == ""


def test_values_beyond_fp16_keep_their_nodes_and_readers_in_fp32_and_are_recorded(tmp_path: Path) -> None:
    names = kept(convert(giant_bert(), tmp_path)).split(", ")
    assert "MatMul:layers.0.output.product" in names
    assert "Add:layers.0.output_residual" in names
    assert not [name for name in names if not name.partition(":")[2].startswith("layers.0.")]


@pytest.mark.parametrize("value", [np.inf, 1e9])
def test_a_tensor_that_is_not_finite_counts_as_beyond_range(value: float, tmp_path: Path) -> None:
    model = canonical.write(
        dataclasses.replace(tiny_bert(), classifier=Dense(np.ones((24, 3), np.float32), np.float32([value] * 3)))
    )
    onnx.save(model, tmp_path / "model.onnx")
    result = fp16_repair.overflowing(tmp_path / "model.onnx", ROWS, tmp_path)
    assert "Add:classifier" in result
    assert "MatMul:layers.0.scores" not in result
    assert "MatMul:layers.0.scores" in fp16.convertible(model)
