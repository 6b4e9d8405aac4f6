"""A repository without faults, and one fault at a time planted into it."""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tensorboard.compat.proto.meta_graph_pb2 import MetaGraphDef

from serving.repository import embedded
from slipway import options
from slipway.errors import ManifestError
from slipway.lint import commands, linter
from slipway.lint.models import Finding, ModelDirectory

TOKENIZER = """
backend: "python"
max_batch_size: 8
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
model_warmup {
  name: "one" batch_size: 1 inputs { key: "text" value { data_type: TYPE_STRING dims: 1 input_data_file: "text" } }
}
"""
BERT = """
name: "bert"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] }
model_warmup [ { name: "zeros" batch_size: 2 inputs { key: "ids" value { data_type: TYPE_INT64 dims: 16 zero_data: true } } } ]
"""
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "LOGITS" data_type: TYPE_FP32 dims: [ 4 ] } ]
ensemble_scheduling { step [
  { model_name: "bert" model_version: -1
    input_map { key: "ids" value: "IDS" } output_map { key: "logits" value: "LOGITS" } },
  { model_name: "tokenizer" model_version: -1
    input_map { key: "text" value: "TEXT" } output_map { key: "ids" value: "IDS" } }
] }
"""
ECHO = """
backend: "python"
max_batch_size: 8
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
"""
PACKED = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] allow_ragged_batch: true } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 4 ] } ]
batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_INT32 source_input: "ids" } ]
dynamic_batching { }
"""
SAVED = """
platform: "tensorflow_savedmodel"
max_batch_size: 8
input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


def write_onnx(path: Path, inputs: dict[str, tuple[int, list[Any]]], logits: list[Any] | None, initializer: Any = None) -> None:
    """A graph with that signature, and nothing that could run."""
    declared = [helper.make_tensor_value_info(name, *one) for name, one in inputs.items()]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits)
    graph = helper.make_graph([], "tiny", declared, [output], [initializer] if initializer is not None else [])
    path.write_bytes(helper.make_model(graph).SerializeToString())


def write_savedmodel(path: Path, sizes: list[int]) -> None:
    """saved_model.pb by TensorFlow's own messages; SavedModel itself is two fields, written by
    hand.
    """
    meta = MetaGraphDef()
    signature = meta.signature_def["serving_default"]
    for tensors, name, kind, shape in ((signature.inputs, "ids", 9, [-1, -1]), (signature.outputs, "logits", 1, sizes)):
        tensors[name].name, tensors[name].dtype = f"{name}:0", kind
        for size in shape:
            tensors[name].tensor_shape.dim.add(size=size)
    path.mkdir()
    body = meta.SerializeToString()
    (path / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    configs = {"tokenizer": TOKENIZER, "bert": BERT, "classifier": ENSEMBLE, "echo": ECHO, "packed": PACKED, "saved": SAVED}
    for name, config in configs.items():
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(config)
    for name in ("tokenizer", "echo"):
        (tmp_path / name / "1/model.py").write_text("class TritonPythonModel: ...")
    (tmp_path / "tokenizer/warmup").mkdir()
    (tmp_path / "tokenizer/warmup/text").write_bytes(struct.pack("<I", 3) + b"Oil")
    write_onnx(tmp_path / "bert/1/model.onnx", {"ids": (TensorProto.INT64, ["batch", "sequence"])}, ["batch", 4])
    (tmp_path / "bert/labels.txt").write_text("World\nSports\nBusiness\nSci/Tech\n")
    row = {"ids": (TensorProto.INT64, ["tokens"]), "ends": (TensorProto.INT32, ["batch"])}
    write_onnx(tmp_path / "packed/1/model.onnx", row, ["batch", 4])
    write_savedmodel(tmp_path / "saved/1/model.savedmodel", [-1, 4])
    return tmp_path


@pytest.fixture
def finding(repository: Path) -> Callable[..., Finding]:
    def plant(model: str, old: str = "", new: str = "") -> Finding:
        """The one finding, after `old` was replaced in the model's config.pbtxt."""
        path = repository / model / "config.pbtxt"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1) if old else path.read_text() + new)
        (found,) = linter.check(repository).findings
        assert found.model == model
        return found

    return plant


def said(found: Finding) -> tuple[str, str, str]:
    return found.severity, found.rule, found.where


# The whole


def test_a_repository_without_faults_has_no_findings(repository: Path) -> None:
    assert linter.check(repository).findings == ()


def test_what_cannot_be_read_is_said_to_be_unchecked(repository: Path) -> None:
    (repository / "bert/config.pbtxt").write_text(BERT.replace("onnxruntime", "tensorrt"))
    (repository / "bert/1/model.onnx").rename(repository / "bert/1/model.plan")
    report = linter.check(repository)
    assert not report.findings
    assert ("bert", "a plan can be read by TensorRT alone, on a GPU of its kind") in {
        (one.model, one.why) for one in report.unchecked
    }


