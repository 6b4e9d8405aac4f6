"""Faults planted into a real run and sealed anew: each is caught, and it is said what it is.

The catalogue is benchmarks/faults; docs/parity.md shows it for a model of full size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults import catalogue, graphs, measure, rebuilt, records, rows, weights
from benchmarks.faults.catalogue import Catch, Fault
from export.parity import gate
from tests.support.command import slipway

Planted = Callable[[Fault], Catch]


def each(*faults: Fault) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


@pytest.fixture
def planted(finished_run: Path, tmp_path: Path) -> Planted:
    """Plants a fault into a copy of the finished run, and hears what is said against it."""
    return lambda fault: catalogue.catch(fault, catalogue.copy(finished_run, tmp_path / "run"))


@each(*graphs.FAULTS)
def test_a_fault_in_what_a_graph_computes_is_shown_and_named(fault: Fault, planted: Planted) -> None:
    caught = planted(fault)
    assert caught.named, caught


@each(*weights.FAULTS)
def test_a_fault_in_the_weights_is_shown_and_named(fault: Fault, planted: Planted) -> None:
    caught = planted(fault)
    assert caught.named, caught


@each(*rows.FAULTS)
def test_golden_rows_that_show_too_little_are_named(fault: Fault, planted: Planted) -> None:
    caught = planted(fault)
    assert caught.named, caught


@each(*records.FAULTS)
def test_a_record_or_a_file_that_is_another_is_refused_by_name(fault: Fault, planted: Planted) -> None:
    caught = planted(fault)
    assert caught.named, caught


@each(*rebuilt.FAULTS)
def test_what_passed_the_gate_is_seen_by_a_second_conversion(fault: Fault, planted: Planted) -> None:
    caught = planted(fault)
    assert caught.named, caught


@pytest.mark.parametrize("variant", ["onnx_fp32", "ort_int8", "onnx_fp16"])
def test_an_edit_that_changes_nothing_passes(variant: str, finished_run: Path, tmp_path: Path) -> None:
    run = catalogue.copy(finished_run, tmp_path / "run")
    graphs.edited(run, variant, lambda graph: graphs.append(graph, graphs.node("Identity", "inner", "logits")))
    assert graphs.judged(run, variant).passed


def test_no_two_faults_have_a_name() -> None:
    assert [name for name, count in Counter(fault.name for fault in measure.OFFLINE).items() if count > 1] == []


def test_a_file_that_a_fault_replaces_stays_in_the_run_that_was_copied(tmp_path: Path) -> None:
    for part in ("bundle", "artifacts"):
        (tmp_path / "run" / part).mkdir(parents=True)
    (tmp_path / "run/bundle/labels.txt").write_text("World")
    copy = catalogue.copy(tmp_path / "run", tmp_path / "copy")
    catalogue.replace(copy / "bundle/labels.txt", b"Sports")
    assert (tmp_path / "run/bundle/labels.txt").read_text() == "World"


def test_a_fault_that_is_caught_for_another_reason_is_not_named() -> None:
    fault = Fault("a fault", "graph", lambda run: None, lambda run: ["flip rate is 1"], "inputs are swapped")
    caught = catalogue.catch(fault, Path("run"))
    assert (caught.caught, caught.named) == (True, "")


def test_a_check_that_dies_leaves_no_earlier_verdict_behind(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "_measure", die)
    with pytest.raises(KeyboardInterrupt):
        graphs.judged(run_copy, "ort_fp32")
    assert not (run_copy / "artifacts/ort_fp32/parity.json").exists()


def test_a_person_is_shown_what_failed_and_what_it_looks_like(run_copy: Path) -> None:
    graphs.edited(run_copy, "onnx_fp32", lambda graph: graphs.append(graph, graphs.node("Add", "inner nowhere", "logits")))
    done = slipway("export", run_copy, "--compare-only", "--variant", "onnx_fp32")
    assert done.returncode == 1
    assert "the engine failed" in done.stdout
    assert "Traceback" not in done.stderr
