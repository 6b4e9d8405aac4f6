from __future__ import annotations

import json

import jsonschema

from serving.benchmark.record import BenchmarkRecord
from tests.support.command import CHECKOUT
from tests.support.serving import benchmark_records

SCHEMA = json.loads((CHECKOUT / "docs/benchmark.schema.json").read_text("utf-8"))


def test_a_record_is_written_as_its_schema_says_and_read_back_the_same() -> None:
    record = BenchmarkRecord.from_json(benchmark_records.benchmark())
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    assert BenchmarkRecord.from_json(written) == record


def test_an_older_record_is_read_without_the_keys_that_are_gone() -> None:
    older = json.loads((CHECKOUT / "benchmarks/records/served.json").read_text("utf-8"))
    record = BenchmarkRecord.from_json(older | {"energy": {"readable": False}})
    assert [row.id for row in record.rows] == [row["id"] for row in older["rows"]]
    assert record.rows[0].throughput is not None
    assert record.rows[0].throughput.value == older["rows"][0]["throughput"]["value"]