@pytest.mark.parametrize("task", ["single_text", "text_pair", "tagging"])
def test_our_own_configurations_have_no_findings(task: str, tmp_path: Path) -> None:
    source: Any = SimpleNamespace(task=task, labels=("World", "Sports"))
    one: Any = SimpleNamespace(variant=SimpleNamespace(name="ort_fp32"))
    for config in (embedded.text_config(source), embedded.ids_config(one, source)):
        (tmp_path / config.name / "1").mkdir(parents=True)
        (tmp_path / config.name / "config.pbtxt").write_text(config.text())
        (tmp_path / config.name / "1/model.py").write_text("class TritonPythonModel: ...")
        (tmp_path / config.name / "1/labels.txt").write_text("World\nSports\n")
    assert linter.check(tmp_path).findings == ()


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    options.lint_options(parser)
    return commands.lint(parser.parse_args(list(map(str, arguments))))


def test_without_errors_the_command_exits_0_and_counts(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(repository) == 0
    assert capsys.readouterr().out.endswith(f"{repository}: models 6, errors 0, warnings 0, not checked 4\n")


def test_with_errors_it_exits_6_and_says_expected_found_and_where(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "bert/1/model.onnx").unlink()
    (repository / "bert/1/model.bin").touch()
    assert run(repository) == 6
    assert capsys.readouterr().out.startswith(
        "error: bert: model-file\n  expected  model.onnx, which the backend onnxruntime opens\n"
        "  found     model.bin\n  where     bert/1/model.onnx\n"
    )


def test_warnings_alone_exit_0(repository: Path) -> None:
    (repository / "bert/v2").mkdir()
    assert run(repository) == 0


def test_json_holds_the_findings_and_what_was_not_checked(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "bert/v2").mkdir()
    run(repository, "--json")
    record = json.loads(capsys.readouterr().out)
    assert (record["errors"], record["warnings"], record["findings"][0]["rule"]) == (0, 1, "version-name")
    assert record["not_checked"][0]["model"] == "echo"


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such directory"):
        linter.check(tmp_path / "none")


def test_a_models_own_directory_is_no_repository(repository: Path) -> None:
    with pytest.raises(ManifestError, match="found     a model"):
        linter.check(repository / "bert")


def test_a_model_that_cannot_be_read_is_an_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: ModelDirectory) -> NoReturn:
        raise PermissionError(13, "Permission denied", "1")

    monkeypatch.setattr(linter, "check_versions", refuse)
    assert {(finding.severity, finding.rule) for finding in linter.check(repository).findings} == {("error", "unreadable")}


def test_a_hidden_directory_is_an_error_because_triton_ends(repository: Path) -> None:
    (repository / ".git").mkdir()
    assert [(finding.severity, finding.where) for finding in linter.check(repository).findings] == [("error", ".git")]


def test_an_empty_repository_is_found(tmp_path: Path) -> None:
    assert [one.rule for one in linter.check(tmp_path).findings] == ["repository-empty"]


# config.pbtxt


def test_an_unknown_field_is_found_with_its_line(finding: Callable[..., Finding]) -> None:
    found = finding("bert", "max_batch_size: 8", "max_batch: 8")
    assert said(found) == ("error", "config-parse", "bert/config.pbtxt:4")
    assert 'no field named "max_batch"' in found.found


def test_nothing_else_is_said_of_a_config_that_cannot_be_read(repository: Path) -> None:
    (repository / "echo/config.pbtxt").write_text("{")
    assert [one.rule for one in linter.check(repository).findings] == ["config-parse"]
    assert ("echo", "everything else") in unchecked(repository)


def test_a_number_out_of_its_fields_range_is_found(finding: Callable[..., Finding]) -> None:
    found = finding("echo", "TYPE_STRING", "99999999999")
    assert (found.where, found.found) == ("echo/config.pbtxt", "Value out of range: 99999999999")


def test_a_dtype_that_triton_does_not_know_is_found(finding: Callable[..., Finding]) -> None:
    assert said(finding("echo", "TYPE_STRING", "77")) == ("error", "dtype", "echo/config.pbtxt:input[text].data_type")


def test_bytes_that_are_not_utf_8_are_found_with_their_line(repository: Path) -> None:
    (repository / "bert/config.pbtxt").write_bytes(b'name: "bert"\nbackend: "\xff"')
    assert said(linter.check(repository).findings[0]) == ("warning", "config-encoding", "bert/config.pbtxt:2")


def test_a_missing_config_is_a_warning_where_the_backend_can_guess(repository: Path) -> None:
    (repository / "saved/config.pbtxt").unlink()
    (found,) = linter.check(repository).findings
    assert said(found) == ("warning", "config-missing", "saved/config.pbtxt")


