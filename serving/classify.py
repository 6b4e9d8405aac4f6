"""Classify every line of a file or of standard input on a running server: JSONL out, in order.

    slipway classify news.txt > answers.jsonl  # a text a line; a pair's second text after a tab
    slipway classify --jsonl < rows.jsonl      # {"text": …}, with a "text_b" too, or {"words": […]}

A line out has the line's number, the fields of the line in, and `answer`; or `error`, where the
line could not be read or the model refused it: it fails alone, and the exit code is 1. Without a
server the exit code is 8, and what was written until then holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from serving.client import AsyncClient, Classification, Client, Options, RequestRefused, Tagging, Tls
from serving.connection import LOCAL_HOST, LOCAL_PORTS, PROTOCOLS
from serving.lines import Fields, InputLine, read_line
from serving.records import MAX_BATCH
from train import errors
from train.errors import ServerError

LineAnswer = Classification | Tagging | str  # str: why there is no answer
Answered = list[tuple[InputLine, LineAnswer]]


def main() -> int:
    arguments = _parse()
    protocol = arguments.protocol
    address = f"{protocol}://{arguments.address or f'{LOCAL_HOST}:{LOCAL_PORTS[protocol]}'}"
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


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("file", nargs="?", default="-", help="one text a line, as UTF-8; - or nothing: standard input")
    parser.add_argument("--jsonl", action="store_true", help="the lines are JSON objects")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="http")
    parser.add_argument("--address", help="host:port; default: where `slipway serve` listens")
    parser.add_argument(
        "--batch", type=int, choices=range(1, MAX_BATCH + 1), default=MAX_BATCH, metavar="N", help="texts a request"
    )
    parser.add_argument("--in-flight", type=int, choices=range(1, 65), default=4, metavar="N", help="requests at a time, up to 64")
    parser.add_argument("--deadline", type=float, default=Options.deadline, help="seconds for a request and its retries")
    parser.add_argument("--retries", type=int, default=Options.retries, help="of a request, when the server is unavailable")
    parser.add_argument("--headers", type=Path, help="a file of lines `Name: value`, such as a key that ps must not show")
    parser.add_argument("--tls", action="store_true", help="trust who signs certificates for this machine's programs")
    parser.add_argument("--authorities", type=Path, help="TLS, trusting the certificates in this PEM file instead")
    parser.add_argument("--certificate", type=Path, help="TLS, with this certificate of the client")
    parser.add_argument("--key", type=Path, help="of that certificate")
    return parser.parse_args()


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


if __name__ == "__main__":
    errors.run(main)
