"""Rules on model files: weights beside an ONNX file, model.py, and versions that are not served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.lint import linter
from slipway.lint.models import Finding
from tests.slipway.lint.server_cases import BASE, MODEL_PY, PYTHON

ONNX = BASE.replace('backend: "answering"', 'backend: "onnxruntime"')
WEIGHTS = np.arange(100, dtype=np.float32)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """The version directory of an ONNX model whose weights lie in weights.bin."""
    version = tmp_path / "models/bert/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(ONNX)
    weights = numpy_helper.from_array(WEIGHTS, "weights")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    sum_ = helper.make_node("ReduceSum", ["weights"], ["sum"], keepdims=0)
    nodes = [sum_, helper.make_node("Add", ["x", "sum"], ["y"])]
    graph = helper.make_graph(nodes, "tiny", tensors[:1], tensors[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, version / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return version


def findings(model: Path) -> tuple[Finding, ...]:
    return linter.check(model.parent).findings


def runs(version: Path) -> bool:
    """Whether ONNX Runtime takes the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(version / "model.onnx", options, providers=["CPUExecutionProvider"])
    except Exception:  # its own, for each fault another
        return False
    return True


def point_to(version: Path, location: str) -> None:
    model = onnx.load(version / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    (version / "model.onnx").write_bytes(model.SerializeToString())


def test_weights_beside_an_onnx_file_are_right(bert: Path) -> None:
    assert runs(bert)
    assert findings(bert.parent) == ()


def test_weights_cut_short_are_an_error_as_onnx_runtime_says(bert: Path) -> None:
    (bert / "weights.bin").write_bytes((bert / "weights.bin").read_bytes()[:-1])
    assert not runs(bert)
    [finding] = findings(bert.parent)
    assert (finding.severity, finding.expected, finding.found) == (
        "error",
        f"at least {WEIGHTS.nbytes} bytes of weights in weights.bin",
        f"{WEIGHTS.nbytes - 1} bytes",
    )


def test_renamed_weights_are_an_error_as_onnx_runtime_says(bert: Path) -> None:
    (bert / "weights.bin").rename(bert / "model.onnx.data")
    assert not runs(bert)
    assert [finding.found for finding in findings(bert.parent)] == ["no such file"]


def test_weights_outside_of_the_directory_are_an_error_of_newer_versions(bert: Path) -> None:
    (bert / "weights.bin").rename(bert.parent / "weights.bin")
    point_to(bert, "../weights.bin")
    [finding] = findings(bert.parent)
    assert (finding.severity, finding.found, finding.since) == ("error", "../weights.bin", "ONNX Runtime 1.24")


def test_a_model_that_is_linked_with_its_weights_is_right(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for name in ("model.onnx", "weights.bin"):
        (bert / name).rename(tmp_path / "store" / name)
        (bert / name).symlink_to(tmp_path / "store" / name)
    assert findings(bert.parent) == ()


def test_a_directory_of_weights_is_right(bert: Path) -> None:
    (bert / "large").mkdir()
    for name in ("model.onnx", "weights.bin"):
        (bert / name).rename(bert / "large" / name)
    (bert.parent / "config.pbtxt").write_text(ONNX + 'default_model_filename: "large"\n')
    assert findings(bert.parent) == ()


def test_a_link_to_nowhere_is_an_error_beside_the_config_and_a_warning_below(bert: Path) -> None:
    (bert.parent / "gone").symlink_to("nowhere")
    (bert / "gone").symlink_to("nowhere")
    assert [(finding.severity, finding.where) for finding in findings(bert.parent)] == [
        ("error", "bert/gone"),
        ("warning", "bert/1/gone"),
    ]


def test_a_link_to_nowhere_beside_the_models_is_an_error(bert: Path) -> None:
    (bert.parents[1] / "gone").symlink_to("nowhere")
    assert [(finding.severity, finding.model, finding.where) for finding in findings(bert.parent)] == [("error", "", "gone")]


def test_a_fault_of_a_version_that_is_not_served_is_a_warning(bert: Path) -> None:
    (bert.parent / "2").mkdir()
    (bert / "model.onnx").rename(bert.parent / "2/model.onnx")
    (bert / "weights.bin").rename(bert.parent / "2/weights.bin")
    (bert / "notes").touch()
    assert [(finding.severity, finding.where) for finding in findings(bert.parent)] == [("warning", "bert/1/model.onnx")]
    (bert.parent / "config.pbtxt").write_text(ONNX + "version_policy { all { } }\n")
    assert [(finding.severity, finding.where) for finding in findings(bert.parent)] == [("error", "bert/1/model.onnx")]


def test_an_optional_input_is_refused_in_batches_by_onnx_runtimes_backend(bert: Path) -> None:
    (bert.parent / "config.pbtxt").write_text(ONNX.replace("[ 4 ] }", "[ 4 ] optional: true }", 1))
    assert [finding.rule for finding in findings(bert.parent)] == ["optional"]


@pytest.mark.parametrize(
    ("group", "accelerator", "severity"),
    [
        ("KIND_CPU", 'cpu_execution_accelerator { name: "openvino" }', None),
        ("KIND_CPU", 'cpu_execution_accelerator { name: "openvinoo" }', "error"),
        ("KIND_CPU", 'gpu_execution_accelerator { name: "tensorrt" }', "warning"),
        ("KIND_GPU", 'gpu_execution_accelerator { name: "tensorrt" }', None),
        ("KIND_GPU", 'gpu_execution_accelerator { name: "trt" }', "error"),
        ("KIND_GPU", 'gpu_execution_accelerator { name: "cuda" }', None),
        (
            "KIND_GPU",
            'gpu_execution_accelerator { name: "tensorrt" parameters { key: "precision_mode" value: "HALF" } }',
            "error",
        ),
    ],
)
def test_an_accelerator_is_one_that_the_backend_has_and_an_instance_uses(
    bert: Path, group: str, accelerator: str, severity: str | None
) -> None:
    settings = f"instance_group {{ kind: {group} }}\noptimization {{ execution_accelerators {{ {accelerator} }} }}\n"
    (bert.parent / "config.pbtxt").write_text(ONNX + settings)
    assert [finding.severity for finding in findings(bert.parent)] == ([severity] if severity else [])


def test_what_needs_a_gpu_is_not_checked(bert: Path) -> None:
    (bert.parent / "config.pbtxt").write_text(ONNX + "instance_group { kind: KIND_GPU gpus: [ 7 ] }\n")
    unchecked = linter.check(bert.parents[1]).unchecked
    assert [str(entry) for entry in unchecked] == [
        "not checked: bert: instance_group[0]: GPU 7: no GPU here; a server without it refuses the model"
    ]


@pytest.mark.parametrize(("files", "rules"), [("", ["model-file"]), ('key: "8.0" value: "model_80.plan"', [])])
def test_a_plan_for_each_kind_of_gpu_needs_no_default_file(tmp_path: Path, files: str, rules: list[str]) -> None:
    version = tmp_path / "models/plan/1"
    version.mkdir(parents=True)
    (version / "model_80.plan").write_bytes(b"a plan")
    text = ONNX.replace('backend: "onnxruntime"', 'platform: "tensorrt_plan"')
    (version.parent / "config.pbtxt").write_text(text + (f"cc_model_filenames {{ {files} }}\n" if files else ""))
    assert [finding.rule for finding in findings(version.parent)] == rules


def test_a_platform_that_newer_servers_alone_know_is_not_checked(tmp_path: Path) -> None:
    version = tmp_path / "models/compiled/1"
    version.mkdir(parents=True)
    (version / "model.pt2").write_bytes(b"compiled ahead of time")
    (version.parent / "config.pbtxt").write_text(ONNX.replace('backend: "onnxruntime"', 'platform: "torch_aoti"'))
    report = linter.check(tmp_path / "models")
    assert report.findings == ()
    assert "not checked: compiled: platform torch_aoti: Triton 26.x knows it, and Triton 2.51 refuses it" in map(
        str, report.unchecked
    )


def test_a_model_py_that_does_not_parse_is_found_with_its_line(tmp_path: Path) -> None:
    version = tmp_path / "models/echo/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(PYTHON)
    (version / "model.py").write_bytes(MODEL_PY + b"    def finalize(self:\n")
    [finding] = findings(version.parent)
    assert (finding.severity, finding.rule, finding.where) == ("error", "python-source", "echo/1/model.py:4")


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    from fast import TritonPythonModel\nexcept ImportError:\n    class TritonPythonModel:\n        pass\n",
        "import models\nTritonPythonModel = models.make()\n",
        "import models\nglobals().update(vars(models))\n",
        "def __getattr__(name):\n    return object\n",
        "from models import *\n",
    ],
)
def test_any_way_to_have_the_class_is_right(tmp_path: Path, source: str) -> None:
    version = tmp_path / "models/echo/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(PYTHON)
    (version / "model.py").write_text(source)
    assert findings(version.parent) == ()