def test_a_missing_config_is_an_error_where_nothing_says_which_backend(repository: Path) -> None:
    (repository / "notes/1").mkdir(parents=True)
    (repository / "notes/1/readme").touch()
    (found,) = linter.check(repository).findings
    assert said(found) == ("error", "config-missing", "notes/config.pbtxt")


CONFIG_FAULTS = [
    ("bert", 'name: "bert"', 'name: "bart"', "error", "name", "name"),
    ("echo", 'name: "text"', "", "error", "name", "input[].name"),
    ("packed", 'backend: "onnxruntime"', 'platform: "caffe2_netdef"', "error", "backend", "backend"),
    ("packed", 'backend: "onnxruntime"', 'backend: "onnxruntime" platform: "tensorrt_plan"', "error", "backend", "platform"),
    ("echo", "data_type: TYPE_STRING", "", "error", "dtype", "input[text].data_type"),
    ("echo", "dims: [ 1 ]", "dims: [ 0 ]", "error", "dims", "input[text].dims"),
    ("echo", "dims: [ 1 ]", "dims: [ 1 ] format: FORMAT_NHWC", "error", "dims", "input[text].dims"),
    ("echo", "dims: [ 1 ]", "dims: [ 1 ] reshape { shape: [ 2 ] }", "error", "reshape", "input[text].reshape.shape"),
    ("echo", "dims: [ 1 ]", "dims: [ 2, 1 ] reshape { shape: [ 1, -1 ] }", "error", "reshape", "input[text].reshape.shape"),
    ("echo", "dims: [ 1 ]", "dims: [ 1 ] is_shape_tensor: true", "error", "shape-tensor", "input[text].is_shape_tensor"),
    ("saved", "", 'output { name: "logits" data_type: TYPE_FP32 dims: 4 }', "warning", "name-twice", "output"),
    ("echo", "max_batch_size: 8", "dynamic_batching { }", "warning", "dynamic-batching", "dynamic_batching"),
    ("bert", "4, 8", "4, 16", "error", "preferred-batch-size", "dynamic_batching.preferred_batch_size"),
    (
        "echo",
        "",
        "sequence_batching { oldest { preferred_batch_size: 9 } }",
        "error",
        "preferred-batch-size",
        "sequence_batching.oldest.preferred_batch_size",
    ),
    ("packed", "g { }", "g { priority_levels: 2 }", "error", "priority", "dynamic_batching.default_priority_level"),
    ("packed", "dynamic_batching { }", "", "warning", "ragged", "input[ids].allow_ragged_batch"),
    ("packed", "dims: [ -1 ]", "dims: [ 16 ]", "warning", "ragged", "input[ids].allow_ragged_batch"),
    ("packed", 'source_input: "ids"', 'source_input: [ "ids", "ids" ]', "error", "batch-input", "batch_input[0].source_input"),
    ("packed", "TYPE_INT32", "TYPE_INT64", "error", "batch-input", "batch_input[0].data_type"),
    ("bert", "", 'instance_group { kind: KIND_GPU profile: "0" }', "error", "profile", "instance_group[0].profile"),
    ("bert", "", "instance_group { kind: KIND_CPU gpus: 0 }", "error", "instance-group", "instance_group[0].gpus"),
    ("bert", "labels.txt", "classes.txt", "error", "labels", "output[logits].label_filename"),
    ("bert", "", "instance_group { kind: KIND_CPU count: -2 }", "warning", "instance-count", "instance_group[0].count"),
    ("bert", "", 'runtime: "${runtime}"', "error", "placeholder", "runtime"),
    ("bert", "", 'metric_tags { key: "team" value: "${team}" }', "warning", "placeholder", "metric_tags[team]"),
    (
        "packed",
        "g { }",
        "g { max_queue_delay_microseconds: 5000000 }",
        "warning",
        "queue-delay",
        "dynamic_batching.max_queue_delay_microseconds",
    ),
    (
        "packed",
        "g { }",
        "g { priority_queue_policy { key: 1 value { max_queue_size: 4 } } }",
        "warning",
        "queue-policy",
        "dynamic_batching.priority_queue_policy",
    ),
]


@pytest.mark.parametrize(("model", "old", "new", "severity", "rule", "field"), CONFIG_FAULTS)
def test_a_fault_in_config_pbtxt_is_the_one_finding(
    finding: Callable[..., Finding], model: str, old: str, new: str, severity: str, rule: str, field: str
) -> None:
    assert said(finding(model, old, new)) == (severity, rule, f"{model}/config.pbtxt:{field}")


