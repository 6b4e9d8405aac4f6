"""A benchmark in words: every verdict, what two rows have in common, what stands at the head of the page."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from serving import speed_section
from tests.serving import reported

MINE, USUAL = "text_classifier/grpc/network/own/64", "usual_tf2onnx/grpc/network/own/64"
SCHEMA = Path(__file__).parents[2] / "docs/benchmark.schema.json"


def in_words(verdict: str, ratio: float | None, measure: str = "throughput", b: str = USUAL) -> str:
    compared = [reported.comparison(MINE, b, verdict, ratio, measure, why="busy: 31 %" if ratio is None else "")]
    return speed_section.comparisons(reported.benchmark(comparisons=compared))[0]["text"]


def headline(verdict: str, ratio: float | None) -> tuple[str, str]:
    return speed_section.headline(reported.benchmark(comparisons=[reported.comparison(MINE, USUAL, verdict, ratio)]))


def test_the_record_these_tests_are_made_with_is_one_a_benchmark_writes() -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(reported.benchmark())


def test_faster_and_slower_say_by_how_much_and_under_which_load() -> None:
    assert in_words("faster", 4.0) == (
        "text_classifier is faster than usual_tf2onnx: 4.00 × the throughput, 95 %: 3.60 to 4.40 (64 clients, gRPC)"
    )
    assert in_words("slower", 2.0, "p99_ms").startswith("text_classifier is slower than usual_tf2onnx: 2.00 × the p99 latency")


def test_no_difference_is_not_called_faster() -> None:
    words = in_words("no difference", 1.02)
    assert words.startswith("between text_classifier and usual_tf2onnx no difference can be shown: 1.02 ×")


def test_an_invalid_run_says_why_and_gives_no_ratio() -> None:
    assert in_words("invalid run", None) == "text_classifier against usual_tf2onnx (64 clients, gRPC): no result, busy: 31 %"


def test_only_what_tells_two_rows_apart_is_compared() -> None:
    words = in_words("faster", 1.2, b="text_classifier/http/network/own/64")
    assert words.startswith("gRPC is faster than HTTP")
    assert words.endswith("(text_classifier, 64 clients)")


def test_the_baselines_are_compared_first() -> None:
    first = speed_section.ranked(reported.benchmark())[0]
    assert first["b"] == USUAL


@pytest.mark.parametrize(
    ("verdict", "ratio", "words", "css"),
    [
        ("faster", 4.0, "4.0 × what usual_tf2onnx does (95 %: 3.6 to 4.4)", "good"),
        ("slower", 0.5, "only 0.50 × what usual_tf2onnx does", "bad"),
        ("no difference", 1.0, "no difference to usual_tf2onnx can be shown", "soft"),
        ("invalid run", None, "against usual_tf2onnx the run was invalid", "wait"),
    ],
)
def test_the_head_of_the_page_says_what_the_comparison_said(verdict: str, ratio: float | None, words: str, css: str) -> None:
    said, found = headline(verdict, ratio)
    assert words in said
    assert found == css


def test_an_invalid_best_row_is_no_result() -> None:
    rows = [reported.row("text_classifier", status="invalid", why=["the window was not stable"])]
    said, css = speed_section.headline(reported.benchmark(rows=rows, comparisons=[]))
    assert (said, css) == ("Its speed is no result, the run was invalid: the window was not stable.", "wait")


def test_a_valid_row_is_preferred_to_a_faster_invalid_one() -> None:
    rows = [
        reported.row("text_classifier"),
        reported.row("text_classifier", "http", status="invalid", throughput=reported.figure(900.0)),
    ]
    best = speed_section.best(reported.benchmark(rows=rows))
    assert best is not None
    assert best["protocol"] == "grpc"


def test_the_speed_at_the_head_is_of_the_row_that_was_compared() -> None:
    record = reported.benchmark()
    record["rows"].append(reported.row("text_classifier", "http", clients=128, throughput=reported.figure(900.0)))
    said, _ = speed_section.headline(record)
    assert said.startswith("With 64 clients over gRPC it answers 200 texts a second: 4.0 ×")


def test_a_percentile_of_too_few_requests_says_so() -> None:
    assert speed_section.figure({"value": 9.0, "interval": [8.0, 11.0], "needs": 368, "enough": False}) == (
        "9.0 (8.0–11.0), of fewer than 368 requests"
    )


def test_texts_at_random_are_told_by_their_rate_where_no_capacity_is_known() -> None:
    row = reported.row("text_classifier", share=0.7)
    assert speed_section.load(row) == "70% of capacity at random"
    assert speed_section.load(row | {"offered_share": None}) == "140 texts/s at random"
    assert speed_section.load(row | {"offered_share": None, "rate": None}) == "at random"


def test_a_row_is_held_against_its_own_engine() -> None:
    record = reported.benchmark()
    assert speed_section.of_engine(record, reported.row("text_classifier")) == pytest.approx(200 / 230)
    assert speed_section.of_engine(record, reported.row("usual_tf2onnx")) is None


def test_first_comes_the_load_that_most_comparisons_share_and_of_two_the_higher() -> None:
    ways = [f"text_classifier/{way}/network/own/{clients}" for clients in (1, 64) for way in ("http", "grpc")]
    usual = [f"usual_tf2onnx/grpc/network/own/{clients}" for clients in (1, 64)]
    pairs = [(ways[0], ways[1]), (ways[1], usual[0]), (ways[2], ways[3]), (ways[3], usual[1])]
    record = reported.benchmark(comparisons=[reported.comparison(a, b, "faster", 2.0) for a, b in pairs])
    assert [(one["a"], one["b"]) for one in speed_section.main(record)] == pairs[2:]
    assert [(one["a"], one["b"]) for one in speed_section.ranked(record)[:2]] == [pairs[3], pairs[2]]
