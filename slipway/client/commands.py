"""Classify texts on a running server: a few over HTTP and gRPC, or a file's and a pipe's lines.

A model of text pairs takes a second text; a tagger labels every word, split at white space.

    slipway ask "Oil prices fall as OPEC raises output"
    slipway ask "Is it raining?" --second "It pours."
    slipway classify news.txt > answers.jsonl
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slipway import console, errors
from slipway.client.client import AsyncClient, Client
from slipway.client.tensors import Classification, Tagging, utf8
from slipway.client.transport import Options, RequestRefused, Tls
from slipway.contract.records import HOST, Ports
from slipway.errors import ServerError

# task → the fields that a JSONL line must have
_FIELD_NAMES = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}
Fields = dict[str, Any]  # a JSONL line


@dataclass(frozen=True, slots=True)
class InputLine:
    """One line of the input: a question, or the reason why it is none."""

    number: int  # from 1
    size: int  # bytes
    fields: Fields  # the line's own, to be written beside the answer
    question: Any  # a text, a pair, or a list of words; None with an error
    error: str = ""


LineAnswer = Classification | Tagging | str  # str: why there is no answer
Answered = list[tuple[InputLine, LineAnswer]]


def ask(arguments: argparse.Namespace) -> int:
    for text in arguments.text:
        _check_text(text)
    columns = ("over", "label", "probability", "tokens", "ms", "text")
    table = console.table("", *columns, left=("over", "label", "text"))
    for protocol, port in (("http", arguments.port), ("grpc", arguments.port + 1)):
        with Client(f"{protocol}://{HOST}:{port}") as server:
            task = server.task()
            _check_second(task, arguments)
            for text in arguments.text:
                started = time.perf_counter()
                answer = _ask_one(server, task, text, arguments.second)
                milliseconds = (time.perf_counter() - started) * 1000
                table.add_row(protocol, *_cells(answer), f"{milliseconds:.1f}", _shortened(text))
    console.console().print(table)
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


def _cells(answer: Classification | Tagging) -> tuple[str, str, str]:
    """Return label, probability and tokens; tagger: all labels, and the least probability."""
    tokens = f"{answer.tokens}{' (truncated)' if answer.truncated else ''}"
    if isinstance(answer, Classification):
        return answer.label, f"{answer.probability:.3f}", tokens
    return " ".join(label or "–" for label in answer.labels), f"≥ {min(answer.probabilities):.3f}", tokens


def _shortened(text: str) -> str:
    return (text[:57] + "…") if len(text) > 58 else text


def classify(arguments: argparse.Namespace) -> int:
    protocol = arguments.protocol
    address = f"{protocol}://{arguments.address or f'{HOST}:{getattr(Ports, protocol)}'}"
    written = failed = 0
    with _opened(arguments.file) as source, Client(address, _options(arguments)) as server:
        task = server.task()
        questions = (read_line(number, raw, task, arguments.jsonl) for number, raw in enumerate(source, 1))
        with _progress(source) as show, _until_nobody_reads():
            for answered in _answers(server, task, questions, arguments.batch, arguments.in_flight):
                for line, answer in answered:
                    sys.stdout.write(json.dumps(_row(line, answer)) + "\n")
                sys.stdout.flush()
                written += len(answered)
                failed += sum(isinstance(answer, str) for _, answer in answered)
                show(sum(line.size for line, _ in answered), written)
    print(f"{written} lines, {failed} with an error", file=sys.stderr)
    return 1 if failed else 0


def _options(arguments: argparse.Namespace) -> Options:
    files = (arguments.authorities, arguments.certificate, arguments.key)
    tls = Tls(*files) if arguments.tls or any(files) else None
    return Options(arguments.deadline, arguments.retries, _headers(arguments.headers) if arguments.headers else {}, tls)


def _headers(path: Path) -> dict[str, str]:
    pairs = [line.partition(":") for line in _read(path).decode("utf-8", "replace").splitlines() if line.strip()]
    if not all(name.strip() and colon for name, colon, _ in pairs):
        raise ServerError(
            "these are no headers",
            expected="lines `Name: value`",
            found="a line without a name or without a colon",  # not the line: it may hold a key
            where=str(path),
            fix="correct the file",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> bytes:
    with _opened(str(path)) as file:
        return file.read()


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 – closed below; an error of the block is not one of opening
    except OSError as error:
        raise ServerError(
            "the file cannot be read", expected="a file", found=error.strerror or str(error), where=name, fix="name another"
        ) from error
    with file:
        yield file


def _answers(server: Client, task: str, questions: Iterable[InputLine], batch: int, in_flight: int) -> Iterator[Answered]:
    """Yield the lines' answers in order, while the next requests are under way.

    Memory holds `in_flight` requests of `batch` lines, and no more.
    """
    remaining, waiting = iter(questions), deque[Future[Answered]]()
    while chunk := list(itertools.islice(remaining, batch)):
        if len(waiting) == in_flight:
            yield waiting.popleft().result()
        waiting.append(server.start(_answer_lines(server.aio, task, chunk)))
    while waiting:
        yield waiting.popleft().result()


async def _answer_lines(server: AsyncClient, task: str, chunk: list[InputLine]) -> Answered:
    answers = iter(await _answer_questions(server, task, [line.question for line in chunk if not line.error]))
    return [(line, line.error or next(answers)) for line in chunk]


async def _answer_questions(server: AsyncClient, task: str, questions: list[Any]) -> list[LineAnswer]:
    """Return the answers; a refused question, which is found by halving, gets the refusal."""
    if not questions:
        return []
    try:
        return [*(await server.tag(questions) if task == "tagging" else await server.classify(questions))]
    except RequestRefused as refused:
        if len(questions) == 1:
            return [refused.found]
    middle = len(questions) // 2
    first = await _answer_questions(server, task, questions[:middle])
    return first + await _answer_questions(server, task, questions[middle:])


def read_line(number: int, raw: bytes, task: str, jsonl: bool) -> InputLine:
    """Read one line; a line that cannot be read becomes an InputLine with its error."""
    fields: Fields = {}
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
        fields = _json_fields(text) if jsonl else _plain_fields(text, task)
        return InputLine(number, len(raw), fields, _question(fields, task))
    except (ValueError, RecursionError) as error:  # RecursionError: JSON nested too deep
        return InputLine(number, len(raw), fields, None, str(error))


def _plain_fields(text: str, task: str) -> Fields:
    if task == "tagging":
        return {"words": text.split()}
    return dict(zip(_FIELD_NAMES[task], text.split("\t", 1) if task == "text_pair" else [text], strict=False))


def _json_fields(text: str) -> Fields:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, found {type(fields).__name__}")
    return fields


def _question(fields: Fields, task: str) -> Any:
    values = [fields.get(name) for name in _FIELD_NAMES[task]]
    strings = values[0] if task == "tagging" else values
    if not (isinstance(strings, list) and strings and all(isinstance(text, str) for text in strings)):
        kind = "a list of words" if task == "tagging" else "a string"
        expected = " and ".join(f"{name!r}, {kind}" for name in _FIELD_NAMES[task])
        raise ValueError(f"expected {expected}; found {', '.join(fields) or 'none'}")
    for text in strings:
        text.encode("utf-8")  # JSON can spell half of a surrogate pair
    return values[0] if len(values) == 1 else tuple(values)


def _row(line: InputLine, answer: LineAnswer) -> Fields:
    if isinstance(answer, str):
        return {**line.fields, "line": line.number, "error": answer}
    logits = answer.logits.tolist() if isinstance(answer, Tagging) else answer.logits
    return {**line.fields, "line": line.number, "answer": {**vars(answer), "logits": logits}}


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End the block when a pipe's reader has gone (`| head`), and write nothing more at exit."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _progress(source: BinaryIO) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal a bar by the bytes of a file; of a pipe, the count alone."""
    status = os.fstat(source.fileno())
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=status.st_size if stat.S_ISREG(status.st_mode) else None)
        yield lambda size, texts: progress.update(bar, advance=size, description=f"{texts} texts")
