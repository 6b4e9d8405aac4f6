"""Records of a run: of its present state, or the error names the command that writes them anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from serving.report.reading import read_run
from serving.report.records import ElsewhereRecord, RunRecords
from slipway.contract import artifact, manifest
from slipway.contract.records import BENCHMARK, BENCHMARK_SCHEMA, ENDPOINT, REPOSITORY, SERVED
from slipway.errors import ManifestError
from tests.support.serving import benchmark_records


def read(run: Path, served: Sequence[dict[str, Any]] = (), **changes: Any) -> RunRecords:
    """The run's records, after a server was verified with these checks, and measured."""
    current = {"repository_sha256": manifest.sha256(run / "model_repository" / REPOSITORY)}
    manifest.write_json(run / SERVED, {"passed": True, "ready_seconds": 1.0, "checks": list(served), **current})
    manifest.write_json(run / BENCHMARK, benchmark_records.benchmark(**current | changes))
    return read_run(run)


def test_a_benchmark_of_this_repository_is_read(run_copy: Path) -> None:
    assert read(run_copy, setting="full").benchmark.setting == "full"


def test_the_card_that_training_kept_is_read(run_copy: Path) -> None:
    facts = json.loads((run_copy / "bundle/bundle.json").read_text("utf-8"))["data_card"]
    card = read(run_copy).bundle.data_card
    assert card is not None
    assert json.loads(json.dumps(asdict(card))) == facts


@pytest.mark.parametrize("change", [{"schema": BENCHMARK_SCHEMA - 1}, {"repository_sha256": "another"}])
def test_a_benchmark_of_an_earlier_state_is_not_read(run_copy: Path, change: dict[str, Any]) -> None:
    records = read(run_copy, **change)
    with pytest.raises(ManifestError, match=f"slipway bench {run_copy}"):
        _ = records.benchmark


def test_a_record_that_is_missing_is_named_with_its_command(run_copy: Path) -> None:
    records = read_run(run_copy)
    with pytest.raises(ManifestError, match=rf"(?s){SERVED}.*slipway verify {run_copy}"):
        _ = records.served
    assert (records.failed, records.passed) == (False, False)


def test_of_a_trained_model_alone_the_next_commands_are_named(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "artifacts")
    shutil.rmtree(run_copy / "model_repository")
    missing = read_run(run_copy).missing
    assert [error.fix.rpartition("slipway ")[2] for error in missing.values()] == [
        f"export {run_copy}",
        f"build {run_copy}",
        f"build {run_copy}",
    ]


def test_an_export_of_which_nothing_passed_is_a_failure_and_not_missing(run_copy: Path) -> None:
    for path in (run_copy / "artifacts").glob(f"*/{artifact.PARITY}"):
        edit(path, flips=500)
    (run_copy / "artifacts" / artifact.EXPORTED).unlink()
    records = read_run(run_copy)
    assert records.failed
    assert {result.flips for result in records.parity} == {500}


def edit(path: Path, **values: Any) -> None:
    """Change these values of a record; None takes them out."""
    record = json.loads(path.read_text("utf-8")) | values
    manifest.write_json(path, {name: value for name, value in record.items() if value is not None})


def test_a_variant_that_did_not_pass_is_read_with_its_measurements_and_the_reason(run_copy: Path) -> None:
    edit(run_copy / "artifacts/ort_int8" / artifact.PARITY, flips=500)
    records = read(run_copy)
    assert "flip rate" in records.left_out["ort_int8"]
    assert {result.variant: result.flips for result in records.parity}["ort_int8"] == 500


def test_what_was_left_out_does_not_fail_a_run_whose_other_variants_passed(run_copy: Path) -> None:
    edit(run_copy / "artifacts/ort_int8" / artifact.PARITY, flips=500, passed=False)
    records = read(run_copy, served=[benchmark_records.live("ort_fp32", [])])
    assert records.passed


def test_a_verdict_on_another_bundle_is_not_shown(run_copy: Path) -> None:
    edit(run_copy / "artifacts" / artifact.EXPORTED, variants=["onnx_fp32", "ort_fp32"])
    edit(run_copy / "artifacts/ort_int8" / artifact.PARITY, bundle_sha256="another")
    records = read(run_copy)
    assert "ort_int8" in records.left_out
    assert "ort_int8" not in [result.variant for result in records.parity]


@pytest.mark.parametrize(
    ("name", "key", "command"),
    [(f"artifacts/ort_fp32/{artifact.PARITY}", "unseen", "export"), (SERVED, "passed", "verify")],
)
def test_a_record_of_an_earlier_version_is_refused_with_the_command_that_writes_it_anew(
    run_copy: Path, name: str, key: str, command: str
) -> None:
    read(run_copy)
    edit(run_copy / name, **{key: None})
    [error] = read_run(run_copy).missing.values()
    assert "earlier state" in error.summary
    assert error.fix.endswith(f"slipway {command} {run_copy}")


def test_a_run_that_was_not_built_is_told_to_be(run_copy: Path) -> None:
    (run_copy / "model_repository" / REPOSITORY).unlink()
    assert {error.fix.rpartition("slipway ")[2] for error in read_run(run_copy).missing.values()} == {f"build {run_copy}"}


def of_elsewhere(run: Path, repository: str) -> RunRecords:
    """The run's records, after a server elsewhere was asked for the answers of a repository."""
    asked = {"passed": True, "addresses": ["http://elsewhere:8000"], "checks": [benchmark_records.live("ort_int8", [7])]}
    manifest.write_json(run / ENDPOINT, {**asked, "made_at": "2026-03-04T05:06:07+00:00", "repository_sha256": repository})
    return read_run(run)


def test_what_a_server_elsewhere_answered_is_read(run_copy: Path) -> None:
    records = of_elsewhere(run_copy, manifest.sha256(run_copy / "model_repository" / REPOSITORY))
    assert isinstance(records.elsewhere, ElsewhereRecord)
    assert records.elsewhere.addresses == ("http://elsewhere:8000",)
    assert read_run(run_copy).files.keys() > {ENDPOINT, "bundle/bundle.json"}


def test_what_a_server_elsewhere_answered_of_another_repository_is_to_be_asked_again(run_copy: Path) -> None:
    elsewhere = of_elsewhere(run_copy, "another").elsewhere
    assert isinstance(elsewhere, ManifestError)
    assert elsewhere.fix.endswith(f"verify {run_copy} --address http://elsewhere:8000")


def test_the_configuration_is_the_repositorys(run_copy: Path) -> None:
    configuration = read_run(run_copy).configuration
    assert configuration is not None
    settings = json.loads((run_copy / "model_repository/text_classifier/1/settings.json").read_text("utf-8"))
    assert (configuration.engine, configuration.threads) == ("ort_int8", settings["threads"])


def test_the_day_of_a_run_that_was_not_measured_is_the_bundles_own(run_copy: Path) -> None:
    made_at = json.loads((run_copy / "bundle/bundle.json").read_text("utf-8"))["made_at"]
    os.utime(run_copy / "bundle/bundle.json", (0, 0))
    assert read_run(run_copy).made_on == made_at[:10]