def test_a_class_that_is_only_read_is_none(tmp_path: Path) -> None:
    version = tmp_path / "models/echo/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(PYTHON)
    (version / "model.py").write_text("print(TritonPythonModel)\n")
    assert [finding.rule for finding in findings(version.parent)] == ["python-class"]


def test_a_version_beyond_64_bits_is_an_error_because_triton_ends(bert: Path) -> None:
    (bert.parent / str(2**63)).mkdir()
    assert [(finding.severity, finding.rule) for finding in findings(bert.parent)] == [("error", "version-name")]


def test_a_version_that_triton_reads_as_another_is_an_error(bert: Path) -> None:
    (bert.parent / "2_old").mkdir()
    [finding] = findings(bert.parent)
    assert (finding.severity, finding.where) == ("error", "bert/2_old")
    assert "opens 2/" in finding.expected


def test_a_placeholder_is_found_in_values_and_named_where_it_is_no_number(bert: Path) -> None:
    (bert.parent / "config.pbtxt").write_text(ONNX + 'parameters { key: "dir" value { string_value: "${tokenizer_dir}" } }\n')
    [finding] = findings(bert.parent)
    assert (finding.severity, finding.rule, finding.where) == (
        "warning",
        "placeholder",
        "bert/config.pbtxt:parameters[dir].string_value",
    )
    (bert.parent / "config.pbtxt").write_text(ONNX.replace("size: 8", "size: ${size}"))
    assert findings(bert.parent)[0].expected == "a value in the place of ${size}"
