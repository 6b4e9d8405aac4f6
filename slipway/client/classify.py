"""Classify a file's or a pipe's lines on a running server.

Answers go to stdout as they come, or to a file that --resume goes on with.

    slipway classify news.txt > answers.jsonl
    slipway classify reviews.csv --text review --output answered.csv
    slipway classify reviews.parquet --text review --output answered.parquet
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import stat
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slipway import console, errors
from slipway.client import endpoint
from slipway.client.client import AsyncClient, Client
from slipway.client.files import answers, parquet_in, parquet_out, questions
from slipway.client.files.answers import Answered, Layout, LineAnswer, Tally, Write
from slipway.client.files.questions import Form, InputLine, Source
from slipway.client.transport import RequestRefused
from slipway.errors import CorpusError, SlipwayError, StorageError


def classify(arguments: argparse.Namespace) -> int:
    if arguments.resume and not arguments.output:
        raise _not_resumable(arguments)
    with _opened(arguments.file) as file:
        form = _form(file, arguments)
        place = endpoint.single(arguments)
        with Client(place.address, place.options) as server:
            tally = _classify_lines(server, file, form, arguments)
    print(f"{tally.written} lines, {tally.failed} with an error", file=sys.stderr)
    return 1 if tally.failed else 0


def _form(file: BinaryIO, arguments: argparse.Namespace) -> Form:
    """Return how the file is to be read. Raises SlipwayError for what cannot be read or written."""
    begins = questions.beginning(file)
    questions.refuse_other_file(begins, arguments.file)
    name = arguments.format or questions.form_of_content(begins)
    form = Form.of(arguments.file, name, arguments.text, not arguments.no_header, not arguments.no_quotes)
    parquet_in.refuse_other_input(begins, arguments.file, form, file.seekable())
    writes_parquet = parquet_out.is_written(arguments.output, form.name == "parquet")
    if writes_parquet and arguments.resume:
        raise parquet_out.not_resumable(arguments.output)
    if writes_parquet or form.name == "parquet":
        parquet_in.require_pyarrow()
    return form


def _classify_lines(server: Client, file: BinaryIO, form: Form, arguments: argparse.Namespace) -> Tally:
    task, tally = server.task(), Tally()
    reads = parquet_in.read if form.name == "parquet" else questions.read
    source = reads(file, arguments.file, form, task)
    total = _size(file) if source.total is None else source.total
    with (
        _writer(arguments, source, task, form, tally) as write,
        _progress(total, tally, not arguments.output) as show,
    ):
        for answered in _answers(server, task, source.lines, arguments.batch, arguments.in_flight):
            write(answered)
            for _, answer in answered:
                tally.add(isinstance(answer, str))
            show(sum(line.size for line, _ in answered))
    return tally


def _not_resumable(arguments: argparse.Namespace) -> errors.UsageError:
    return errors.UsageError(
        "stdout cannot be resumed",
        expected="--output FILE, where an interrupted run left its answers",
        found="--resume alone",
        where="the options of slipway classify",
        fix=errors.command("classify", arguments.file, "--output", "answers.jsonl", "--resume"),
    )


def _writer(arguments: argparse.Namespace, source: Source, task: str, form: Form, tally: Tally) -> AbstractContextManager[Write]:
    if parquet_out.is_written(arguments.output, form.name == "parquet"):
        return parquet_out.in_file(arguments.output, source, task, tally)
    layout = Layout.of(source, task, arguments.output, form.quotes)
    if arguments.output:
        return answers.in_file(arguments.output, arguments.resume, layout, source.lines, tally)
    return answers.on_stdout(layout, tally)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if console.is_terminal(sys.stdin):
            print("reading texts from the terminal, one a line; Ctrl-D ends them", file=sys.stderr)
        if sys.stdin is None:
            raise _unreadable("stdin", "it is closed")
        yield sys.stdin.buffer
        return
    try:
        if Path(name).is_dir():
            raise _is_directory(name)
        file = Path(name).open("rb")  # noqa: SIM115 – closed below; an error of the block is not one of opening
    except OSError as error:
        raise _unreadable(name, error.strerror or str(error)) from error
    with file:
        yield file


def _unreadable(name: str, why: str) -> StorageError:
    path, fix = Path(name), "name another"
    if not path.exists() and path.parent.is_dir():
        fix = errors.meant(path, (other.name for other in path.parent.iterdir() if other.is_file())) or fix
    return StorageError("the file cannot be read", expected="a file", found=why, where=name, fix=fix)


def _is_directory(name: str) -> CorpusError:
    """Return the error of a directory, with a loop over its files of the most common suffix."""
    suffixes = Counter(path.suffix for path in sorted(Path(name).iterdir()) if path.suffix and path.is_file())
    [(suffix, count)] = suffixes.most_common(1) or [("", 0)]
    words = [word for word in parquet_in.without_option("--output", name) if word != "--resume"]
    once = f'{errors.command(*words)} --output "answered/${{part##*/}}" "$part"'
    loop = f"mkdir -p answered && for part in {shlex.quote(name.rstrip('/'))}/*{suffix}; do {once}; done"
    return CorpusError(
        "a directory is not read as one table",
        expected="a file; a directory's parts are answered one by one",
        found=f"a directory with {count} files {suffix}" if count else "a directory without files",
        where=name,
        fix=loop if count else "name a file",
    )


def _answers(server: Client, task: str, lines: Iterator[InputLine], batch: int, in_flight: int) -> Iterator[Answered]:
    """Yield the lines' answers in order, while the next requests are under way.

    Memory holds `in_flight` requests of `batch` lines, and no more. Where the lines end with a
    SlipwayError, it is raised after the answers to those before.
    """
    broken: list[SlipwayError] = []
    remaining, waiting = _until_broken(lines, broken), deque[Future[Answered]]()
    while chunk := list(itertools.islice(remaining, batch)):
        waiting.append(server.start(_answer_lines(server.aio, task, chunk)))
        if len(waiting) == in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if broken:
        raise broken[0]


def _until_broken(lines: Iterator[InputLine], broken: list[SlipwayError]) -> Iterator[InputLine]:
    try:
        yield from lines
    except SlipwayError as error:
        broken.append(error)


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


def _size(file: BinaryIO) -> int | None:
    """Return the bytes of a file; None for a pipe."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _progress(total: int | None, tally: Tally, data_on_stdout: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal a bar by the bytes of a file or the rows of a Parquet file, with rate and
    time left; of a pipe, the count and the rate alone.
    """
    columns = () if total is None else (BarColumn(), TaskProgressColumn())
    times = (TimeElapsedColumn(),) if total is None else (TimeElapsedColumn(), TimeRemainingColumn())
    started, before = time.monotonic(), tally.written
    with console.bar_beside_data(*columns, TextColumn("{task.description}"), *times, data_on_stdout=data_on_stdout) as progress:
        bar = progress.add_task("", total=total, completed=tally.size)

        def show(size: int) -> None:
            rate = (tally.written - before) / max(time.monotonic() - started, 1e-3)
            progress.update(bar, advance=size, description=f"{tally.written:,} texts, {rate:,.0f} a second")

        yield show
