"""Faults planted into a compiled repository and into served versions: each is caught and named.

The others, in graphs, golden rows and records: tests/export/parity/test_planted_faults.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import catalogue, repositories, served
from benchmarks.faults.catalogue import Catch, Fault
from slipway.errors import ParityError

Catches = dict[str, Catch]  # by the fault's name


@pytest.fixture(scope="module")
def published(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Catches:
    return {catch.name: catch for catch in repositories.catches(finished_run, tmp_path_factory.mktemp("published"))}


@pytest.fixture(scope="module")
def answered(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Catches:
    """By one server for all; a run without a fault that it refuses fails them all."""
    return {catch.name: catch for catch in served.catches(finished_run, tmp_path_factory.mktemp("answered"))}


def name(fault: Fault) -> str:
    return fault.name


@pytest.mark.parametrize("fault", repositories.FAULTS, ids=name)
def test_a_fault_in_a_compiled_repository_is_not_published_and_its_file_is_named(published: Catches, fault: Fault) -> None:
    assert published[fault.name].named, published[fault.name]


@pytest.mark.parametrize("fault", served.FAULTS, ids=name)
def test_a_fault_in_a_served_version_is_named_over_http_and_grpc_or_when_it_is_loaded(answered: Catches, fault: Fault) -> None:
    assert answered[fault.name].named, answered[fault.name]


def test_a_fault_is_examined_alone_as_it_is_with_others(finished_run: Path, tmp_path: Path) -> None:
    fault = served.FAULTS[0]
    assert catalogue.catch(fault, catalogue.copy(finished_run, tmp_path / "run")).named


def test_a_served_run_that_is_refused_without_a_fault_measures_none(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_ROWS", 20)  # too few to decide
    with pytest.raises(ParityError, match="is refused without a fault"):
        next(served.catches(finished_run, tmp_path))


def test_an_edit_that_changes_nothing_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it is")
    with pytest.raises(ValueError, match="changes nothing"):
        repositories.edit(tmp_path / "file", repositories.text("what it has not", ""))
