"""What a run has compiled is published only with the proof that exactly these files gave the
reference's answers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.registry import proof
from slipway.contract import manifest
from slipway.contract.records import REPOSITORY, TEXT_MODEL
from slipway.errors import ParityError, SlipwayError
from tests.support.command import slipway


def reseal(run: Path) -> None:
    repository = run / "model_repository"
    facts = json.loads((repository / REPOSITORY).read_text())
    manifest.seal(repository, REPOSITORY, {name: value for name, value in facts.items() if name != "files"})


def replaced(path: Path, data: bytes) -> None:
    path.unlink()  # it is a link to the artifact's
    path.write_bytes(data)


def another_file(run: Path) -> None:
    """One bit of the served model's last weight, with a manifest that says so."""
    path = run / "model_repository" / "bert_ort_fp32" / "1" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replaced(path, bytes(data))
    reseal(run)


def other_labels(run: Path) -> None:
    path = run / "model_repository" / TEXT_MODEL / "1" / "labels.txt"
    replaced(path, b"\n".join(path.read_bytes().splitlines()[::-1]) + b"\n")
    reseal(run)


def no_verdict(run: Path) -> None:
    (run / "artifacts" / "ort_int8" / "parity.json").unlink()


def verdict_of_another_file(run: Path) -> None:
    path = run / "artifacts" / "ort_fp32" / "parity.json"
    manifest.write_json(path, {**json.loads(path.read_text()), "artifact_sha256": "0" * 64})


def failed_verdict(run: Path) -> None:
    path = run / "artifacts" / "ort_fp32" / "parity.json"
    record = json.loads(path.read_text())
    manifest.write_json(path, {**record, "flips": record["rows"] // 2})


def converted_again(run: Path) -> None:
    """The artifact's manifest is another, so its verdict is none, though the files are the same."""
    path = run / "artifacts" / "ort_fp32" / "artifact.json"
    manifest.write_json(path, {**json.loads(path.read_text()), "again": True})
    verdict = path.with_name("parity.json")
    manifest.write_json(verdict, {**json.loads(verdict.read_text()), "artifact_sha256": manifest.sha256(path)})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (another_file, "model.onnx of sha256"),
        (other_labels, "labels.txt of sha256"),
        (no_verdict, "no parity.json"),
        (verdict_of_another_file, "one for 000000000000"),
        (failed_verdict, "flip"),
        (converted_again, "which did not"),
    ],
)
def test_what_was_not_compared_is_refused(run_copy: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(run_copy)
    with pytest.raises(ParityError, match=says):
        proof.proven(run_copy)


def test_a_repository_changed_after_it_was_compiled_is_refused(run_copy: Path) -> None:
    replaced(run_copy / "model_repository" / TEXT_MODEL / "1" / "model.py", b"")
    with pytest.raises(SlipwayError, match="was changed after it was written"):
        proof.proven(run_copy)


def test_a_sound_run_is_taken_with_the_variant_behind_every_model(finished_run: Path) -> None:
    compiled = proof.proven(finished_run)
    assert compiled.origin.variants == {
        "bert_onnx_fp32": "onnx_fp32",
        "bert_ort_fp32": "ort_fp32",
        "bert_ort_int8": "ort_int8",
        TEXT_MODEL: "ort_int8",
    }


def test_the_refusal_is_the_commands_exit_code_and_a_line_of_the_audit(run_copy: Path, tmp_path: Path) -> None:
    no_verdict(run_copy)
    repository = tmp_path / "model_repository"
    done = slipway("publish", run_copy, "--repository", repository)
    assert done.returncode == 1
    assert not repository.exists()
    [line] = (tmp_path / "runs" / "published" / "model_repository" / "publishing.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["action"], entry["result"], entry["found"]) == ("publish", "refused", "no parity.json")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="no such directory"):
        proof.proven(tmp_path / "absent")


def test_the_golden_rows_are_those_of_the_bundle_that_was_published(run_copy: Path) -> None:
    origin = proof.proven(run_copy).origin
    assert proof.golden_source(origin, "slipway publish run").sha256 == origin.bundle_sha256
    shutil.rmtree(run_copy / "bundle")
    with pytest.raises(SlipwayError, match="not complete"):
        proof.golden_source(origin, "slipway publish run")