def test_a_reshape_to_nothing_needs_a_batch(repository: Path) -> None:
    config = repository / "echo/config.pbtxt"
    config.write_text(ECHO.replace("dims: [ 1 ]", "dims: [ 1 ] reshape { shape: [ ] }", 1))
    assert linter.check(repository).findings == ()
    config.write_text(config.read_text().replace("size: 8", "size: 0"))
    assert [one.found for one in linter.check(repository).findings] == ["an empty one"]


def test_a_batch_input_names_what_it_fills(repository: Path) -> None:
    (repository / "packed/config.pbtxt").write_text(PACKED.replace('target_name: "ends"', ""))
    found = {(one.rule, one.found) for one in linter.check(repository).findings}
    assert found == {("batch-input", "none"), ("name", "ids")}


def test_a_batch_output_names_outputs_of_the_model(finding: Callable[..., Finding]) -> None:
    scatter = 'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "TEXT" source_input: "text" }'
    assert said(finding("echo", "", scatter)) == ("error", "batch-input", "echo/config.pbtxt:batch_output[0].target_name")


def test_a_negative_max_batch_size_is_found(repository: Path) -> None:
    (repository / "echo/config.pbtxt").write_text(ECHO.replace("size: 8", "size: -1"))
    assert [one.rule for one in linter.check(repository).findings] == ["max-batch-size"]


def test_two_models_of_one_name_are_found(repository: Path) -> None:
    (repository / "saved/config.pbtxt").write_text('name: "packed"' + SAVED)
    assert "packed: packed, saved" in {one.found for one in linter.check(repository).findings}


def test_a_ragged_input_without_a_batch_input_is_found(repository: Path) -> None:
    config = repository / "packed/config.pbtxt"
    config.write_text("".join(line for line in PACKED.splitlines(True) if "batch_input" not in line))
    found = {(one.rule, one.found) for one in linter.check(repository).findings}
    assert ("ragged", "nothing tells the model where one request ends and the next begins") in found


@pytest.mark.parametrize(("smallest", "largest", "count"), [(1, 8, 0), (2, 8, 1), (1, 4, 1)])
def test_a_profile_has_to_reach_from_1_to_max_batch_size(repository: Path, smallest: int, largest: int, count: int) -> None:
    shapes = (("min", smallest), ("max", largest))
    entries = "".join(f'parameters {{ key: "trt_profile_{key}_shapes" value: "ids:{size}x16" }}' for key, size in shapes)
    accelerator = f'gpu_execution_accelerator {{ name: "tensorrt" {entries} }}'
    (repository / "bert/config.pbtxt").write_text(BERT + f"optimization {{ execution_accelerators {{ {accelerator} }} }}")
    assert [one.rule for one in linter.check(repository).findings] == ["profile"] * count


def test_a_profile_that_is_no_shape_is_found(finding: Callable[..., Finding]) -> None:
    entry = 'name: "tensorrt" parameters { key: "trt_profile_max_shapes" value: "ids:8xany" }'
    found = finding("bert", "", f"optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ {entry} }} }} }}")
    assert (found.severity, found.rule, found.found) == ("error", "profile", "ids:8xany")


def unchecked(repository: Path) -> set[tuple[str, str]]:
    return {(one.model, one.what) for one in linter.check(repository).unchecked}


# Version directories and model files


def test_a_backend_that_new_containers_lack_is_said(repository: Path) -> None:
    said = {(one.model, one.what): one.why for one in linter.check(repository).unchecked}
    assert said["saved", "the backend tensorflow"] == "NVIDIA's containers have it up to 25.02"


def test_an_empty_version_directory_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "bert/2").mkdir()
    assert said(finding("bert")) == ("error", "version-empty", "bert/2")


def test_an_ensembles_empty_version_directory_is_as_it_should_be(repository: Path) -> None:
    assert not any((repository / "classifier/1").iterdir())
    assert linter.check(repository).findings == ()


def test_a_model_without_versions_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "classifier/1").rmdir()
    assert said(finding("classifier")) == ("error", "version-missing", "classifier/1")


def test_a_version_that_triton_ignores_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "bert/v2").mkdir()
    assert said(finding("bert")) == ("warning", "version-name", "bert/v2")


@pytest.mark.parametrize(("versions", "severity"), [("[ 1, 7 ]", "warning"), ("[ 7 ]", "error")])
def test_a_version_policy_names_versions_that_are_there(finding: Callable[..., Finding], versions: str, severity: str) -> None:
    found = finding("bert", "", f"version_policy {{ specific {{ versions: {versions} }} }}")
    assert (found.severity, found.rule, found.found) == (severity, "version-policy", "7")


