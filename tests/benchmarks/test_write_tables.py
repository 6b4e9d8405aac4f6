from __future__ import annotations

import json

from benchmarks import write_tables


def test_the_readmes_table_is_the_records() -> None:
    readme = write_tables.README.read_text("utf-8")
    assert readme == write_tables.with_table(readme, json.loads(write_tables.RECORD.read_text("utf-8")))


def test_the_record_is_of_real_news() -> None:
    assert json.loads(write_tables.RECORD.read_text("utf-8"))["generated_corpus"] is False
