"""Records of a run: of its present state, or the error names the command that writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.report.records import RunRecords, read_run
from slipway.contract import manifest
from slipway.contract.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, SERVED
from slipway.errors import ManifestError
from tests.support.serving import benchmark_records


def read(run: Path, **changes: Any) -> RunRecords:
    """The run's records, after a server was verified and measured with this result."""
    current = {"repository_sha256": manifest.sha256(run / "model_repository" / REPOSITORY)}
    manifest.write_json(run / SERVED, {"passed": True, "ready_seconds": 1.0, "checks": [], **current})
    manifest.write_json(run / BENCHMARK, benchmark_records.benchmark(**current | changes))
    return read_run(run)


def test_a_benchmark_of_this_repository_is_read(run_copy: Path) -> None:
    assert read(run_copy, setting="full").benchmark.setting == "full"


@pytest.mark.parametrize("change", [{"schema": BENCHMARK_SCHEMA - 1}, {"repository_sha256": "another"}])
def test_a_benchmark_of_an_earlier_state_is_refused(run_copy: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=f"slipway bench {run_copy}"):
        read(run_copy, **change)


def test_a_record_that_is_missing_is_named_with_its_command(run_copy: Path) -> None:
    with pytest.raises(ManifestError, match=rf"(?s){SERVED}.*slipway verify {run_copy}"):
        read_run(run_copy)


def test_a_run_that_was_not_built_is_told_to_be(run_copy: Path) -> None:
    (run_copy / "model_repository" / REPOSITORY).unlink()
    with pytest.raises(ManifestError, match=f"slipway build {run_copy}"):
        read_run(run_copy)
