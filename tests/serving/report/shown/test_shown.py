"""What a page makes of the records: plain names, how to run the model, files to save."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import replace

import pytest

from serving.report.benchmark_text import comparison_texts
from serving.report.records import Configuration, RunRecords, Slo, TuningRecord
from serving.report.shown.configuration import Advice, advice
from serving.report.shown.downloads import downloads, loads_csv
from serving.report.shown.names import with_plain_names
from serving.report.shown.places import record_without_paths
from tests.support.serving import benchmark_records

BUILT = Configuration("ort_int8", 1, 2)
TEXTS, BASELINE = "text_classifier/grpc/network/own/64", "usual_tf2onnx/grpc/network/own/64"


def advised(tuning: TuningRecord | None, built: Configuration | None = BUILT) -> Advice | None:
    return advice(replace(benchmark_records.run(), configuration=built, tuning=tuning))


def tuned(choice: Configuration | None) -> TuningRecord:
    return TuningRecord(Slo(100.0, 50.0), (), choice, "because", "slipway build runs/a --threads 1")


def with_reason(why: str) -> RunRecords:
    compared = [benchmark_records.comparison(TEXTS, BASELINE, "invalid run", None, why=why)]
    return with_plain_names(benchmark_records.run(benchmark=benchmark_records.benchmark(comparisons=compared)))


def test_a_reason_names_the_load_and_not_its_id() -> None:
    (text,) = comparison_texts(with_reason(f"{BASELINE} is invalid: unstable").benchmark)
    assert text.why == "tf2onnx, padded, 64 clients, gRPC is invalid: unstable"


def test_a_reason_without_a_load_stays_as_it_is() -> None:
    (text,) = comparison_texts(with_reason("2 rounds count of both").benchmark)
    assert text.why == "2 rounds count of both"


def test_the_choice_of_tune_is_to_be_run_and_the_command_builds_it() -> None:
    found = advised(tuned(Configuration("ort_int8", 2, 1)))
    assert found is not None
    assert found.what.startswith("Run ort_int8 in 2 processes with 1 thread each: ")
    assert found.command == "slipway build runs/a --threads 1"


def test_of_a_choice_that_is_built_the_next_command_serves_it() -> None:
    found = advised(tuned(BUILT))
    assert found is not None
    assert found.command.endswith("serve runs/a")


def test_where_nothing_keeps_the_promise_no_configuration_is_advised() -> None:
    found = advised(tuned(None))
    assert found is not None
    assert "No configuration that was tried" in found.what
    assert "Run " not in found.what


def test_without_tune_its_command_has_the_benchmarks_promise() -> None:
    found = advised(None)
    assert found is not None
    assert found.command.endswith("tune runs/a --p99-ms 500")


def test_before_a_repository_is_built_there_is_nothing_to_run() -> None:
    assert advised(tuned(BUILT), built=None) is None


def test_a_record_to_save_has_no_directory_of_the_machine() -> None:
    (record,) = downloads({"bundle/bundle.json": '{"where": "/home/someone/data/rows.csv", "rows": 3}'}, None)
    assert json.loads(base64.b64decode(record.address.partition(",")[2])) == {"where": "data/rows.csv", "rows": 3}


def test_every_load_is_a_line_of_the_table_with_its_interval() -> None:
    record = benchmark_records.record()
    rows = list(csv.DictReader(io.StringIO(loads_csv(record))))
    assert [row["id"] for row in rows] == [row.id for row in record.rows]
    assert (rows[0]["throughput_low"], rows[-1]["throughput"]) == (str(record.rows[0].throughput.interval[0]), "")  # type: ignore[union-attr]  # it is ok


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/jane doe/my data/reviews.csv", "my data/reviews.csv"),
        ("/home/jane", "~"),
        ("training texts of /home/jane/a/b.csv, cut", "training texts of a/b.csv, cut"),
        ("slipway train runs/a --corpus '/home/jane doe/my data/b.csv'", "slipway train runs/a --corpus 'my data/b.csv'"),
        ("skipped (see /home/jane(1)/a/b.csv).", "skipped (see a/b.csv)."),
        ("and/or", "and/or"),
    ],
)
def test_a_saved_record_names_no_directory_of_a_person(value: str, shown: str) -> None:
    assert json.loads(record_without_paths(json.dumps({"where": [value]}))) == {"where": [shown]}


def test_texts_and_labels_of_a_saved_record_are_as_they_were_whatever_they_look_like() -> None:
    record = {"labels": ["/sports/football/soccer"], "flips": [{"text": "see /home/jane/a/b"}], "share": 0.5}
    text = json.dumps(record, indent=1)
    assert record_without_paths(text) == text
