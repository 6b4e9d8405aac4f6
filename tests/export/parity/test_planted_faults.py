"""Faults planted into real graphs, their manifests sealed anew: the gate refuses each, and says
what it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.parity import gate
from export.parity.gate import ParityRecord
from slipway.contract import artifact, bundle, manifest
from slipway.errors import ManifestError
from tests.support.command import slipway

Edit = Callable[[onnx.GraphProto], None]


@pytest.fixture
def check(run_copy: Path) -> Callable[[Edit, str], ParityRecord]:
    """Edit the graph of a variant, seal it as if it had been converted so, and put it through the
    gate.
    """

    def checked(edit: Edit, variant: str = "onnx_fp32") -> ParityRecord:
        directory = run_copy / "artifacts" / variant
        model = onnx.load(directory / "model.onnx")
        edit(model.graph)
        onnx.save(model, directory / "model.onnx")
        seal_anew(directory)
        return judged(directory)

    return checked


def judged(directory: Path) -> ParityRecord:
    """The gate's verdict on an artifact of a run."""
    source = bundle.load(directory.parents[1] / "bundle")
    return gate.check(artifact.load(directory), source, bundle.load_golden(source))


def seal_anew(directory: Path) -> None:
    facts = json.loads((directory / artifact.MANIFEST).read_text())
    del facts["files"]
    (directory / artifact.PARITY).unlink()
    manifest.seal(directory, artifact.MANIFEST, facts)


def whats(record: ParityRecord) -> str:
    assert not record.passed
    return "; ".join(failure.what for failure in record.failures)


