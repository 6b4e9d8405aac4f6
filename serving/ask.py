"""Classify texts on a running server, over HTTP and over gRPC.

A model of text pairs takes a second text; a tagger labels every word of the text, split at white space.

    python -m serving.ask "Oil prices fall as OPEC raises output"
    python -m serving.ask "Is it raining?" --second "It pours."
"""

from __future__ import annotations

import argparse
import time

from serving import client
from serving.client import Answer, Client, Tagged
from serving.loopback import HOST, Ports
from train import errors, terminal
from train.errors import ServerError


def main() -> int:
    arguments = _parse()
    for text in arguments.text:
        _check(text)
    columns = ("over", "label", "probability", "tokens", "ms", "text")
    table = terminal.table("", *columns, left=("over", "label", "text"))
    for protocol, port in (("http", arguments.port), ("grpc", arguments.port + 1)):
        with client.connect(f"{HOST}:{port}", protocol) as server:
            task = server.task()
            _check_second(task, arguments.second)
            for text in arguments.text:
                started = time.perf_counter()
                answer = _ask(server, task, text, arguments.second)
                milliseconds = (time.perf_counter() - started) * 1000
                table.add_row(protocol, *_shown(answer), f"{milliseconds:.1f}", _cut(text))
    terminal.console().print(table)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("text", nargs="+", help="a text; several are answered one by one; a tagger's is split at white space")
    parser.add_argument("--second", help="the second text, of a model of text pairs")
    parser.add_argument("--port", type=int, default=Ports.http, help="HTTP; gRPC is the next one")
    return parser.parse_args()


def _check(text: str) -> None:
    client.utf8(text)
    if not text.strip():
        raise ServerError(
            "there is no text to classify",
            expected="at least one character that is not white space",
            found=repr(text),
            where="the argument TEXT",
            fix='make ask TEXT="Oil prices fall as OPEC raises output"',
        )


def _check_second(task: str, second: str | None) -> None:
    if (task == "text_pair") != (second is not None):
        raise ServerError(
            "the served model takes another number of texts",
            expected="two texts: it is a model of text pairs" if second is None else f"one text: the model's task is {task}",
            found="one text" if second is None else "two texts",
            where="the arguments TEXT and SECOND",
            fix='make ask TEXT="Is it raining?" SECOND="It pours."' if second is None else "make ask without SECOND",
        )


def _ask(server: Client, task: str, text: str, second: str | None) -> Answer | Tagged:
    if task == "tagging":
        return server.tag([text.split()])[0]
    return server.classify([text] if second is None else [(text, second)])[0]


def _shown(answer: Answer | Tagged) -> tuple[str, str, str]:
    """Label, probability and tokens; of a tagger every word's label, and the least of the probabilities."""
    tokens = f"{answer.tokens}{' (truncated)' if answer.truncated else ''}"
    if isinstance(answer, Answer):
        return answer.label, f"{answer.probability:.3f}", tokens
    return " ".join(label or "–" for label in answer.labels), f"≥ {min(answer.probabilities):.3f}", tokens


def _cut(text: str) -> str:
    return (text[:57] + "…") if len(text) > 58 else text


if __name__ == "__main__":
    errors.run(main)
