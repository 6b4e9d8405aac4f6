"""A benchmark in words: every verdict, what two rows have in common, the head of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from serving.benchmark import highlights
from serving.benchmark.record import Row
from serving.report import benchmark_text
from slipway.contract.records import from_json
from slipway.statistics import Percentile
from tests.support.command import CHECKOUT
from tests.support.serving import benchmark_records

TEXTS, BASELINE = "text_classifier/grpc/network/own/64", "usual_tf2onnx/grpc/network/own/64"
SCHEMA = CHECKOUT / "docs/benchmark.schema.json"


def row(subject: str, *arguments: Any, **changes: Any) -> Row:
    made_up: Row = from_json(Row, benchmark_records.row(subject, *arguments, **changes))
    return made_up


def compared(verdict: str, ratio: float | None, measure: str = "throughput", b: str = BASELINE) -> benchmark_text.ComparisonText:
    comparison = benchmark_records.comparison(TEXTS, b, verdict, ratio, measure, why="busy: 31 %" if ratio is None else "")
    return benchmark_text.comparison_texts(benchmark_records.record(comparisons=[comparison]))[0]


def test_the_record_these_tests_are_made_with_is_one_a_benchmark_writes() -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(benchmark_records.benchmark())


@pytest.mark.parametrize(
    ("verdict", "ratio", "measure", "told"),
    [
        ("faster", 4.0, "throughput", ["faster than usual_tf2onnx", "4.00 ×", "3.60 to 4.40", "(64 clients, gRPC)"]),
        ("slower", 2.0, "p99_ms", ["slower than usual_tf2onnx", "2.00 × the p99 latency"]),
        ("no difference", 1.02, "throughput", ["no difference", "1.02 ×"]),
    ],
)
def test_a_result_says_by_how_much_and_under_which_load(verdict: str, ratio: float, measure: str, told: list[str]) -> None:
    text = compared(verdict, ratio, measure).text
    assert [words for words in told if words not in text] == []
    assert ("faster" in text) == (verdict == "faster")


def test_an_invalid_run_says_why_and_gives_no_ratio() -> None:
    shown = compared("invalid run", None)
    assert (shown.css, "busy: 31 %" in shown.text, "×" in shown.text) == ("wait", True, False)


def test_only_what_tells_two_rows_apart_is_compared() -> None:
    grpc, http = row("text_classifier"), row("text_classifier", "http")
    assert benchmark_text.row_difference(grpc, http) == ("gRPC", "HTTP", "text_classifier, 64 clients")


def test_the_baselines_are_compared_first() -> None:
    assert highlights.ranked_comparisons(benchmark_records.record())[0].b == BASELINE


@pytest.mark.parametrize(
    ("verdict", "ratio", "told", "css"),
    [
        ("faster", 4.0, "4.0 × what usual_tf2onnx does", "good"),
        ("slower", 0.5, "only 0.50 ×", "bad"),
        ("no difference", 1.0, "no difference", "soft"),
        ("invalid run", None, "does not count", "wait"),
    ],
)
def test_the_head_of_the_page_has_the_comparisons_verdict(verdict: str, ratio: float | None, told: str, css: str) -> None:
    record = benchmark_records.record(comparisons=[benchmark_records.comparison(TEXTS, BASELINE, verdict, ratio)])
    head = benchmark_text.speed_verdict(record)
    assert head.css == css
    assert told in head.text


def test_an_invalid_best_row_is_no_result() -> None:
    rows = [benchmark_records.row("text_classifier", status="invalid", why=["the window was not stable"])]
    head = benchmark_text.speed_verdict(benchmark_records.record(rows=rows, comparisons=[]))
    assert (head.css, "the window was not stable" in head.more, "200" in head.text) == ("wait", True, False)


def test_a_valid_row_is_preferred_to_a_faster_invalid_one() -> None:
    rows = [
        benchmark_records.row("text_classifier"),
        benchmark_records.row("text_classifier", "http", status="invalid", throughput=benchmark_records.figure(900.0)),
    ]
    best = highlights.best_row(benchmark_records.record(rows=rows))
    assert best is not None
    assert best.protocol == "grpc"


def test_the_row_of_one_client_has_texts_of_their_own_lengths() -> None:
    rows = [benchmark_records.row("text_classifier", clients=1, **{"id": lengths, "lengths": lengths}) for lengths in (16, "own")]
    rows[0]["p99_ms"] = benchmark_records.figure(1.0)
    single = highlights.best_single_client(benchmark_records.record(rows=rows, comparisons=[]))
    assert single is not None
    assert single.lengths == "own"


def test_the_speed_at_the_head_is_of_the_row_that_was_compared() -> None:
    faster = benchmark_records.row("text_classifier", "http", clients=128, throughput=benchmark_records.figure(900.0))
    head = benchmark_text.speed_verdict(benchmark_records.record(rows=[*benchmark_records.benchmark()["rows"], faster]))
    assert "200 texts a second" in head.text


def test_a_percentile_of_too_few_requests_says_how_many_it_needs() -> None:
    percentile = Percentile(9.0, (8.0, 11.0), needs=368, enough=False)
    assert "368" in benchmark_text.figure_text(percentile)
    assert benchmark_text.figure_text(replace(percentile, enough=True)) == "9.0 (8.0–11.0)"


def test_texts_at_random_are_told_by_their_rate_where_no_capacity_is_known() -> None:
    at_random = row("text_classifier", share=0.7)
    assert "70\u00a0%" in benchmark_text.load_text(at_random)
    assert "140 texts/s" in benchmark_text.load_text(replace(at_random, offered_share=None))
    assert benchmark_text.load_text(replace(at_random, offered_share=None, rate=None)) == "at random"


def test_a_row_is_held_against_its_own_engine() -> None:
    record = benchmark_records.record()
    assert highlights.of_engine(record, row("text_classifier")) == pytest.approx(200 / 230)
    assert highlights.of_engine(record, row("usual_tf2onnx")) is None


def test_first_comes_the_load_that_most_comparisons_share_and_of_two_the_higher() -> None:
    ways = [f"text_classifier/{way}/network/own/{clients}" for clients in (1, 64) for way in ("http", "grpc")]
    baselines = [f"usual_tf2onnx/grpc/network/own/{clients}" for clients in (1, 64)]
    pairs = [(ways[0], ways[1]), (ways[1], baselines[0]), (ways[2], ways[3]), (ways[3], baselines[1])]
    record = benchmark_records.record(comparisons=[benchmark_records.comparison(a, b, "faster", 2.0) for a, b in pairs])
    assert [(comparison.a, comparison.b) for comparison in highlights.main_comparisons(record)] == pairs[2:]
    assert [(comparison.a, comparison.b) for comparison in highlights.ranked_comparisons(record)[:2]] == [pairs[3], pairs[2]]


def test_causes_that_differ_in_their_numbers_alone_are_told_once() -> None:
    rows = f"{TEXTS} is invalid: 0 of 1 rounds count"
    whys = [f"{rows}; busy: other processes took {share}% of the cores" for share in (41, 55)] + ["2 rounds count of both"]
    ends = [f"usual_tf2onnx/{way}/network/own/{clients}" for way, clients in (("grpc", 64), ("http", 64), ("grpc", 1))]
    compared = [benchmark_records.comparison(TEXTS, end, "invalid run", None, why=why) for end, why in zip(ends, whys, strict=True)]
    told = benchmark_text.uncounted_sentence(benchmark_text.comparison_texts(benchmark_records.record(comparisons=compared)))
    assert told == "3 of 3 comparisons did not count: other processes took 41% of the cores; 2 rounds count of both"
