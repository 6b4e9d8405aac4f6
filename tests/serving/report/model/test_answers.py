"""The answers that the page shows, and the request to copy, which a live server answers."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace

import numpy as np

from serving.report.model.answers import confident_errors, example_answers
from serving.report.model.request import example_request
from serving.report.report import render_report
from serving.server.triton import Server
from slipway.contract.bundle import NOT_ASKED, Golden
from slipway.contract.ragged import Ragged
from tests.serving.report.test_report import section
from tests.support.serving import benchmark_records

LABELS = ["bad", "good"]


def golden(texts: list[str], labels: list[int], logits: list[list[float]]) -> Golden:
    return Golden(texts, Ragged.of([[2, 3] for _ in texts]), np.array(labels), np.array(logits, np.float32))


def test_the_surest_wrong_answer_comes_first_and_rows_without_a_label_do_not_count() -> None:
    rows = golden(["a", "b", "c", "d"], [0, 0, NOT_ASKED, 0], [[0, 1], [0, 5], [0, 9], [3, 0]])
    assert [answer.parts for answer in confident_errors(rows, LABELS)] == [["b"], ["a"]]


def test_the_examples_are_of_every_label() -> None:
    rows = golden([str(row) for row in range(40)], [0] * 39 + [1], [[1, 0]] * 40)
    examples = example_answers(rows, LABELS)
    assert (len(examples), {answer.label for answer in examples}) == (5, {"bad", "good"})


def test_a_long_text_is_cut() -> None:
    (answer,) = confident_errors(golden(["x" * 900], [0], [[0, 1]]), LABELS)
    assert len(answer.parts[0]) == 300


def test_a_live_server_answers_the_request_for_curl(echo_server: Server) -> None:
    text = 'It\'s "so" <good> $HOME \\ über'
    request = example_request("single_text", golden([text], [0], [[1, 0]]), echo_server.http.removeprefix("http://"))
    words = shlex.split(request.curl)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outputs"][0]["data"] == [text]


def test_no_directory_of_the_machine_is_on_the_page() -> None:
    run = benchmark_records.run()
    corpus = replace(run.bundle.corpus, where="/home/someone/my data/rows.csv")
    encoder = replace(run.bundle.encoder, handle="/home/someone/encoder", made_from="")
    settings: dict[str, object] = {"checkpoints": "/home/someone/runs/a/checkpoints"}
    bundle = replace(run.bundle, corpus=corpus, encoder=encoder, hyper_parameters=settings)
    assert "/home/someone" not in render_report(replace(run, bundle=bundle))


def test_the_makers_words_are_shown_and_are_no_markup() -> None:
    page = section(render_report(replace(benchmark_records.run(), own_words="For <b>reviews</b>.\n\nCC BY")), "card")
    assert "For &lt;b&gt;reviews&lt;/b&gt;." in page
    assert "Not stated" not in page
