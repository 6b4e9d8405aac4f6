"""Ask a running server for a few texts, and show the answers: every label with its probability.

A model of text pairs takes a second text; a tagger labels every word, split at white space.

    slipway ask "Oil prices fall as OPEC raises output"
    slipway ask "Is it raining?" --second "It pours."
    slipway ask "Oil prices fall" --address grpcs://model.example:443 --authorities ca.pem
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from slipway import console, errors
from slipway.client import endpoint
from slipway.client.client import Client
from slipway.client.endpoint import Endpoint
from slipway.client.tensors import Classification, Tagging
from slipway.client.texts import utf8
from slipway.contract.records import Ports
from slipway.errors import ServerError

_SHOWN_LABELS = 10  # of a text
_SHOWN_CHARACTERS = 300  # of it
_SAME = 0.005  # of a probability: in INT8 a text's neighbours in the batch move it a little


@dataclass(frozen=True)
class _Asked:
    """A text's answer from one endpoint."""

    endpoint: Endpoint
    answer: Classification | Tagging
    milliseconds: float
    names: Sequence[str] = ()  # of the labels, in the order of the logits; none: the repository does not say


def ask(arguments: argparse.Namespace) -> int:
    for text in arguments.text:
        _check_text(text)
    ports = Ports(arguments.port, arguments.port + 1, arguments.port + 2)
    endpoints = endpoint.elsewhere(arguments.address, arguments) or endpoint.local(ports, arguments)
    answers: list[list[_Asked]] = [[] for _ in arguments.text]
    for place in endpoints:
        with Client(place.address, place.options) as server:
            task = server.task()
            _check_second(task, arguments)
            names = server.labels()
            for asked, text in zip(answers, arguments.text, strict=True):
                started = time.perf_counter()
                answer = _ask_one(server, task, text, arguments.second)
                asked.append(_Asked(place, answer, (time.perf_counter() - started) * 1000, names))
    for asked, text in zip(answers, arguments.text, strict=True):
        _show(text, arguments.second, asked)
    return 0


def _check_text(text: str) -> None:
    utf8(text)
    if not text.strip():
        raise ServerError(
            "there is no text to classify",
            expected="at least one character that is not white space",
            found=repr(text),
            where="the argument TEXT",
            fix=errors.command("ask", "Oil prices fall as OPEC raises output"),
        )


def _check_second(task: str, arguments: argparse.Namespace) -> None:
    missing = task == "text_pair" and arguments.second is None
    if missing or (task != "text_pair" and arguments.second is not None):
        raise ServerError(
            "the served model takes another number of texts",
            expected="two texts: it is a model of text pairs" if missing else f"one text: the model's task is {task}",
            found="one text" if missing else "two texts",
            where="the arguments TEXT and --second",
            fix=errors.command("ask", *arguments.text, *(("--second", "TEXT") if missing else ())),
        )


def _ask_one(server: Client, task: str, text: str, second: str | None) -> Classification | Tagging:
    if task == "tagging":
        return server.tag([text.split()])[0]
    return server.classify([text] if second is None else [(text, second)])[0]


def _show(text: str, second: str | None, asked: list[_Asked]) -> None:
    screen = console.console()
    print()
    for part in (text, second):
        if part is not None:
            screen.print(_shortened(part))
    first, names = asked[0].answer, asked[0].names
    screen.print(_words(text.split(), first) if isinstance(first, Tagging) else _scores(first, names))
    times = ", ".join(f"{one.endpoint.address} {one.milliseconds:.1f} ms" for one in asked)
    print(f"{first.tokens} tokens{' (truncated)' if first.truncated else ''}; {times}")
    if isinstance(first, Classification) and not names and len(first.logits) > 1:
        print("the served repository does not name its other labels; one that is built anew does")
    for other in asked[1:]:
        if difference := _difference(first, other.answer):
            print(f"{other.endpoint.address} answers otherwise: {difference}")


def _scores(answer: Classification, names: Sequence[str]) -> Table:
    """Return the labels with their probabilities, the largest first."""
    table = console.table("", "label", "probability", left=("label",))
    shares = np.exp(np.array(answer.logits, np.float64) - max(answer.logits))
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    if len(names) != len(shares) or names[order[0]] != answer.label:  # none, or not the answering model's
        table.add_row(answer.label, f"{answer.probability:.3f}")
        return table
    for place in order[:_SHOWN_LABELS]:
        table.add_row(names[place], f"{shares[place]:.3f}")
    if (rest := len(order) - _SHOWN_LABELS) > 0:
        table.add_row(f"{rest} more", f"{shares[order[_SHOWN_LABELS:]].sum():.3f}")
    return table


def _words(words: Sequence[str], answer: Tagging) -> Table:
    """Return the words with their labels; – for one that the model did not read."""
    table = console.table("", "word", "label", "probability", left=("word", "label"))
    for word, label, probability in zip(words, answer.labels, answer.probabilities, strict=True):
        table.add_row(word, label or "–", f"{probability:.3f}" if label else "")
    return table


def _difference(first: Classification | Tagging, other: Classification | Tagging) -> str:
    """Return what the second answer says that the first does not; "" if nothing."""
    if isinstance(first, Tagging) and isinstance(other, Tagging):
        return " ".join(label or "–" for label in other.labels) if other.labels != first.labels else ""
    if isinstance(first, Tagging) or isinstance(other, Tagging):
        return "as a model of another task"
    if other.label == first.label and abs(other.probability - first.probability) <= _SAME:
        return ""
    return f"{other.label} {other.probability:.3f}"


def _shortened(text: str) -> str:
    return text[:_SHOWN_CHARACTERS] + "…" if len(text) > _SHOWN_CHARACTERS else text
