from __future__ import annotations

from dataclasses import fields
from typing import Any

from serving.benchmark import results
from serving.benchmark.record import Choice, MeasuredModel, Row
from slipway.statistics import Figure, Percentile

SUBJECTS = {
    "text_classifier": MeasuredModel("text_classifier", "text", "ort_int8", False, ""),
    "text_ort_fp32": MeasuredModel("text_ort_fp32", "text", "ort_fp32", False, ""),
    "bert_ort_int8": MeasuredModel("bert_ort_int8", "ids", "ort_int8", False, ""),
    "baseline": MeasuredModel("baseline", "text", None, True, ""),
}
LOSSES = {"text_classifier": 0.004, "text_ort_fp32": 0.0005}


def row(subject: str, rate: float, p99: float, **changes: Any) -> Row:
    facts: dict[str, Any] = {
        **dict.fromkeys(field.name for field in fields(Row)),
        "id": f"{subject}/{rate}",
        "subject": subject,
        "status": "ok",
        "lengths": "own",
        "load": "closed",
        "throughput": Figure(rate, (rate, rate)),
        "p99_ms": Percentile(p99 * 0.9, (p99 * 0.8, p99)),
    }
    return Row(**facts | changes)


def chosen(*rows: Row, p99_ms: float = 100, price: float | None = 3.6) -> Choice:
    return results.choose_row(rows, SUBJECTS, LOSSES, p99_ms, price, "EUR")


def test_the_cheapest_that_holds_is_the_fastest_that_holds() -> None:
    result = chosen(row("text_classifier", 100, 50), row("text_classifier", 200, 90), row("text_classifier", 300, 101))
    assert result.chosen == "text_classifier/200"
    assert [offer.holds for offer in result.rows] == [True, True, False]
    assert result.rows[1].cost_per_million == 5.0  # 3.60 an hour is 0.001 a second, in which 200 texts are answered
    assert "5.00 EUR a million texts" in result.reason


def test_where_nothing_holds_nothing_is_chosen_and_the_lowest_is_said() -> None:
    result = chosen(row("text_classifier", 100, 50), p99_ms=20)
    assert result.chosen is None
    assert "the lowest is 50 ms" in result.reason


def test_a_baseline_is_shown_but_not_chosen() -> None:
    result = chosen(row("baseline", 500, 10), row("text_classifier", 100, 50))
    assert (len(result.rows), result.chosen) == (2, "text_classifier/100")


def test_what_is_invalid_or_of_ids_or_of_one_length_is_no_offer() -> None:
    rows = [row("bert_ort_int8", 500, 10), row("text_classifier", 1, 1, lengths=64), row("text_classifier", 1, 1, status="invalid")]
    assert chosen(*rows).rows == ()


def test_beyond_the_capacity_a_p99_that_holds_is_no_offer() -> None:
    at_random = {"load": "poisson"}
    rows = [
        row("text_classifier", speed, 50, **at_random, offered_share=share) for speed, share in ((100, 0.7), (140, 1.1), (9, None))
    ]
    assert [offer.row for offer in chosen(*rows).rows] == ["text_classifier/100"]


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    rows = [
        row("text_classifier", 300, 50),
        row("text_classifier", 200, 50),
        row("text_ort_fp32", 150, 50),
        row("baseline", 900, 1),
    ]
    assert [offer.on_front for offer in chosen(*rows).rows] == [True, False, True, False]


def test_without_a_price_there_is_no_cost() -> None:
    result = chosen(row("text_classifier", 100, 50), price=None)
    assert result.rows[0].cost_per_million is None
    assert result.chosen