@pytest.mark.parametrize(("model", "file"), [("tokenizer", "model.py"), ("bert", "model.onnx")])
def test_a_missing_model_file_is_found(repository: Path, finding: Callable[..., Finding], model: str, file: str) -> None:
    (repository / model / "1" / file).rename(repository / model / "1/other")
    assert said(finding(model)) == ("error", "model-file", f"{model}/1/{file}")


def test_a_model_file_of_another_name_is_found_when_the_config_names_it(finding: Callable[..., Finding]) -> None:
    assert said(finding("bert", "", 'default_model_filename: "bert.onnx"'))[2] == "bert/1/bert.onnx"


def test_an_empty_model_file_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "tokenizer/1/model.py").write_bytes(b"")
    assert finding("tokenizer").found == "an empty file"


@pytest.mark.parametrize(("model", "file"), [("bert", "model.onnx"), ("saved", "model.savedmodel/saved_model.pb")])
def test_a_model_file_cut_short_is_found(repository: Path, finding: Callable[..., Finding], model: str, file: str) -> None:
    path = repository / model / "1" / file
    path.write_bytes(path.read_bytes()[:-3])
    assert (finding(model).rule, finding(model).expected) == ("model-file", "a model that can be read")


def test_an_onnx_file_without_a_graph_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "bert/1/model.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    assert finding("bert").found == "no graph with outputs"


def test_a_shape_that_the_file_does_not_say_is_not_compared(repository: Path) -> None:
    write_onnx(repository / "bert/1/model.onnx", {"ids": (TensorProto.INT64, ["batch", "sequence"])}, None)
    assert linter.check(repository).findings == ()


def test_a_frozen_graph_is_not_checked(repository: Path) -> None:
    (repository / "saved/config.pbtxt").write_text(SAVED.replace("tensorflow_savedmodel", "tensorflow_graphdef"))
    (repository / "saved/1/model.graphdef").write_text("a graph")
    assert ("saved", "names, dtypes and dims against 1/model.graphdef") in unchecked(repository)


def test_a_tensors_name_that_is_not_utf_8_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    path = repository / "packed/1/model.onnx"
    path.write_bytes(path.read_bytes().replace(b"ends", b"en\xffs"))
    assert finding("packed").found == "the name of an input or output is not UTF-8"


def test_weights_missing_beside_an_onnx_file_are_found(repository: Path, finding: Callable[..., Finding]) -> None:
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "weight")
    onnx.external_data_helper.set_external_data(weight, "weights.bin")
    inputs = {"ids": (TensorProto.INT64, ["batch", "sequence"])}
    write_onnx(repository / "bert/1/model.onnx", inputs, ["batch", 4], weight)
    assert finding("bert").expected == "the weights in weights.bin, beside it"


# Against the model file's own signature


def test_an_input_that_the_file_has_not_is_found(finding: Callable[..., Finding]) -> None:
    found = finding("saved", "", 'input { name: "mask" data_type: TYPE_INT64 dims: -1 }')
    assert (found.rule, found.expected, found.found) == ("name", "inputs of 1/model.savedmodel: ids", "mask")


def test_an_input_that_the_config_lacks_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    both = (TensorProto.INT64, ["batch", "sequence"])
    write_onnx(repository / "bert/1/model.onnx", {"ids": both, "mask": both}, ["batch", 4])
    assert finding("bert").expected == "all inputs of 1/model.onnx, also mask"


def test_an_input_with_a_value_in_the_file_may_be_left_out(repository: Path) -> None:
    inputs = {"ids": (TensorProto.INT64, ["batch", "sequence"]), "scale": (TensorProto.FLOAT, [1])}
    write_onnx(repository / "bert/1/model.onnx", inputs, ["batch", 4], numpy_helper.from_array(np.ones(1, np.float32), "scale"))
    assert linter.check(repository).findings == ()


SIGNATURE_FAULTS = [
    ("packed", 'name: "logits"', 'name: "scores"', "name", "output"),
    ("packed", "TYPE_FP32", "TYPE_FP16", "dtype", "output[logits].data_type"),
    ("packed", "dims: [ 4 ]", "dims: [ 5 ]", "dims", "output[logits].dims"),
    ("packed", "dims: [ 4 ]", "dims: [ -1 ]", "dims", "output[logits].dims"),
    ("saved", "TYPE_INT64", "TYPE_INT32", "dtype", "input[ids].data_type"),
    ("saved", "dims: [ -1 ]", "dims: [ -1, -1 ]", "dims", "input[ids].dims"),
    ("saved", "dims: [ 4 ]", "dims: [ 5 ]", "dims", "output[logits].dims"),
]


@pytest.mark.parametrize(("model", "old", "new", "rule", "field"), SIGNATURE_FAULTS)
def test_a_config_that_contradicts_the_file_is_found(
    finding: Callable[..., Finding], model: str, old: str, new: str, rule: str, field: str
) -> None:
    assert said(finding(model, old, new)) == ("error", rule, f"{model}/config.pbtxt:{field}")


