"""Files of labels that Triton loads, and from which its classifications would have other names; and
fields of a config.pbtxt that came after Triton 2.51.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.lint import linter
from slipway.lint.models import Finding, Unchecked

CONFIG = """
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" }
"""
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] }
ensemble_scheduling {
  step { model_name: "model" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }
  max_inflight_requests: 16
}
"""
LABELS = b"World\nSports\nBusiness\n"
Linted = Callable[..., tuple[Finding, ...]]


@pytest.fixture
def linted(tmp_path: Path) -> Linted:
    """Return the findings for a model with this file of labels, and its config.pbtxt changed so."""

    def lint(labels: bytes = LABELS, old: str = "", new: str = "") -> tuple[Finding, ...]:
        (tmp_path / "model/1").mkdir(parents=True)
        (tmp_path / "model/1/model.py").write_text("class TritonPythonModel: ...")
        (tmp_path / "model/labels.txt").write_bytes(labels)
        (tmp_path / "model/config.pbtxt").write_text(CONFIG.replace(old, new) if old else CONFIG + new)
        return linter.check(tmp_path).findings

    return lint


def unchecked(repository: Path) -> dict[str, str]:
    return {entry.what: entry.why for entry in linter.check(repository).unchecked if isinstance(entry, Unchecked)}


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS.removesuffix(b"\n"), LABELS + b"\n\n", b"a:1\n:\nc\n", b"a\na\na\n", "ä\na\rb\n\u2028\n".encode()],
    ids=["one a line", "no newline", "blank lines behind", "colons", "twice", "odd characters"],
)
def test_labels_that_arrive_as_they_are_written_are_right(linted: Linted, labels: bytes) -> None:
    assert linted(labels) == ()


@pytest.mark.parametrize(
    ("labels", "where", "found"),
    [
        (b"World\nSports\n", "config.pbtxt:output[y].label_filename", "2 lines in labels.txt"),
        (LABELS + b"Science\n", "config.pbtxt:output[y].label_filename", "4 lines in labels.txt"),
        (b"World\rSports\rBusiness", "config.pbtxt:output[y].label_filename", "1 lines in labels.txt"),
        (b"World\n\nBusiness\n", "labels.txt:2", "an empty line"),
        (b"World\r\nSports\r\nBusiness\r\n", "labels.txt:1", "0D 0A"),
        (b"\xef\xbb\xbf" + LABELS, "labels.txt:1", "EF BB BF"),
        (b"World\nSp\xf6rts\nBusiness\n", "labels.txt:2", "byte F6"),
        (b"World\nSports\nBusi\0ness\n", "labels.txt:3", "byte 00"),
    ],
)
def test_a_file_that_names_otherwise_than_meant_is_found(linted: Linted, labels: bytes, where: str, found: str) -> None:
    [finding] = linted(labels)
    assert (finding.severity, finding.rule, finding.where, finding.found) == ("warning", "labels", f"model/{where}", found)


@pytest.mark.parametrize("kind", ["STRING", "FP16", "BOOL"])
def test_labels_of_an_output_that_triton_does_not_rank_are_found(linted: Linted, kind: str) -> None:
    [finding] = linted(LABELS, "TYPE_FP32 dims: [ 3 ]", f"TYPE_{kind} dims: [ 3 ]")
    assert (finding.severity, finding.rule, finding.found) == ("warning", "labels", f"TYPE_{kind}")


def test_two_files_for_one_output_are_an_error(linted: Linted) -> None:
    findings = linted(LABELS, new=CONFIG.strip().splitlines()[-1])
    assert ("error", "labels", "2") in {(finding.severity, finding.rule, finding.found) for finding in findings}


def test_a_slash_in_front_of_a_name_is_nothing(linted: Linted) -> None:
    assert linted(LABELS, '"labels.txt"', '"/labels.txt"') == ()


def test_labels_of_an_output_of_any_length_are_not_counted(linted: Linted, tmp_path: Path) -> None:
    assert linted(b"World\n", "dims: [ 3 ]", "dims: [ -1 ]") == ()
    assert "labels of y" in unchecked(tmp_path)


# Fields that came after Triton 2.51


@pytest.mark.parametrize(
    ("control", "fields"),
    [
        ('metric_identifier { family: "f" } histogram_options { buckets: [ 1, 2 ] }', []),
        ('metric_identifier { family: "f" }', ["histogram_options.buckets"]),
        ("histogram_options { buckets: 1 }", ["metric_identifier.family"]),
        ("", ["metric_identifier.family", "histogram_options.buckets"]),
    ],
)
def test_a_histogram_has_a_family_and_buckets_since_2_52(linted: Linted, control: str, fields: list[str]) -> None:
    findings = linted(new=f"model_metrics {{ metric_control {{ {control} }} }}")
    assert [finding.where.rpartition("metric_control[0].")[2] for finding in findings] == fields
    assert {(finding.severity, finding.rule, finding.since) for finding in findings} <= {("error", "metrics", "Triton 2.52")}


def test_a_field_that_only_newer_servers_know_is_said_and_the_rest_of_the_file_is_checked(linted: Linted, tmp_path: Path) -> None:
    [finding] = linted(LABELS, "dims: [ 1 ]", "dims: [ 0 ] }\nmodel_metrics {")
    assert finding.rule == "dims"
    assert unchecked(tmp_path)["model_metrics"].startswith("Triton 2.52 and later know it")


def test_an_ensembles_limit_of_26_x_is_said_and_its_wiring_checked(linted: Linted, tmp_path: Path) -> None:
    linted()
    (tmp_path / "both/1").mkdir(parents=True)
    (tmp_path / "both/config.pbtxt").write_text(ENSEMBLE.replace('value: "y"', 'value: "z"'))
    assert {finding.rule for finding in linter.check(tmp_path).findings} == {"ensemble-output", "ensemble-unused"}
    assert "26.x" in unchecked(tmp_path)["max_inflight_requests"]


def test_a_field_that_no_server_knows_is_an_error(linted: Linted) -> None:
    [finding] = linted(new="model_metric { }")
    assert (finding.severity, finding.rule) == ("error", "config-parse")
