"""What documents show is what the records say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.faults import measure
from serving.benchmark.record import BenchmarkRecord
from tests.support.serving import benchmark_records


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.parent.name)
def test_the_tables_are_the_records(page: Path) -> None:
    assert tables.with_tables(page.read_text("utf-8")) == page.read_text("utf-8")


def test_every_record_is_shown() -> None:
    shown = "".join(page.read_text("utf-8") for page in tables.PAGES)
    assert [name for name in tables.TABLES if f"<!-- table: benchmarks/records/{name} -->" not in shown] == []


@pytest.mark.parametrize("name", [name for name in tables.TABLES if name.endswith(".json")])
def test_a_record_says_where_it_comes_from(name: str) -> None:
    path = tables.RECORDS / name
    if name.startswith("gpu_") and not path.is_file():
        pytest.skip(f"no {name}: not measured yet, it takes a machine with an NVIDIA GPU")
    record = json.loads(path.read_text("utf-8"))
    assert record["machine"]["cpu"]
    assert record["versions"]
    assert record["commit"]


def test_every_planted_fault_is_caught_and_named() -> None:
    record = json.loads((tables.RECORDS / "faults.json").read_text("utf-8"))
    assert [fault["name"] for fault in record["faults"] if not fault["named"]] == []


def test_every_fault_of_the_catalogue_was_planted() -> None:
    record = json.loads((tables.RECORDS / "faults.json").read_text("utf-8"))
    planted = {fault["name"] for fault in record["faults"]}
    assert [fault.name for fault in measure.OFFLINE if fault.name not in planted] == []


def test_the_demos_record_is_of_real_news() -> None:
    assert json.loads((tables.RECORDS / "demo.json").read_text("utf-8"))["generated_corpus"] is False


def test_each_variant_that_answers_texts_is_kept_beside_a_baseline_once() -> None:
    compared = tables.against_baselines(BenchmarkRecord.from_json(benchmark_records.benchmark()))
    assert [(pair.variant, pair.baseline, pair.ratio) for pair in compared] == [("ort_int8", "usual_tf2onnx", 4.0)]