def test_the_config_may_fix_an_input_that_the_file_leaves_open(repository: Path) -> None:
    (repository / "saved/config.pbtxt").write_text(SAVED.replace("dims: [ -1 ]", "dims: [ 128 ]"))
    assert linter.check(repository).findings == ()


def test_a_fixed_batch_in_the_file_forbids_batching(repository: Path, finding: Callable[..., Finding]) -> None:
    write_onnx(repository / "bert/1/model.onnx", {"ids": (TensorProto.INT64, [1, "sequence"])}, ["batch", 4])
    assert said(finding("bert")) == ("error", "batch-dimension", "bert/config.pbtxt:max_batch_size")


def test_a_model_that_does_not_batch_is_compared_with_all_its_dimensions(finding: Callable[..., Finding], repository: Path) -> None:
    (repository / "saved/config.pbtxt").write_text(SAVED.replace("dims: [ -1 ]", "dims: [ 2, -1 ]").replace("[ 4 ]", "[ 2, 4 ]"))
    (found,) = {one.rule for one in linter.check(repository).findings}
    assert found == "dims"
    (repository / "saved/config.pbtxt").write_text((repository / "saved/config.pbtxt").read_text().replace("size: 8", "size: 0"))
    assert linter.check(repository).findings == ()


def test_a_ragged_input_needs_a_file_that_takes_one_long_row(repository: Path, finding: Callable[..., Finding]) -> None:
    row = {"ids": (TensorProto.INT64, ["batch", "tokens"]), "ends": (TensorProto.INT32, ["batch"])}
    write_onnx(repository / "packed/1/model.onnx", row, ["batch", 4])
    assert (finding("packed").rule, finding("packed").found) == ("ragged", "[-1, -1]")


def test_a_signature_that_a_savedmodel_has_not_is_said_to_be_unchecked(repository: Path) -> None:
    parameter = 'parameters { key: "TF_SIGNATURE_DEF" value { string_value: "predict" } }'
    (repository / "saved/config.pbtxt").write_text(SAVED + parameter)
    assert "saved" in {one.model for one in linter.check(repository).unchecked}


def test_what_an_unknown_backend_reads_is_not_checked(repository: Path) -> None:
    (repository / "echo/config.pbtxt").write_text(ECHO.replace('"python"', '"dali"'))
    assert ("echo", "model file") in unchecked(repository)


def test_a_config_without_outputs_leaves_them_to_the_backend(repository: Path) -> None:
    (repository / "saved/config.pbtxt").write_text(SAVED.partition("output")[0])
    assert ("saved", "names, dtypes and dims against 1/model.savedmodel") in unchecked(repository)
    assert linter.check(repository).findings == ()


# Warm-up

WARMUP_FAULTS = [
    ("bert", "batch_size: 2", "batch_size: 9", "error", ".batch_size"),
    ("bert", "batch_size: 2", "batch_size: 0", "warning", ".batch_size"),
    ("bert", "TYPE_INT64 dims: 16", "TYPE_INT32 dims: 16", "error", ".inputs[ids].data_type"),
    ("bert", "dims: 16", "dims: [ 2, 16 ]", "error", ".inputs[ids].dims"),
    ("bert", "dims: 16", "dims: -1", "error", ".inputs[ids].dims"),
    ("bert", "zero_data: true", "", "error", ".inputs[ids]"),
    ("bert", "zero_data: true", 'input_data_file: "ids"', "error", ".inputs[ids].input_data_file"),
]


@pytest.mark.parametrize(("model", "old", "new", "severity", "field"), WARMUP_FAULTS)
def test_a_warm_up_sample_that_is_no_request_is_found(
    finding: Callable[..., Finding], model: str, old: str, new: str, severity: str, field: str
) -> None:
    assert said(finding(model, old, new)) == (severity, "warmup", f"bert/config.pbtxt:model_warmup[zeros]{field}")


def test_a_warm_up_sample_names_the_inputs_of_its_model(repository: Path) -> None:
    (repository / "bert/config.pbtxt").write_text(BERT.replace('key: "ids"', 'key: "mask"'))
    assert [one.found for one in linter.check(repository).findings] == ["mask", "mask"]


@pytest.mark.parametrize("data", [b"", b"\x03\0\0\0Oi", struct.pack("<I", 0) * 2])
def test_warm_up_strings_have_to_be_as_many_as_the_dims_say(repository: Path, finding: Callable[..., Finding], data: bytes) -> None:
    (repository / "tokenizer/warmup/text").write_bytes(data)
    assert said(finding("tokenizer")) == (
        "error",
        "warmup",
        "tokenizer/config.pbtxt:model_warmup[one].inputs[text].input_data_file",
    )


