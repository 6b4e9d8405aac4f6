"""Runs whose manifests are right, over files that no stage would write, are refused by commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from slipway.contract import artifact, bundle, manifest
from slipway.errors import ManifestError
from tests.support.command import slipway


def reseal(directory: Path, name: str) -> None:
    facts = json.loads((directory / name).read_text("utf-8"))
    (directory / name).unlink()
    manifest.seal(directory, name, {key: value for key, value in facts.items() if key != "files"})


def test_a_sealed_bundle_that_reads_files_is_not_converted(run_copy: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = run_copy / "bundle/saved_model/saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].graph_def.library.function[0].node_def.add(name="planted", op="ReadFile", input=["x"])
    path.write_bytes(model.SerializeToString())
    reseal(run_copy / "bundle", bundle.MANIFEST)
    shutil.rmtree(run_copy / "artifacts/onnx_fp32")
    done = slipway("export", run_copy, "--variant", "onnx_fp32")
    assert done.returncode == 7, done.stderr
    assert "ReadFile, a file operation: node planted" in done.stderr
    assert not (run_copy / "artifacts/onnx_fp32").exists()


def test_a_sealed_artifact_with_data_elsewhere_is_neither_converted_nor_compared(run_copy: Path) -> None:
    directory = run_copy / "artifacts/onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    planted = model.graph.initializer.add(name="planted", data_type=TensorProto.FLOAT, dims=[1])
    planted.data_location = TensorProto.EXTERNAL
    planted.external_data.add(key="location", value="../outside")
    (directory / "model.onnx").unlink()  # it is a hard link
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    (directory / artifact.PARITY).unlink()
    reseal(directory, artifact.MANIFEST)
    for options in (("--variant", "ort_fp32"), ("--compare-only", "--variant", "onnx_fp32")):
        done = slipway("export", run_copy, *options)
        assert done.returncode == 7, done.stderr
        assert "../outside" in done.stderr
    assert not (directory / artifact.PARITY).exists()


def test_a_sealed_artifact_whose_weights_file_was_not_copied_is_refused_at_the_gate(run_copy: Path) -> None:
    directory = run_copy / "artifacts/onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    (directory / "model.onnx").unlink()
    onnx.save(model, directory / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    (directory / "weights").unlink()
    (directory / artifact.PARITY).unlink()
    reseal(directory, artifact.MANIFEST)
    done = slipway("export", run_copy, "--compare-only", "--variant", "onnx_fp32")
    assert done.returncode == 7, done.stderr
    assert "in weights" in done.stderr
    assert "no such file" in done.stderr


def test_golden_rows_that_are_pickled_are_refused(run_copy: Path) -> None:
    path = run_copy / "bundle/golden.npz"
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "labels": np.array([{}], object)})
    reseal(run_copy / "bundle", bundle.MANIFEST)
    with pytest.raises(ManifestError, match=r"golden\.npz"):
        bundle.load_golden(bundle.load(run_copy / "bundle"))


def test_a_run_with_a_link_is_refused(run_copy: Path) -> None:
    (run_copy / "bundle/planted").symlink_to("/")
    done = slipway("export", run_copy)
    assert done.returncode == 6
    assert "planted is neither a file nor a directory" in done.stderr