def set_constant(graph: onnx.GraphProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = next(entry for entry in graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def append(graph: onnx.GraphProto, *nodes: tuple[str, list[str], str], **constants: np.ndarray) -> None:
    """Put nodes (operator, inputs, output) between the graph's own answer, now "inner", and its
    output "logits".
    """
    for node in graph.node:
        node.output[:] = ["inner" if name == "logits" else name for name in node.output]
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    attributes: dict[str, dict[str, Any]] = {"Cast": {"to": onnx.TensorProto.FLOAT}, "Shape": {"start": 1, "end": 2}}
    graph.node.extend(helper.make_node(kind, given, [written], **attributes.get(kind, {})) for kind, given, written in nodes)


def test_an_edit_that_changes_nothing_passes(check: Any) -> None:
    assert check(lambda graph: append(graph, ("Identity", ["inner"], "logits"))).passed


def test_swapped_input_names(check: Any) -> None:
    def swap(graph: onnx.GraphProto) -> None:
        other = {"input_mask": "input_type_ids", "input_type_ids": "input_mask"}
        for node in graph.node:
            node.input[:] = [other.get(name, name) for name in node.input]

    record = check(swap)
    assert "inputs are swapped: input_mask is read as input_type_ids" in record.diagnosis[-1]


def test_ids_that_arrive_at_the_wrong_table_fail_in_the_engine_and_are_named(check: Any) -> None:
    def swap(graph: onnx.GraphProto) -> None:
        other = {"input_word_ids": "input_type_ids", "input_type_ids": "input_word_ids"}
        for node in graph.node:
            node.input[:] = [other.get(name, name) for name in node.input]

    record = check(swap)
    assert "the engine failed" in whats(record)
    assert "inputs are swapped" in record.diagnosis[-1]


def test_a_mask_that_is_not_read(check: Any) -> None:
    record = check(lambda graph: set_constant(graph, "masked", np.zeros_like))
    assert any("is input_mask read" in sentence for sentence in record.diagnosis)


def test_padding_that_leaks_into_the_answer(check: Any) -> None:
    def leak(graph: onnx.GraphProto) -> None:
        shape = ("Shape", ["input_word_ids"], "width"), ("Cast", ["width"], "width.float")
        part = ("Mul", ["width.float", "share"], "leak"), ("Add", ["inner", "leak"], "logits")
        append(graph, *shape, *part, share=np.float32([0.01]))

    record = check(leak)
    assert "padded longer" in whats(record)
    assert any("padded longer" in sentence for sentence in record.diagnosis)


def test_permuted_labels(check: Any) -> None:
    def permute(graph: onnx.GraphProto) -> None:
        set_constant(graph, "classifier.kernel", lambda kernel: kernel[:, [1, 0, 2, 3]])
        set_constant(graph, "classifier.bias", lambda bias: bias[[1, 0, 2, 3]])

    [sentence] = check(permute).diagnosis
    assert sentence.startswith("the labels are in another order")
    assert "World" in sentence
    assert "Business" not in sentence


def test_a_shuffled_row_order(check: Any) -> None:
    ends = {"start": np.int64([-1]), "end": np.int64([-(2**62)]), "axis": np.int64([0]), "step": np.int64([-1])}
    record = check(lambda graph: append(graph, ("Slice", ["inner", "start", "end", "axis", "step"], "logits"), **ends))
    assert any(sentence.startswith("the rows are in another order") for sentence in record.diagnosis)


def test_nan_in_long_texts_only(check: Any) -> None:
    def poison(graph: onnx.GraphProto) -> None:
        count = ("ReduceSum", ["input_mask.long", "axis"], "tokens"), ("Greater", ["tokens", "most"], "long")
        cast = helper.make_node("Cast", ["input_mask"], ["input_mask.long"], to=onnx.TensorProto.INT64)
        graph.node.append(cast)
        constants = {"axis": np.int64([1]), "most": np.int64([17]), "nan": np.float32(np.nan)}
        append(graph, *count, ("Where", ["long", "nan", "inner"], "logits"), **constants)

    record = check(poison)
    assert "rows with NaN or Inf" in whats(record)
    assert record.diagnosis[0] == "NaN or Inf in every text of 18 tokens or more, and in none that is shorter"


def test_one_class_that_loses_5_points_while_the_total_loses_1(check: Any) -> None:
    def degrade(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Cast", ["input_word_ids"], ["ids.long"], to=onnx.TensorProto.INT64))
        chosen = ("ReduceSum", ["ids.long", "axis"], "sum"), ("Mod", ["sum", "twenty"], "rest"), ("Equal", ["rest", "zero"], "hit")
        spoil = ("Cast", ["hit"], "hit.float"), ("Mul", ["hit.float", "business"], "loss"), ("Add", ["inner", "loss"], "logits")
        constants = {
            "axis": np.int64([1]),
            "twenty": np.int64([20]),
            "zero": np.int64([0]),
            "business": np.float32([[0, 0, -1e3, 0]]),
        }
        append(graph, *chosen, *spoil, **constants)

    record = check(degrade)
    assert record.measured.accuracy_loss < 0.02
    assert "accuracy loss in Business, at least" in whats(record)


def test_fp32_inside_an_artifact_that_says_fp16(run_copy: Path) -> None:
    half, full = (run_copy / "artifacts" / name for name in ("onnx_fp16", "onnx_fp32"))
    shutil.copyfile(full / "model.onnx", half / "model.onnx")
    seal_anew(half)
    record = judged(half)
    assert whats(record) == "share of the multiplications not fp16"


def test_fp16_that_is_only_stored(run_copy: Path) -> None:
    """Every kernel in FP16, and cast to FP32 before it is multiplied."""
    half, full = (run_copy / "artifacts" / name for name in ("onnx_fp16", "onnx_fp32"))
    model = onnx.load(full / "model.onnx")
    kernels = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    for name, tensor in kernels.items():
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.stored"))
        model.graph.node.insert(0, helper.make_node("Cast", [f"{name}.stored"], [name], to=onnx.TensorProto.FLOAT))
    onnx.save(model, half / "model.onnx")
    seal_anew(half)
    record = judged(half)
    assert whats(record) == "share of the multiplications not fp16"


def test_a_check_that_dies_leaves_no_earlier_verdict_behind(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "_measure", die)
    with pytest.raises(KeyboardInterrupt):
        judged(run_copy / "artifacts/ort_fp32")
    assert not (run_copy / "artifacts/ort_fp32/parity.json").exists()


def test_a_person_is_shown_what_failed_and_what_it_looks_like(run_copy: Path) -> None:
    directory = run_copy / "artifacts/onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    append(model.graph, ("Add", ["inner", "nowhere"], "logits"))
    onnx.save(model, directory / "model.onnx")
    seal_anew(directory)
    done = slipway("export", run_copy, "--compare-only", "--variant", "onnx_fp32")
    assert done.returncode == 1
    assert "the engine failed" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_weight_of_which_one_bit_is_flipped(run_copy: Path) -> None:
    path = run_copy / "artifacts/ort_fp32/model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.unlink()
    path.write_bytes(data)
    onnx.checker.check_model(onnx.load(path))  # which sees nothing
    with pytest.raises(ManifestError, match=r"ort_fp32/model\.onnx"):
        artifact.load(path.parent)


def test_another_vocabulary(run_copy: Path) -> None:
    path = run_copy / "bundle/vocab.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    with pytest.raises(ManifestError, match=r"bundle/vocab\.txt"):
        bundle.load(run_copy / "bundle")


def test_a_graph_that_no_runtime_loads(check: Any) -> None:
    record = check(lambda graph: append(graph, ("Add", ["inner", "nowhere"], "logits")))
    assert "the engine failed" in whats(record)
    assert "nowhere" in whats(record)


def test_a_model_with_another_number_of_labels(check: Any) -> None:
    def widen(graph: onnx.GraphProto) -> None:
        set_constant(graph, "classifier.kernel", lambda kernel: kernel[:, :3])
        set_constant(graph, "classifier.bias", lambda bias: bias[:3])
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3

    assert "logits of shape (2400, 3), expected (2400, 4)" in whats(check(widen))
