"""The gate in front of the repository: nothing without a passing verdict for exactly its hash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.contract import artifact, bundle
from slipway.contract.artifact import Artifact
from slipway.errors import ManifestError, ParityError
from tests.support.command import slipway


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def int8(run_copy: Path) -> Artifact:
    return artifact.load(run_copy / "artifacts/ort_int8")


@pytest.fixture
def bundle_sha256(run_copy: Path) -> str:
    return bundle.load(run_copy / "bundle").sha256


def test_a_passing_verdict_is_returned(int8: Artifact, bundle_sha256: str) -> None:
    assert artifact.verdict(int8, bundle_sha256)["variant"] == "ort_int8"


def test_without_a_verdict_it_is_refused(int8: Artifact, bundle_sha256: str) -> None:
    (int8.directory / "parity.json").unlink()
    with pytest.raises(ParityError, match=r"no parity\.json"):
        artifact.verdict(int8, bundle_sha256)


def test_a_verdict_for_another_artifact_is_refused(int8: Artifact, bundle_sha256: str) -> None:
    edit(int8.directory / "parity.json", artifact_sha256="0" * 64)
    with pytest.raises(ParityError, match="artifact_sha256"):
        artifact.verdict(int8, bundle_sha256)


def test_a_verdict_for_another_bundle_is_refused(int8: Artifact) -> None:
    with pytest.raises(ParityError, match="bundle_sha256"):
        artifact.verdict(int8, "0" * 64)


def test_the_word_passed_is_not_believed_when_the_measurements_say_otherwise(int8: Artifact, bundle_sha256: str) -> None:
    edit(int8.directory / "parity.json", passed=True, flips=1200)
    with pytest.raises(ParityError, match="flip rate"):
        artifact.verdict(int8, bundle_sha256)


def test_an_artifact_in_the_place_of_another_is_refused_whatever_its_verdict(run_copy: Path) -> None:
    artifacts = run_copy / "artifacts"
    shutil.rmtree(artifacts / "ort_fp32")
    shutil.copytree(artifacts / "ort_int8", artifacts / "ort_fp32")
    with pytest.raises(ManifestError, match="ort_fp32 holds something else"):
        artifact.load(artifacts / "ort_fp32")


@pytest.mark.parametrize("change", [{"rows": 0}, {"by_class": []}, {"precision": {"weights": []}}, {"variant": "onnx_fp16"}])
def test_a_record_that_contradicts_itself_is_refused(int8: Artifact, bundle_sha256: str, change: dict[str, Any]) -> None:
    edit(int8.directory / "parity.json", **change)
    with pytest.raises(ParityError):
        artifact.verdict(int8, bundle_sha256)


def test_a_verdict_that_is_no_record_is_refused(int8: Artifact, bundle_sha256: str) -> None:
    (int8.directory / "parity.json").write_text("{}")
    with pytest.raises(ParityError, match="cannot be read"):
        artifact.verdict(int8, bundle_sha256)


def test_a_flipped_weight_bit_is_caught_by_the_manifest(int8: Artifact) -> None:
    data = bytearray(int8.model.read_bytes())
    data[len(data) // 2] ^= 1
    int8.model.unlink()
    int8.model.write_bytes(data)
    with pytest.raises(ManifestError, match=r"model\.onnx"):
        artifact.load(int8.directory)


def test_what_was_made_from_a_worse_variant_is_left_out_whatever_its_own_limits_forgive(run_copy: Path, bundle_sha256: str) -> None:
    edit(run_copy / "artifacts/ort_fp32/parity.json", flips=1200)
    out = artifact.examine(run_copy, bundle_sha256).left_out
    assert "made from ort_fp32, which is shown to be worse" in out["ort_int8"]
    assert "onnx_fp32" not in out


def test_a_verdict_without_answers_to_start_with_is_refused(int8: Artifact, bundle_sha256: str) -> None:
    edit(int8.directory / "parity.json", start_up=[])
    with pytest.raises(ParityError, match="at every load"):
        artifact.verdict(int8, bundle_sha256)


def test_an_artifact_without_a_verdict_is_left_out_of_the_repository_and_said(run_copy: Path) -> None:
    (run_copy / "artifacts/ort_fp32/parity.json").unlink()
    done = slipway("build", run_copy)
    assert done.returncode == 0, done.stderr
    assert "ort_fp32: no parity.json" in done.stdout
    assert not (run_copy / "model_repository/bert_ort_fp32").exists()
    assert (run_copy / "model_repository/bert_onnx_fp32").is_dir()


def test_a_repository_is_refused_without_any_verdict_and_the_old_one_stays(run_copy: Path) -> None:
    before = (run_copy / "model_repository/repository.json").read_bytes()
    for path in run_copy.glob("artifacts/*/parity.json"):
        path.unlink()
    done = slipway("build", run_copy)
    assert done.returncode == 1
    assert "has been shown to give the same answers" in done.stderr
    assert (run_copy / "model_repository/repository.json").read_bytes() == before


def test_a_whole_run_verifies(finished_run: Path) -> None:
    done = slipway("check", finished_run)
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout


def test_verify_names_the_changed_file_and_the_broken_chain(run_copy: Path) -> None:
    edit(run_copy / "artifacts/ort_fp32/artifact.json", how="rewritten by hand")
    with (run_copy / "artifacts/onnx_fp16/model.onnx").open("ab") as file:
        file.write(b"x")
    shutil.rmtree(run_copy / "artifacts/onnx_fp32")
    done = slipway("check", run_copy)
    assert done.returncode == 6
    assert "ort_int8 was made from another ort_fp32" in done.stdout
    assert "onnx_fp16/model.onnx" in done.stdout
    assert "artifacts/onnx_fp32 is not complete" in done.stdout
    assert "ort_fp32 has not been shown to give the same answers" in done.stdout


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda rows: rows.clear(), "none"),
        (lambda rows: rows[0].pop("logits"), "none that can be read"),
        (lambda rows: rows.append(None), "none that can be read"),
        (lambda rows: rows[0].update(logits=[["a", "b"]]), "none that can be read"),
        (lambda rows: rows[0].update(logits=[]), "a row without ids or logits"),
        (lambda rows: [row.update(logits=[[0.0]]) for row in rows], "logits that say nothing"),
    ],
)
def test_start_up_answers_that_prove_nothing_are_no_verdict(
    run_copy: Path, change: Callable[[list[dict[str, Any]]], object], found: str
) -> None:
    path = run_copy / "artifacts/ort_fp32/parity.json"
    record = json.loads(path.read_text("utf-8"))
    change(record["start_up"])
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(ParityError) as refused:
        artifact.verdict(artifact.load(path.parent), record["bundle_sha256"])
    assert found in refused.value.found