def test_a_warm_up_file_with_too_few_bytes_is_found(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "bert/warmup").mkdir()
    (repository / "bert/warmup/ids").write_bytes(bytes(127))
    found = finding("bert", "zero_data: true", 'input_data_file: "ids"')
    assert (found.expected, found.found) == ("128 bytes: 16 of INT64", "127 bytes")


def test_a_warm_up_file_of_another_model_is_a_warning(repository: Path, finding: Callable[..., Finding]) -> None:
    (repository / "bert/warmup").mkdir()
    (repository / "echo/ids").write_bytes(bytes(128))
    planted = finding("bert", "zero_data: true", 'input_data_file: "../../echo/ids"')
    assert (planted.severity, planted.found) == ("warning", "../../echo/ids, outside of the model's directory")


# Ensembles

STEP = "ensemble_scheduling.step"
ENSEMBLE_FAULTS = [
    ('platform: "ensemble"', "", "ensemble", "platform"),
    ("", "instance_group { count: 1 }", "ensemble", "instance_group"),
    ('"bert" model_version: -1', '"bert" model_version: 3', "ensemble-model", f"{STEP}[0].model_version"),
    ("max_batch_size: 8", "max_batch_size: 9", "ensemble-batch", "max_batch_size"),
    ("TYPE_STRING", "TYPE_INT8", "ensemble-dtype", f"{STEP}[1].input_map[text]"),
    ("dims: [ 4 ]", "dims: [ 5 ]", "ensemble-dims", f"{STEP}[0].output_map[logits]"),
    ('value: "IDS" } output', 'value: "TOKENS" } output', "ensemble-source", f"{STEP}[0].input_map"),
    ("", 'input { name: "KIND" data_type: TYPE_INT8 dims: 1 }', "ensemble-unused", "input"),
    ("", 'output { name: "LABEL" data_type: TYPE_INT8 dims: 1 }', "ensemble-output", "output"),
    ('key: "logits" value: "LOGITS"', 'key: "scores" value: "LOGITS"', "ensemble-mapping", f"{STEP}[0].output_map"),
]


READS_TEXT = 'input_map { key: "text" value: "TEXT" }'


def with_steps(*more: str) -> str:
    return ENSEMBLE.replace("\n] }", "".join(f", {step}" for step in more) + "\n] }")


@pytest.mark.parametrize(("old", "new", "rule", "field"), ENSEMBLE_FAULTS)
def test_a_fault_in_an_ensembles_wiring_is_found(repository: Path, old: str, new: str, rule: str, field: str) -> None:
    assert old in ENSEMBLE
    (repository / "classifier/config.pbtxt").write_text(ENSEMBLE.replace(old, new, 1) if old else ENSEMBLE + new)
    found = {said(one) for one in linter.check(repository).findings}
    assert ("error", rule, f"classifier/config.pbtxt:{field}") in found


def test_an_ensemble_has_steps(repository: Path) -> None:
    for config in ('platform: "ensemble"', 'platform: "ensemble" ensemble_scheduling { }'):
        (repository / "classifier/config.pbtxt").write_text(config)
        assert [one.rule for one in linter.check(repository).findings] == ["ensemble"]


def test_an_ensemble_is_not_optimized(finding: Callable[..., Finding]) -> None:
    assert finding("classifier", "", "optimization { priority: PRIORITY_MAX }").where == "classifier/config.pbtxt:optimization"


def test_a_step_without_outputs_is_found(finding: Callable[..., Finding]) -> None:
    found = finding(
        "classifier", ENSEMBLE, with_steps('{ model_name: "echo" model_version: -1 input_map { key: "text" value: "TEXT" } }')
    )
    assert (found.rule, found.expected) == ("ensemble-mapping", "at least one output of echo: text")


def test_what_a_steps_model_leaves_to_its_backend_is_not_checked(repository: Path) -> None:
    (repository / "bert/config.pbtxt").write_text('backend: "onnxruntime" max_batch_size: 8')
    assert ("classifier", "ensemble_scheduling.step[0].input_map") in unchecked(repository)
    assert linter.check(repository).findings == ()


def test_an_ensembles_unknown_model_is_found_with_those_that_are_there(repository: Path) -> None:
    (repository / "classifier/config.pbtxt").write_text(ENSEMBLE.replace('"bert"', '"bart"'))
    (found,) = linter.check(repository).findings
    assert (found.rule, found.found) == ("ensemble-model", "bart")
    assert "bert" in found.expected


def test_every_input_of_a_step_is_mapped(finding: Callable[..., Finding], repository: Path) -> None:
    extra = 'input { name: "pair" data_type: TYPE_STRING dims: 1 }'
    config = TOKENIZER.partition("model_warmup")[0] + extra
    (repository / "tokenizer/config.pbtxt").write_text(config)
    assert finding("classifier").expected == "every input of tokenizer, also pair"
    (repository / "tokenizer/config.pbtxt").write_text(config.replace("dims: 1 }", "dims: 1 optional: true }"))
    assert linter.check(repository).findings == ()


