"""`slipway ask` on a real Triton: each text with its scores, from every address it is asked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from serving.server.triton import Server
from slipway.client import ask
from slipway.client.ask import _Asked
from slipway.client.endpoint import Endpoint
from slipway.client.tensors import Classification, Tagging
from slipway.client.transport import Options
from tests.slipway.client.terminal import on_terminal
from tests.support.command import slipway, slipway_output

ENTRY = [sys.executable, "-m", "slipway.cli", "ask"]


def asked(*answers: Classification | Tagging, names: Sequence[str] = ()) -> list[_Asked]:
    return [_Asked(Endpoint("http", f"h{number}:1", Options()), answer, 1.0, names) for number, answer in enumerate(answers)]


def classified(*logits: float, label: str = "a", probability: float = 0.5) -> Classification:
    return Classification(label, probability, logits, truncated=False, tokens=7)


def shown(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_every_label_is_shown_with_its_probability_the_likeliest_first(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("a text", None, asked(classified(0.0, 1.0, -1.0, label="good"), names=("bad", "good", "odd")))
    lines = shown(capsys)
    assert lines[0] == ["a", "text"]
    assert lines[2:5] == [["good", "0.665"], ["bad", "0.245"], ["odd", "0.090"]]


def test_beyond_ten_labels_the_others_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("a text", None, asked(classified(*[0.0] * 20, label="label0"), names=[f"label{number}" for number in range(20)]))
    assert shown(capsys)[12] == ["10", "more", "0.500"]


def test_a_repository_without_names_shows_the_label_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("a text", None, asked(classified(0.0, 1.0, label="good", probability=0.731)))
    assert shown(capsys)[2] == ["good", "0.731"]


def test_names_that_are_not_the_answering_models_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("a text", None, asked(classified(0.0, 1.0, label="World"), names=("World", "Sports")))
    assert [line[0] for line in shown(capsys)[1:3]] == ["label", "World"]


def test_both_texts_of_a_pair_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("Is it raining?", "It pours.", asked(classified(0.0, 1.0, label="yes"), names=("no", "yes")))
    assert shown(capsys)[:2] == [["Is", "it", "raining?"], ["It", "pours."]]


def test_each_word_has_its_tag_and_one_that_was_not_read_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Tagging(("B-LOC", "O", ""), (0.9, 0.8, 0.0), np.zeros((3, 2), np.float32), truncated=True, tokens=4)
    ask._show("Köln ist schön", None, asked(answer))
    lines = shown(capsys)
    assert lines[2:5] == [["Köln", "B-LOC", "0.900"], ["ist", "O", "0.800"], ["schön", "–"]]
    assert "(truncated);" in lines[5]


def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("[red]a[/] text", None, asked(classified(0.0, 1.0, label="[b]"), names=("no", "[b]")))
    lines = shown(capsys)
    assert (lines[0], lines[2]) == (["[red]a[/]", "text"], ["[b]", "0.731"])


@pytest.mark.parametrize(
    ("other", "told"), [(classified(0.0, 1.0), False), (classified(1.0, 0.0, label="b"), True), (classified(probability=0.6), True)]
)
def test_an_address_that_answers_otherwise_is_named(other: Classification, told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    ask._show("a text", None, asked(classified(0.0, 1.0), other))
    assert ("h1:1 answers otherwise" in capsys.readouterr().out) == told


def test_it_asks_over_both_protocols_where_serve_listens(echo_server: Server) -> None:
    out = slipway_output("ask", "a text", "--port", echo_server.ports.http)
    assert f"http://{echo_server.http} " in out
    assert f"grpc://{echo_server.grpc} " in out


def test_it_asks_at_an_address_alone_when_one_is_given(echo_server: Server) -> None:
    out = slipway_output("ask", "a text", "--address", f"grpc://{echo_server.grpc}")
    assert "http://" not in out


def test_a_header_that_is_none_is_refused_without_showing_it(echo_server: Server) -> None:
    done = slipway("ask", "a text", "--address", echo_server.http, "--header", "secret")
    assert (done.returncode, "no headers" in done.stderr, "secret" in done.stderr) == (8, True, False)


@pytest.mark.parametrize("stdout", ["file", "pipe"])
def test_its_answer_arrives_on_stdout_when_stderr_is_a_terminal(echo_server: Server, stdout: str) -> None:
    out, screen = on_terminal([*ENTRY, "text", "--port", str(echo_server.ports.http)], stdout=stdout)
    assert out.splitlines()[1] == b"text"
    assert screen == b""
