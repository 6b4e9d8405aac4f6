"""What documents show is what the records say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import write_tables
from tests.serving import reported


@pytest.mark.parametrize("page", write_tables.PAGES, ids=lambda page: page.parent.name)
def test_the_tables_are_the_records(page: Path) -> None:
    assert write_tables.with_tables(page.read_text("utf-8")) == page.read_text("utf-8")


def test_every_record_is_shown() -> None:
    shown = "".join(page.read_text("utf-8") for page in write_tables.PAGES)
    assert [name for name in write_tables.TABLES if f"<!-- table: benchmarks/{name} -->" not in shown] == []


@pytest.mark.parametrize("name", write_tables.TABLES)
def test_a_record_says_where_it_comes_from(name: str) -> None:
    path = write_tables.RECORD.parent / name
    if name.startswith("gpu/") and not path.is_file():
        pytest.skip(f"no {name}: not measured yet, it takes a machine with an NVIDIA GPU")
    record = json.loads(path.read_text("utf-8"))
    assert record["machine"]["cpu"]
    assert record["versions"]
    assert record["commit"]


def test_the_demos_record_is_of_real_news() -> None:
    assert json.loads(write_tables.RECORD.read_text("utf-8"))["generated_corpus"] is False


def test_each_variant_that_answers_texts_is_kept_beside_a_baseline_once() -> None:
    found = write_tables._against_baselines(reported.benchmark())
    assert [(one["variant"], one["baseline"], one["ratio"]) for one in found] == [("ort_int8", "usual_tf2onnx", 4.0)]
