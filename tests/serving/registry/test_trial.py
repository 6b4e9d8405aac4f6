"""The first version is active at once, so it is tried before: a record that was typed over does not
get it past its golden rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from serving.registry.audit import last_entries
from serving.registry.registry import Registry
from slipway.contract import manifest
from tests.support.command import slipway, slipway_output


def typed_over(run: Path, start_up: bool) -> None:
    """Another model under the verdict of the one that passed, hashes to go with it, and perhaps its
    own start-up answers.
    """
    directory = run / "artifacts" / "onnx_fp32"
    model = onnx.load(directory / "model.onnx")
    [table] = [tensor for tensor in model.graph.initializer if tensor.name == "table"]
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:, ::-1].copy(), "table"))
    (directory / "table.bin").unlink()
    (directory / "model.onnx").unlink()
    onnx.save(model, directory / "model.onnx")
    facts = json.loads((directory / "artifact.json").read_text())
    verdict = json.loads((directory / "parity.json").read_text())
    (directory / "parity.json").unlink()
    manifest.seal(directory, "artifact.json", {name: value for name, value in facts.items() if name != "files"})
    sha256 = manifest.sha256(directory / "artifact.json")
    if start_up:
        for row in verdict["start_up"]:
            row["logits"] = [answer[::-1] for answer in row["logits"]]
    manifest.write_json(directory / "parity.json", {**verdict, "artifact_sha256": sha256})
    slipway_output("build", run)


@pytest.mark.parametrize(
    ("start_up", "code", "says"),
    [
        (False, 8, "are not the gate's: the largest |Δlogit|"),
        (True, 1, "does not give its reference's answers"),
    ],
)
def test_a_first_version_with_other_answers_is_not_published(
    run_copy: Path, tmp_path: Path, start_up: bool, code: int, says: str
) -> None:
    typed_over(run_copy, start_up)
    registry = Registry(tmp_path / "model_repository")
    done = slipway("publish", run_copy, "--repository", registry.repository)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr
    assert not registry.repository.exists()
    assert last_entries(registry, 1)[0]["result"] == "refused"


def test_a_sound_first_version_is_tried_over_both_protocols_and_is_active(word_run: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "model_repository")
    slipway_output("publish", word_run, "--repository", registry.repository)
    [entry] = last_entries(registry, 1)
    tried = {(check["model"], check["protocol"], check["passed"]) for check in entry["checks"]}
    names = ("text_classifier (onnx_fp32)", "bert_onnx_fp32")
    assert tried == {(name, protocol, True) for name in names for protocol in ("http", "grpc")}
    assert entry["version"] == 1