def test_a_tensor_that_two_steps_make_is_found(finding: Callable[..., Finding]) -> None:
    again = f'{{ model_name: "tokenizer" model_version: -1 {READS_TEXT} output_map {{ key: "ids" value: "IDS" }} }}'
    found = finding("classifier", ENSEMBLE, with_steps(again))
    assert (found.rule, found.found) == ("ensemble-twice", "IDS from 2")


def test_steps_that_wait_for_each_other_are_found(repository: Path) -> None:
    swap = 'input_map { key: "text" value: "BACK" } output_map { key: "text" value: "FORTH" }'
    forth = f'{{ model_name: "echo" model_version: -1 {swap} }}'
    back = forth.replace("BACK", "~").replace("FORTH", "BACK").replace("~", "FORTH")
    (repository / "classifier/config.pbtxt").write_text(with_steps(forth, back))
    found = [(one.rule, one.found) for one in linter.check(repository).findings]
    waiting = "from steps that wait for each other"
    assert found == [("ensemble-order", f"BACK: {waiting}"), ("ensemble-order", f"FORTH: {waiting}")]


def test_a_tensor_that_nobody_reads_is_found(finding: Callable[..., Finding]) -> None:
    again = f'{{ model_name: "tokenizer" model_version: -1 {READS_TEXT} output_map {{ key: "ids" value: "SPARE" }} }}'
    found = finding("classifier", ENSEMBLE, with_steps(again))
    assert (found.rule, found.found) == ("ensemble-unused", "SPARE")


def test_ensembles_that_run_each_other_are_found_once(repository: Path) -> None:
    text = 'name: "text" data_type: TYPE_STRING dims: 1'
    for name, other in (("one", "two"), ("two", "one")):
        (repository / name / "1").mkdir(parents=True)
        maps = 'input_map { key: "text" value: "text" } output_map { key: "answer" value: "answer" }'
        config = f'platform: "ensemble" input {{ {text} }} output {{ {text.replace("text", "answer")} }}'
        (repository / name / "config.pbtxt").write_text(
            f'{config} ensemble_scheduling {{ step {{ model_name: "{other}" model_version: -1 {maps} }} }}'
        )
    (found,) = linter.check(repository).findings
    assert (found.rule, found.found) == ("ensemble-cycle", "one → two → one")


def without_batches(config: str) -> str:
    return config.partition("model_warmup")[0].replace("max_batch_size: 8", "max_batch_size: 0")


def test_an_ensemble_that_batches_a_model_that_does_not_is_a_warning(repository: Path) -> None:
    """The server loads it, and refuses every batch of two."""
    (repository / "tokenizer/config.pbtxt").write_text(without_batches(TOKENIZER))
    [finding] = linter.check(repository).findings
    assert said(finding) == ("warning", "ensemble-batching", "classifier/config.pbtxt:max_batch_size")
    assert finding.found == "8, and of classifier.TEXT and tokenizer.text one batches"


def test_an_ensemble_that_takes_rows_for_one_text_is_a_warning(repository: Path) -> None:
    """The server loads it, and answers three texts as the three words of one row."""
    (repository / "classifier/config.pbtxt").write_text(without_batches(ENSEMBLE).replace("[ 4 ]", "[ -1, 4 ]"))
    [finding] = linter.check(repository).findings
    assert said(finding) == ("warning", "ensemble-batching", "classifier/config.pbtxt:max_batch_size")


@pytest.mark.parametrize(("text", "logits"), [("[ 1 ]", "[ 4 ]"), ("[ -1, 1 ]", "[ -1, 4 ]")])
def test_an_ensemble_without_batches_may_give_one_row_or_say_the_batch_in_its_dims(
    repository: Path, text: str, logits: str
) -> None:
    config = without_batches(ENSEMBLE).replace("[ 1 ]", text).replace("[ 4 ]", logits)
    (repository / "classifier/config.pbtxt").write_text(config)
    assert linter.check(repository).findings == ()


def test_a_model_that_does_not_batch_fits_where_its_dims_hold_the_batch(repository: Path) -> None:
    config = TOKENIZER.partition("model_warmup")[0].replace("max_batch_size: 8", "max_batch_size: 0")
    config = config.replace("dims: [ 1 ]", "dims: [ -1, 1 ]").replace("INT64 dims: [ -1 ]", "INT64 dims: [ -1, -1 ]")
    (repository / "tokenizer/config.pbtxt").write_text(config)
    assert linter.check(repository).findings == ()
