"""The answers that the page shows: of what is served, and of FP32 beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving.page.answers import ServedModel, answer

SHARES = [0.665, 0.245, 0.090]  # softmax of 2, 1, 0


def test_an_answer_has_label_all_probabilities_tokens_and_time(model: ServedModel, client: Any) -> None:
    [row] = answer(client, model, ["oil prices fall"])
    [part] = row["parts"]
    assert (part["label"], row["tokens"], row["truncated"]) == ("Business", 7, False)
    assert part["probabilities"] == pytest.approx(SHARES, abs=1e-3)
    assert row["ms"] > 0


def test_a_text_that_was_cut_says_so(model: ServedModel, client: Any) -> None:
    assert [row["truncated"] for row in answer(client, model, ["a long text", "oil"])] == [True, False]


def test_fp32_with_the_same_label_does_not_differ(model: ServedModel, client: Any) -> None:
    [part] = answer(client, model, ["oil"])[0]["parts"]
    assert (part["fp32"]["label"], part["differs"]) == ("Business", False)


def test_fp32_with_another_label_differs(model: ServedModel, client: Any) -> None:
    client.fp32 = (1.0, 2.0, 0.0)
    [part] = answer(client, model, ["oil"])[0]["parts"]
    assert (part["fp32"]["label"], part["differs"]) == ("Sports", True)


def test_without_an_fp32_model_nothing_is_compared(model: ServedModel, client: Any) -> None:
    [row] = answer(client, replace(model, fp32=""), ["oil"])
    assert (row["parts"][0]["fp32"], row["fp32_ms"], row["fp32_error"]) == (None, None, "")


def test_a_refused_text_fails_alone(model: ServedModel, client: Any) -> None:
    rows = answer(client, model, ["oil", "refused", "fall"])
    assert [row.get("error") for row in rows] == [None, "Triton refused it: the text is empty", None]


def test_a_server_that_is_away_is_not_asked_for_every_text(model: ServedModel, client: Any) -> None:
    client.away = True
    assert [row["error"].partition(".")[0] for row in answer(client, model, ["oil", "fall"])] == ["Triton does not answer"] * 2
    assert client.asked == []


def test_a_server_that_goes_away_keeps_the_answers_before(model: ServedModel, client: Any) -> None:
    rows = answer(client, model, ["oil", "away", "fall"])
    assert ["error" in row for row in rows] == [False, True, True]
    assert client.asked == ["oil", "away"]


def test_a_pair_is_asked_for_as_one(pairs: ServedModel, client: Any) -> None:
    [row] = answer(client, pairs, [["oil", "fall"]])
    assert client.asked == [("oil", "fall")]
    assert row["parts"][0]["fp32"]["label"] == "Business"


def test_each_word_of_a_sentence_has_a_label(tagger: ServedModel, client: Any) -> None:
    [row] = answer(client, tagger, ["oil  prices fall"])
    assert [part["word"] for part in row["parts"]] == ["oil", "prices", "fall"]
    assert [part["fp32"]["label"] for part in row["parts"]] == ["Business"] * 3


def test_a_word_that_was_not_read_has_no_label_and_is_not_compared(tagger: ServedModel, client: Any) -> None:
    [row] = answer(client, tagger, ["oil unread"])
    assert row["parts"][1] == {"word": "unread", "label": "", "probabilities": [], "fp32": None, "differs": False}
