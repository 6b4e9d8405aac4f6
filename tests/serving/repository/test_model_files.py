"""A model is not without the files that its weights lie in, wherever in the graph it names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from serving.repository import model_files, ragged_onnx
from slipway.contract import manifest
from slipway.contract.artifact import Artifact
from slipway.contract.ragged import Ragged
from slipway.contract.variants import VARIANTS
from slipway.errors import ParityError

TABLE = np.arange(8, dtype=np.float32).reshape(4, 2)


def outside(name: str, location: str) -> onnx.TensorProto:
    """A tensor whose numbers lie in a file."""
    tensor = numpy_helper.from_array(TABLE, name)
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def artifact_of(directory: Path, *nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> Artifact:
    """An artifact of that graph, and of the files already in the directory."""
    ids = helper.make_tensor_value_info("input_word_ids", TensorProto.INT32, ["batch", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "graph", [ids], [logits], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    return Artifact(directory, VARIANTS["onnx_fp32"], "", {"files": manifest.hashes(directory)})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "run" / "artifacts" / "onnx_fp32"
    (directory / "weights").mkdir(parents=True)
    (directory / "weights" / "table.bin").write_bytes(TABLE.tobytes())
    return directory


@pytest.fixture
def gathered(directory: Path) -> Artifact:
    """Each row's logits are the sum of its words' rows in weights/table.bin."""
    nodes = [
        helper.make_node("Gather", ["table", "input_word_ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axis"], ["logits"], keepdims=0),
    ]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    return artifact_of(directory, *nodes, initializers=(outside("table", "weights/table.bin"), axis))


@pytest.mark.parametrize("where", ["attribute", "branch"])
def test_tensors_of_attributes_and_branches_count(directory: Path, tmp_path: Path, where: str) -> None:
    tensor = outside("", "weights/table.bin")
    constant = helper.make_node("Constant", [], ["logits"], value=tensor)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [4, 2])])
    inner = helper.make_node("If", ["condition"], ["logits"], then_branch=branch, else_branch=branch)
    model_files.link_model(artifact_of(directory, constant if where == "attribute" else inner), tmp_path / "model.onnx")
    assert (tmp_path / "weights" / "table.bin").read_bytes() == TABLE.tobytes()


def test_a_model_runs_from_where_it_was_linked_to(gathered: Artifact, tmp_path: Path) -> None:
    model_files.link_model(gathered, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    [logits] = session.run(None, {"input_word_ids": np.array([[1, 3]], np.int32)})
    np.testing.assert_array_equal(logits, [TABLE[1] + TABLE[3]])


def test_a_file_that_is_not_of_the_artifact_is_refused(gathered: Artifact, tmp_path: Path) -> None:
    del gathered.facts["files"]["weights/table.bin"]
    with pytest.raises(ParityError, match=r"weights/table\.bin among the files"):
        model_files.link_model(gathered, tmp_path / "model.onnx")


def test_a_model_that_takes_rows_in_one_piece_keeps_its_weights_outside(gathered: Artifact, tmp_path: Path) -> None:
    model_files.link_external(gathered, tmp_path)
    ragged_onnx.write(gathered.model, tmp_path / "flat.onnx", pairs=False)
    assert ragged_onnx.difference(gathered.model, tmp_path / "flat.onnx", Ragged.of([[1, 2, 3], [3]])) == 0.0
