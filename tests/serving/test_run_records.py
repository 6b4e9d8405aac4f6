"""What a report reads: each record is of the state that is there now, or the error names the command that writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving import run_records
from serving.records import BENCHMARK, BENCHMARK_SCHEMA, REPOSITORY, SERVED
from train import manifest
from train.errors import ManifestError


def gather(run: Path, **changes: Any) -> dict[str, Any]:
    """The run's records, after a server was verified and measured with this result."""
    current = {"repository_sha256": manifest.sha256(run / "model_repository" / REPOSITORY), "schema": BENCHMARK_SCHEMA}
    manifest.write_json(run / SERVED, current)
    manifest.write_json(run / BENCHMARK, current | changes)
    return run_records.gather(run)


def test_a_benchmark_of_this_repository_is_read(run_copy: Path) -> None:
    assert gather(run_copy, rows=[])["benchmark"]["rows"] == []


@pytest.mark.parametrize("change", [{"schema": BENCHMARK_SCHEMA - 1}, {"repository_sha256": "another"}])
def test_a_benchmark_of_an_earlier_state_is_refused(run_copy: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=f"make bench RUN={run_copy}"):
        gather(run_copy, **change)


def test_a_record_that_is_missing_is_named_with_its_command(run_copy: Path) -> None:
    with pytest.raises(ManifestError, match=rf"(?s){SERVED}.*make verify RUN={run_copy}"):
        run_records.gather(run_copy)
