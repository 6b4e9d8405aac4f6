"""`slipway export RUN --compare-only` judges what lies there, and makes nothing."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from unittest import mock

import pytest

from export import convert
from export.runtimes import RUNTIMES
from slipway.contract import artifact
from slipway.errors import ManifestError, ToolError


def compare(run: Path, *variants: str) -> int:
    return convert.export(argparse.Namespace(run=run, variant=list(variants) or None, compare_only=True))


def test_what_lies_there_is_compared_and_what_was_never_made_is_not_missed(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "artifacts/ort_int8")
    shutil.rmtree(run_copy / "artifacts/onnx_fp16")
    before = artifact.load(run_copy / "artifacts/ort_fp32").sha256
    (run_copy / "artifacts/ort_fp32/parity.json").unlink()
    skipped = artifact.skipped(run_copy)
    assert compare(run_copy) == 0
    assert artifact.exported(run_copy) == ["onnx_fp32", "ort_fp32"]
    assert artifact.load(run_copy / "artifacts/ort_fp32").sha256 == before
    assert artifact.skipped(run_copy) == skipped  # which says what could not be made


def test_an_artifact_that_is_asked_for_and_not_there_is_an_error_beside_the_others(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run_copy / "artifacts/onnx_fp32")
    (run_copy / "artifacts/ort_fp32/parity.json").unlink()
    assert compare(run_copy, "onnx_fp32", "ort_fp32") == ManifestError.exit_code
    assert f"export {run_copy}" in capsys.readouterr().err
    assert (run_copy / "artifacts/ort_fp32/parity.json").is_file()


def test_without_any_artifact_there_is_nothing_to_compare(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "artifacts")
    with pytest.raises(ManifestError, match="nothing to compare"):
        compare(run_copy)
    assert not (run_copy / "artifacts").exists()


def test_an_artifact_of_a_runtime_that_is_not_here_keeps_its_verdict(run_copy: Path) -> None:
    path = run_copy / "artifacts/ort_int8/parity.json"
    before, skipped = path.read_bytes(), artifact.skipped(run_copy)
    with mock.patch.object(RUNTIMES["onnxruntime"], "missing", return_value="no runtime"):
        assert compare(run_copy, "ort_int8") == ToolError.exit_code  # it was asked for by name
        assert compare(run_copy) == 0
    assert path.read_bytes() == before
    assert artifact.skipped(run_copy) == skipped


def test_what_no_longer_passes_is_no_longer_named_as_exported(run_copy: Path) -> None:
    assert "ort_int8" in artifact.exported(run_copy)
    record = json.loads((run_copy / "artifacts/ort_int8/artifact.json").read_text("utf-8"))
    record["files"]["model.onnx"] = "0" * 64
    (run_copy / "artifacts/ort_int8/artifact.json").write_text(json.dumps(record), "utf-8")
    before = (run_copy / "artifacts/export.json").stat().st_mtime_ns
    assert compare(run_copy, "ort_int8") == ManifestError.exit_code
    assert "ort_int8" not in artifact.exported(run_copy)
    assert (run_copy / "artifacts/export.json").stat().st_mtime_ns == before  # so that make exports again
    assert "ort_fp32" in artifact.exported(run_copy)
