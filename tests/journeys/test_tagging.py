"""Tagging through the real Triton: an answer for every word, sentences of unequal lengths, clear
refusals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load
from serving.server import triton
from serving.server.triton import Server
from slipway.client import client
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from slipway.contract import bundle
from slipway.contract.bundle import Golden
from slipway.errors import ServerError
from tests.support.command import slipway_output, succeed

MODEL = "bert_onnx_fp32"


@pytest.fixture(scope="module")
def server(tagger_run: Path) -> Iterator[Server]:
    with triton.running(tagger_run / "model_repository") as running:
        yield running


@pytest.fixture
def golden(tagger_run: Path) -> Golden:
    return bundle.load_golden(bundle.load(tagger_run / "bundle"))


def test_words_pass_parity_over_both_protocols_by_text_and_by_ids(tagger_run: Path, golden: Golden) -> None:
    slipway_output("verify", tagger_run)
    checks = json.loads((tagger_run / "served.json").read_text("utf-8"))["checks"]
    words = sum(len(text) for text in golden.texts)
    found = {(check["model"], check["protocol"], check["rows"], check["passed"]) for check in checks}
    asked = ("text_classifier (onnx_fp32)", MODEL)
    assert found >= {(name, protocol, words, True) for protocol in PROTOCOLS for name in asked}


def test_perf_analyzer_and_the_engines_limit_take_words(server: Server, tagger_run: Path, golden: Golden, tmp_path: Path) -> None:
    perf_analyzer.write_texts(golden.texts[:100], "tagging", tmp_path / "texts.json")
    found = perf_analyzer.run(Load("text_classifier", "grpc", server.grpc, 8, window_ms=500), tmp_path / "texts.json")
    assert (found.failure, found.errors, found.latencies.size > 0) == ("", 0, True)
    version = tagger_run / "model_repository/text_classifier/1"
    limit = json.loads(succeed("-m", "serving.load.engine_limit", version, tagger_run / "bundle/golden.jsonl", "--texts", 100))
    assert limit["mean_tokens"] == golden.ids.lengths[:100].mean()


def test_every_word_gets_the_golden_answer_of_its_first_piece(connection: Client, golden: Golden) -> None:
    answers = connection.tag(golden.texts)
    logits = golden.logits[golden.asked]
    assert [len(answer.labels) for answer in answers] == [len(words) for words in golden.texts]
    np.testing.assert_allclose(np.concatenate([answer.logits for answer in answers]), logits, atol=1e-4)
    assert [label for answer in answers for label in answer.labels] == ["ABC"[best] for best in logits.argmax(axis=1)]
    expected = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(np.concatenate([answer.probabilities for answer in answers]), expected, rtol=1e-3)


def test_words_beyond_the_models_reach_have_no_label(connection: Client) -> None:
    [short, long] = connection.tag([["ba", "bes"], ["bes"] * 60])
    assert (short.truncated, long.truncated, long.tokens) == (False, True, 40)
    assert [bool(label) for label in long.labels] == [True] * 19 + [False] * 41  # 38 pieces, two a word
    assert not long.logits[19:].any()


def test_a_word_of_nothing_but_control_characters_has_no_label(connection: Client) -> None:
    [answer] = connection.tag([["ba", "\x01", "be"]])
    assert [bool(label) for label in answer.labels] == [True, False, True]


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "text 1 has no words"), (["", ""], "text 1 has no words"), (["ba", " ", "be"], "text 1, word 1 is empty")],
)
def test_a_sentence_without_words_is_refused(connection: Client, words: list[str], message: str) -> None:
    with pytest.raises(ServerError, match=message):
        connection.tag([["ba", "be"], words])


def test_no_sentences_get_no_answers(connection: Client) -> None:
    assert connection.tag([]) == []


def test_padding_by_the_client_does_not_change_the_answers(connection: Client) -> None:
    row = np.array([[2, 7, 8, 3]], np.int32)
    padded = connection.logits(MODEL, np.pad(row, ((0, 0), (0, 6))))
    np.testing.assert_array_equal(padded[:, :4], connection.logits(MODEL, row))
    assert padded.shape == (1, 10, 3)
    assert not padded[:, 4:].any()


def test_a_bad_sentence_among_many_sent_at_once_fails_alone(server: Server, golden: Golden) -> None:
    expected = np.split(golden.logits[golden.asked], np.cumsum([len(words) for words in golden.texts]))

    def ask(number: int) -> NDArray[np.float32] | str:
        with client.Client(f"grpc://{server.grpc}") as connected:
            try:
                return connected.tag([["ba", " ", "be"] if number % 2 else golden.texts[number]])[0].logits
            except ServerError as refused:
                return refused.found

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(ask, range(64)))
    for number in range(0, 64, 2):
        np.testing.assert_allclose(answers[number], expected[number], atol=1e-4)
    assert all("is empty" in str(answer) for answer in answers[1::2])


def test_ask_shows_a_label_for_every_word(server: Server) -> None:
    lines = [line.split() for line in slipway_output("ask", "--port", server.ports.http, "ba be bi").splitlines()]
    words, labels = zip(*(line[:2] for line in lines[3:6]), strict=True)
    assert (words, set(labels) <= set("ABC")) == (("ba", "be", "bi"), True)
