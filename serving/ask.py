"""Classify texts on a running server, over HTTP and over gRPC.

A model of text pairs takes a second text; a tagger labels every word, split at white space.

    slipway ask "Oil prices fall as OPEC raises output"
    slipway ask "Is it raining?" --second "It pours."
"""

from __future__ import annotations

import argparse
import time

from serving.answers import utf8
from serving.client import Classification, Client, Tagging
from serving.connection import LOCAL_HOST, LOCAL_PORTS
from train import errors, terminal
from train.errors import ServerError


def main() -> int:
    arguments = _parse()
    for text in arguments.text:
        _check_text(text)
    columns = ("over", "label", "probability", "tokens", "ms", "text")
    table = terminal.table("", *columns, left=("over", "label", "text"))
    for protocol, port in (("http", arguments.port), ("grpc", arguments.port + 1)):
        with Client(f"{protocol}://{LOCAL_HOST}:{port}") as server:
            task = server.task()
            _check_second(task, arguments)
            for text in arguments.text:
                started = time.perf_counter()
                answer = _ask_one(server, task, text, arguments.second)
                milliseconds = (time.perf_counter() - started) * 1000
                table.add_row(protocol, *_cells(answer), f"{milliseconds:.1f}", _shortened(text))
    terminal.console().print(table)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("text", nargs="+", help="a text; several are answered one by one; a tagger's is split at white space")
    parser.add_argument("--second", help="the second text, of a model of text pairs")
    parser.add_argument("--port", type=int, default=LOCAL_PORTS["http"], help="HTTP; gRPC is the next one")
    return parser.parse_args()


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


def _cells(answer: Classification | Tagging) -> tuple[str, str, str]:
    """Return label, probability and tokens; tagger: all labels, and the least probability."""
    tokens = f"{answer.tokens}{' (truncated)' if answer.truncated else ''}"
    if isinstance(answer, Classification):
        return answer.label, f"{answer.probability:.3f}", tokens
    return " ".join(label or "–" for label in answer.labels), f"≥ {min(answer.probabilities):.3f}", tokens


def _shortened(text: str) -> str:
    return (text[:57] + "…") if len(text) > 58 else text


if __name__ == "__main__":
    errors.run(main)
