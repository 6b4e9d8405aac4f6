from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from serving.load import perf_analyzer
from slipway.contract import bundle
from slipway.contract.bundle import Bundle
from slipway.contract.tokenizer import Tokenizer


@pytest.fixture
def source(finished_run: Path) -> Bundle:
    return bundle.load(finished_run / "bundle")


@pytest.mark.parametrize("tokens", [8, 32])
def test_texts_of_one_length_have_it_and_are_made_of_the_golden_words(tokens: int, source: Bundle) -> None:
    texts = bundle.load_golden(source).texts[:200]
    cut = perf_analyzer.texts_of_length(texts, source, tokens)
    tokenizer = Tokenizer(source.vocabulary, lower_case=source.lower_case, max_seq_len=source.max_seq_len)
    assert len(cut) >= 16
    assert {len(tokenized.ids) for tokenized in tokenizer(cut)} == {tokens}
    assert {word for text in cut for word in text.split()} <= {word for text in texts for word in text.split()}


def test_ids_are_sent_as_long_as_they_are(source: Bundle, tmp_path: Path) -> None:
    golden = bundle.load_golden(source)
    [file] = perf_analyzer.write_inputs(tmp_path, source, golden, 5, set())["ids", "own"]
    sent = json.loads(file.read_text("utf-8"))["data"]
    assert [request["input_word_ids"]["shape"] for request in sent] == [[length] for length in golden.ids.lengths[:5]]
    assert sent[0]["input_word_ids"]["content"] == golden.ids[0].tolist()


def test_each_round_begins_with_other_texts(source: Bundle, tmp_path: Path) -> None:
    golden = bundle.load_golden(source)
    files = perf_analyzer.write_inputs(tmp_path, source, golden, 10, set(), rounds=5)
    sent = [json.loads(file.read_text("utf-8"))["data"] for file in files["text", "own"]]
    texts = [[request["text"][0] for request in requests] for requests in sent]
    assert [turned[0] for turned in texts] == golden.texts[:10:2]
    assert all(sorted(turned) == sorted(golden.texts[:10]) for turned in texts)
    ids = [json.loads(file.read_text("utf-8"))["data"][0]["input_word_ids"]["content"] for file in files["ids", "own"]]
    assert ids == [golden.ids[row].tolist() for row in range(0, 10, 2)]


def test_a_length_beyond_the_models_is_left_out(source: Bundle, tmp_path: Path) -> None:
    files = perf_analyzer.write_inputs(tmp_path, source, bundle.load_golden(source), 200, {16, source.max_seq_len + 1})
    assert [lengths for kind, lengths in files if kind == "text"] == ["own", 16]


def test_of_each_length_that_is_left_out_the_record_says_why(source: Bundle) -> None:
    asked, most = (16, 32, source.max_seq_len + 1), source.max_seq_len
    assert perf_analyzer.lengths_left_out(asked, {"own", 16}, source) == {
        "texts of 32 tokens": "too few golden words",
        f"texts of {most + 1} tokens": f"the model takes {most} at most",
    }
    assert (
        "single texts"
        in perf_analyzer.lengths_left_out([16], {"own"}, replace(source, facts=source.facts | {"task": "tagging"}))[
            "texts of 16 tokens"
        ]
    )
