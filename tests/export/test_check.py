"""`slipway check RUN --rebuild` does everything again, and names what was typed over."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.graph import canonical, structure
from export.parity import rebuild
from export.parity.rebuild import NotRebuilt, Rebuild
from slipway.contract import artifact, bundle, manifest
from slipway.contract.artifact import Artifact
from slipway.contract.bundle import Reference
from slipway.contract.variants import VARIANTS
from slipway.errors import SlipwayError
from tests.export.graph.test_graphs import tiny_bert
from tests.support.command import slipway


def reference_of(run: Path) -> Reference:
    return bundle.load_reference(bundle.load(run / "bundle"))


def type_over(directory: Path, **fields: Any) -> None:
    """Change fields of parity.json, which is bound to the artifact as it is now."""
    path = directory / artifact.PARITY
    record = json.loads(path.read_text("utf-8")) | {"artifact_sha256": manifest.sha256(directory / artifact.MANIFEST)}
    manifest.write_json(path, record | fields)


def spoil(directory: Path, weight: str) -> None:
    """Make a weight of an artifact 1 % larger, and all hashes right again."""
    model = onnx.load(directory / "model.onnx")
    tensor = next(entry for entry in model.graph.initializer if entry.name == weight)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * 1.01).astype(values.dtype), weight))
    (directory / "model.onnx").unlink()
    onnx.save(model, directory / "model.onnx")
    facts = json.loads((directory / artifact.MANIFEST).read_text("utf-8"))
    del facts["files"]
    (directory / artifact.MANIFEST).unlink()
    manifest.seal(directory, artifact.MANIFEST, facts, beside=(artifact.PARITY,))
    type_over(directory)


def test_what_was_typed_over_with_its_hashes_is_named_by_a_rebuild_alone(run_copy: Path) -> None:
    spoil(run_copy / "artifacts/onnx_fp16", "pooler.kernel.fp16")
    type_over(run_copy / "artifacts/ort_fp32", gained=1)
    assert slipway("check", run_copy).returncode == 0
    done = slipway("check", run_copy, "--rebuild")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "onnx_fp16 is not what its conversion writes" in done.stdout
    assert f"export {run_copy} --variant onnx_fp16" in done.stdout
    assert "ort_fp32 does not answer as its record says" in done.stdout
    assert "expected  gained 1\n" in done.stdout
    for honest in ("onnx_fp32 is not", "onnx_fp32 does not", "ort_fp32 is not", "ort_int8", "reference logits"):
        assert f"\n{honest}" not in done.stdout.partition("\n\n")[2]


def differences(reference: Reference) -> list[SlipwayError]:
    return list(rebuild.reference_logits(reference, lambda _: None))


def test_the_reference_logits_are_computed_again(finished_run: Path) -> None:
    reference = reference_of(finished_run)
    assert differences(reference) == []
    logits = reference.golden.logits.copy()
    logits[7, 0] += 0.1
    [problem] = differences(replace(reference, golden=replace(reference.golden, logits=logits)))
    assert "golden.npz are not the SavedModel's" in problem.summary
    assert f"train {finished_run}" in problem.fix


@pytest.fixture
def recorded(finished_run: Path) -> dict[str, Any]:
    return dict(json.loads((finished_run / "artifacts/ort_int8/parity.json").read_text("utf-8")))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda record: record["probabilities"].update(difference_mean=0.0), "probabilities.difference_mean"),
        (lambda record: record["probes"].update(correlation=1.0), "probes.correlation"),
        (lambda record: record["by_class"][1].update(lost=record["by_class"][1]["lost"] + 1), "by_class[1].lost"),
        (lambda record: record["start_up"][2]["logits"][0].__setitem__(0, 9.0), "logits of start-up row 2"),
        (lambda record: record["start_up"].pop(), "start_up"),
        (lambda record: record["start_up"][0].update(text=None), "start_up"),
    ],
)
def test_a_record_that_was_typed_over_is_not_what_is_measured_again(
    recorded: dict[str, Any], change: Callable[[dict[str, Any]], object], name: str
) -> None:
    changed = copy.deepcopy(recorded)
    change(changed)
    assert [field for field, _, _ in rebuild.other_measurements(changed, recorded)] == [name]


def test_times_and_the_last_digits_are_not_compared(recorded: dict[str, Any]) -> None:
    again = recorded | {"engine_seconds": 1e3, "logit_difference_max": recorded["logit_difference_max"] * 1.001}
    assert list(rebuild.other_measurements(recorded, again)) == []


@pytest.mark.parametrize("variant", ["tensorrt_fp16", "tftrt_fp32"])
def test_a_variant_whose_kernels_are_timed_is_called_not_rebuilt(variant: str, tmp_path: Path) -> None:
    candidate = Artifact(tmp_path / variant, VARIANTS[variant], "", {})
    rebuilding = Rebuild(tmp_path, Reference(*[None] * 3), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(NotRebuilt, match="no two builds are alike"):
        list(rebuilding.differences(candidate, lambda _: None))


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, as another process of tf2onnx would write it."""
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)} | {""}

    def name(tensor: str) -> str:
        return tensor if tensor in fixed else f"other.{tensor}"

    other = onnx.ModelProto()
    other.CopyFrom(model)
    for number, node in enumerate(other.graph.node):
        node.name = str(number)
        node.input[:] = map(name, node.input)
        node.output[:] = map(name, node.output)
    initializers = list(reversed(other.graph.initializer))
    del other.graph.initializer[:]
    for tensor in initializers:
        tensor.name = name(tensor.name)
        other.graph.initializer.append(tensor)
    return other


def test_a_graph_is_the_same_under_other_names_and_in_another_order() -> None:
    model = canonical.write(tiny_bert())
    assert structure.of(renamed(model)) == structure.of(model)


def test_a_graph_with_another_weight_operator_or_attribute_is_another() -> None:
    model = canonical.write(tiny_bert())
    others = [onnx.ModelProto() for _ in range(3)]
    for other in others:
        other.CopyFrom(model)
    kernel = next(tensor for tensor in others[0].graph.initializer if tensor.name == "pooler.kernel")
    kernel.CopyFrom(numpy_helper.from_array(np.nextafter(numpy_helper.to_array(kernel), np.float32(9)), kernel.name))
    next(node for node in others[1].graph.node if node.op_type == "Tanh").op_type = "Sigmoid"
    next(node for node in others[2].graph.node if node.op_type == "Softmax").attribute[0].i = 1
    assert len({structure.of(entry) for entry in (model, *others)}) == 4
