"""What a run has compiled is published only if the builder, from what passed, makes the very same
files.
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
from slipway.errors import ParityError, PublishingError, SlipwayError
from tests.support.command import slipway

BERT = "bert_onnx_fp32"


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file of the compiled repository, and seal it as if it had been compiled so."""
    data = path.read_bytes()
    assert change(data) != data
    path.unlink()  # it may be a link to the artifact's
    path.write_bytes(change(data))
    reseal(path.parents[[parent.name for parent in path.parents].index("model_repository")])


def reseal(repository: Path) -> None:
    facts = json.loads((repository / REPOSITORY).read_text())
    manifest.seal(repository, REPOSITORY, {name: value for name, value in facts.items() if name != "files"})


def flipped(data: bytes) -> bytes:
    """One bit in the middle."""
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


# What is changed → how. Each was published once, sealed anew.
CHANGED: dict[str, Callable[[bytes], bytes]] = {
    f"{BERT}/1/model.onnx": flipped,
    f"{BERT}/1/table.bin": flipped,
    f"{TEXT_MODEL}/1/labels.txt": lambda data: b"\n".join(data.splitlines()[::-1]) + b"\n",
    f"{TEXT_MODEL}/1/vocab.txt": lambda data: data.replace(b"aa\nab\n", b"ab\naa\n"),
    f"{TEXT_MODEL}/1/tokenizer.py": lambda data: data + b"# another\n",
    f"{TEXT_MODEL}/1/model.py": lambda data: data + b"# another\n",
    f"{TEXT_MODEL}/config.pbtxt": lambda data: data.replace(b"max_batch_size: 32", b"max_batch_size: 31"),
}
SETTINGS = {  # in the text model's settings.json
    "lower_case": (b'"lower_case": true', b'"lower_case": false'),
    "max_seq_len": (b'"max_seq_len": 16', b'"max_seq_len": 6'),
    "tolerance": (b'"tolerance": 0', b'"tolerance": 9'),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_file_is_refused_by_name_though_it_was_sealed_anew(run_copy: Path, name: str) -> None:
    rewritten(run_copy / "model_repository" / name, CHANGED[name])
    with pytest.raises(ParityError) as refusal:
        proof.proven(run_copy)
    assert refusal.value.where == str(run_copy / "model_repository" / name)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_changed_setting_is_refused_too(run_copy: Path, setting: str) -> None:
    path = run_copy / "model_repository" / TEXT_MODEL / "1" / "settings.json"
    rewritten(path, lambda data: data.replace(*SETTINGS[setting]))
    with pytest.raises(ParityError, match=r"settings\.json, as it is built from what passed"):
        proof.proven(run_copy)


def test_a_file_that_was_not_copied_is_refused_by_name(run_copy: Path) -> None:
    (run_copy / "model_repository" / BERT / "1" / "table.bin").unlink()
    reseal(run_copy / "model_repository")
    with pytest.raises(ParityError, match=rf"{BERT}/1/table\.bin(.|\n)*none"):
        proof.proven(run_copy)


def test_a_file_too_many_is_refused_by_name(run_copy: Path) -> None:
    (run_copy / "model_repository" / TEXT_MODEL / "1" / "numpy.py").write_text("")
    reseal(run_copy / "model_repository")
    with pytest.raises(ParityError, match=rf"{TEXT_MODEL}/1/numpy\.py"):
        proof.proven(run_copy)


def test_a_repository_that_does_not_say_how_it_was_built_is_refused(run_copy: Path) -> None:
    repository = run_copy / "model_repository"
    facts = json.loads((repository / REPOSITORY).read_text())
    manifest.seal(repository, REPOSITORY, {name: value for name, value in facts.items() if name not in ("files", "built_with")})
    with pytest.raises(ParityError, match="built_with"):
        proof.proven(run_copy)


def test_a_run_that_is_built_for_nvidias_container_alone_is_refused_with_what_to_do_there(run_copy: Path) -> None:
    (run_copy / "model_repository").rename(run_copy / "model_repository_ngc")
    with pytest.raises(PublishingError, match="NVIDIA's container") as refusal:
        proof.proven(run_copy)
    assert f"slipway verify {run_copy} --target ngc --address" in refusal.value.fix


def test_the_fix_builds_with_the_same_options(word_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(word_run, tmp_path / "run"))
    options = ["--engine", "onnx_fp32", "--instances", "3", "--threads", "2", "--priorities", "4"]
    assert slipway("build", run, *options).returncode == 0
    proof.proven(run)
    rewritten(run / "model_repository" / TEXT_MODEL / "1" / "model.py", lambda data: data + b"\n")
    with pytest.raises(ParityError) as refusal:
        proof.proven(run)
    assert refusal.value.fix.split()[-len(options) :] == options


def no_verdict(run: Path) -> None:
    (run / "artifacts" / "onnx_fp32" / "parity.json").unlink()


def verdict_of_another_file(run: Path) -> None:
    path = run / "artifacts" / "onnx_fp32" / "parity.json"
    manifest.write_json(path, {**json.loads(path.read_text()), "artifact_sha256": "0" * 64})


def failed_verdict(run: Path) -> None:
    path = run / "artifacts" / "onnx_fp32" / "parity.json"
    record = json.loads(path.read_text())
    manifest.write_json(path, {**record, "flips": record["rows"] // 2})


def converted_again(run: Path) -> None:
    """The artifact's manifest is another, so its verdict is none, though the files are the same."""
    path = run / "artifacts" / "onnx_fp32" / "artifact.json"
    manifest.write_json(path, {**json.loads(path.read_text()), "again": True})
    verdict = path.with_name("parity.json")
    manifest.write_json(verdict, {**json.loads(verdict.read_text()), "artifact_sha256": manifest.sha256(path)})


def compared_elsewhere(run: Path) -> None:
    path = run / "artifacts" / "onnx_fp32" / "parity.json"
    manifest.write_json(path, {**json.loads(path.read_text()), "versions": {"onnxruntime": "1.4.0"}})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_verdict, "no parity.json"),
        (verdict_of_another_file, "one for 000000000000"),
        (failed_verdict, "flip"),
        (converted_again, "settings.json, as it is built from what passed"),
        (compared_elsewhere, "onnxruntime 1.4.0"),
    ],
)
def test_what_was_not_compared_is_refused(run_copy: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(run_copy)
    with pytest.raises(ParityError, match=says):
        proof.proven(run_copy)


def test_a_repository_changed_after_it_was_compiled_is_refused(run_copy: Path) -> None:
    path = run_copy / "model_repository" / TEXT_MODEL / "1" / "model.py"
    path.unlink()
    path.write_bytes(b"")
    with pytest.raises(SlipwayError, match="was changed after it was written"):
        proof.proven(run_copy)


def test_a_sound_run_is_taken_with_the_variant_behind_every_model(word_run: Path) -> None:
    compiled = proof.proven(word_run)
    assert compiled.origin.variants == {TEXT_MODEL: "onnx_fp32", BERT: "onnx_fp32"}
    assert not list(word_run.glob(".proof-*"))


def test_the_refusal_is_the_commands_exit_code_and_a_line_of_the_audit(run_copy: Path, tmp_path: Path) -> None:
    no_verdict(run_copy)
    repository = tmp_path / "model_repository"
    done = slipway("publish", run_copy, "--repository", repository)
    assert done.returncode == 1
    assert not repository.exists()
    [line] = (tmp_path / "runs" / "published" / "model_repository" / "publishing.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["action"], entry["result"], entry["found"]) == ("publish", "refused", "onnx_fp32: no parity.json")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="no such directory"):
        proof.proven(tmp_path / "absent")


def test_the_golden_rows_are_those_of_the_bundle_that_was_published(run_copy: Path) -> None:
    origin = proof.proven(run_copy).origin
    assert proof.golden_source(origin, "slipway publish run").sha256 == origin.bundle_sha256
    shutil.rmtree(run_copy / "bundle")
    with pytest.raises(SlipwayError, match="not complete"):
        proof.golden_source(origin, "slipway publish run")
