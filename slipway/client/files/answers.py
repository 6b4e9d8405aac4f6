"""The answers to lines, as JSON lines or the rows of a table: on stdout, or in a file that an
interrupted run goes on with.

Writes UTF-8, whatever the locale. A file is called FILE.part until every line is answered. Parquet
is written by parquet_out.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from slipway import errors
from slipway.client.files.questions import Fields, InputLine, Source, table_rows
from slipway.client.tensors import Classification, Tagging
from slipway.errors import SlipwayError, StorageError, UsageError

LineAnswer = Classification | Tagging | str  # str: why there is no answer
Answered = list[tuple[InputLine, LineAnswer]]
Write = Callable[[Answered], None]
_JSON_OWN = ("line", "answer", "error")
SUFFIXES = {".jsonl": "", ".ndjson": "", ".csv": ",", ".tsv": "\t"}  # suffix → delimiter of a table

NOT_WRITTEN = (".xlsx", ".xls")


@dataclass(frozen=True)
class Layout:
    """How an answered line is written."""

    columns: tuple[str, ...] = ()  # of a table: the input's, without earlier answers
    delimiter: str = ""  # of a table; "": JSON lines
    answers: tuple[str, ...] = ()  # of a table: our own columns
    header: bool = True
    quotes: bool = True

    @classmethod
    def of(cls, source: Source, task: str, output: Path | None, quotes: bool) -> Layout:
        """Choose the layout by the output's suffix, or as the input's. Raises UsageError."""
        delimiter = source.delimiter
        if output and output.suffix.lower() in NOT_WRITTEN:
            raise UsageError(
                f"{output.suffix} is not written",
                expected="a file .jsonl, .csv, .tsv or .parquet; Excel reads .csv",
                found=str(output),
                where="the option --output",
                fix=f"--output {output.with_suffix('.csv')}",
            )
        if output and output.suffix.lower() in SUFFIXES:
            suffixed = SUFFIXES[output.suffix.lower()]
            delimiter = delimiter if suffixed == "," and delimiter == ";" else suffixed
        if not delimiter:
            return cls()
        refuse_no_columns(source, output)
        answers = answer_columns(task)
        columns = tuple(column for column in source.columns if column not in answers)
        return cls(columns, delimiter, answers, source.header, quotes or delimiter != "\t")

    def head(self) -> bytes:
        """Return what stands before all answers."""
        return self._cells([*self.columns, *self.answers]) if self.delimiter and self.header else b""

    def row(self, line: InputLine, answer: LineAnswer) -> bytes:
        """Return the line with its answer."""
        values = values_of(answer)
        if self.delimiter:
            own = {f"answer_{name}": _cell(value) for name, value in values.items()}
            return self._cells([*self.question(line.fields).values(), *(own.get(name, "") for name in self.answers)])
        answered = values if isinstance(answer, str) else {"answer": values}
        return _json({**self.question(line.fields), "line": line.number, **answered}) + b"\n"

    def question(self, fields: Fields) -> dict[str, Any]:
        """Return the fields that are the input's own; what an earlier run answered is not."""
        if self.delimiter:
            return {name: _cell(fields.get(name, "")) for name in self.columns}
        return {name: value for name, value in fields.items() if name not in _JSON_OWN}

    def rows(self, lines: Iterable[bytes], name: str) -> Iterator[tuple[Fields, bool, int]]:
        """Yield of each whole row below the head its fields, whether it has an error, and its
        bytes. A row that was cut off ends it. Raises ValueError for a row of another layout.
        """
        whole = itertools.takewhile(lambda raw: raw.endswith(b"\n"), lines)
        if not self.delimiter:
            for raw in whole:
                row = dict(json.loads(raw))
                if not {"answer", "error"} & row.keys():
                    raise ValueError("a line without an answer")
                yield row, "error" in row, len(raw)
            return
        with suppress(SlipwayError):  # it was cut off in the middle of a quoted cell
            for cells, size in table_rows(whole, self.delimiter, self.quotes, name):
                row = dict(zip((*self.columns, *self.answers), cells, strict=True))
                yield row, bool(row["answer_error"]), size

    def _cells(self, cells: Sequence[str]) -> bytes:
        text = io.StringIO()
        # Only what is in the line's end is quoted, and a lone \r has to be.
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\r\n")
        if self.quotes:
            writer.writerow(cells)
        else:
            text.write(self.delimiter.join(" ".join(re.split(r"[\t\r\n]", cell)) for cell in cells))
        return text.getvalue().removesuffix("\r\n").encode("utf-8", "backslashreplace") + b"\n"


def refuse_no_columns(source: Source, output: Path | None) -> None:
    """Raise UsageError for JSON lines, of which no table can be made."""
    if not source.columns:
        raise UsageError(
            "JSON lines do not become a table",
            expected="a file .jsonl: each line may have other fields",
            found=str(output),
            where="the option --output",
            fix="--output answers.jsonl",
        )


def answer_columns(task: str) -> tuple[str, ...]:
    """Return the names of a table's columns that hold answers, or why there is none."""
    names = [field.name for field in fields(Tagging if task == "tagging" else Classification)]
    return tuple(f"answer_{name}" for name in (*names, "error"))


def values_of(answer: LineAnswer) -> Fields:
    """Return an answer's values by their names, or its `error`."""
    return {"error": answer} if isinstance(answer, str) else {**vars(answer), "logits": _listed(answer.logits)}


@dataclass
class Tally:
    """How many lines have been answered."""

    written: int = 0
    failed: int = 0  # of them, with an error instead
    size: int = 0  # of the input that an earlier run has answered, as InputLine.size

    def add(self, failed: bool) -> None:
        self.written, self.failed = self.written + 1, self.failed + failed


@contextmanager
def on_stdout(layout: Layout, tally: Tally) -> Iterator[Write]:
    """Yield a function that writes answers to stdout.

    The block ends quietly when a pipe's reader has gone (`| head`). Raises SlipwayError where
    stdout cannot be written.
    """
    if sys.stdout is None:
        raise unwritable("stdout", "it is closed")
    try:
        yield _writer(sys.stdout.buffer, layout, layout.head())
    except BrokenPipeError:
        _write_nothing_more()
    except OSError as error:
        _write_nothing_more()
        raise unwritable("stdout", error.strerror or str(error)) from error
    except KeyboardInterrupt:
        print(f"\n{tally.written} lines were answered; --output FILE would keep them for --resume", file=sys.stderr)
        raise


def _write_nothing_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def in_file(output: Path, resume: bool, layout: Layout, lines: Iterator[InputLine], tally: Tally) -> Iterator[Write]:
    """Yield a function that writes answers to `output`.part, which is called `output` once the
    block has ended.

    `resume` takes the lines that are answered there from `lines`, and counts them. Raises
    SlipwayError for a file that is there and is not to be resumed, or answers other lines, and,
    with the command to go on, when the block is interrupted.
    """
    partial = output.with_name(f"{output.name}.part")
    try:
        size = _resumed(output, partial, resume, layout, lines, tally)
        with partial.open("r+b") as file:
            file.seek(size)
            file.truncate()
            write = _writer(file, layout, b"" if size else layout.head())
            try:
                yield write
            except SlipwayError:
                _keep(partial, tally)
                raise
        partial.replace(output)
    except OSError as error:
        raise _unwritten(partial, error, tally) from error
    except KeyboardInterrupt as interrupt:
        raise errors.Interrupted(
            "interrupted",
            expected="every line answered",
            found=f"{tally.written} lines, which are kept",
            where=str(partial),
            fix=_again("--resume"),
        ) from interrupt


def _unwritten(partial: Path, error: OSError, tally: Tally) -> StorageError:
    """Return the error of a disk that took no more answers; those that it took are kept."""
    if tally.written:
        error.filename = str(partial)
        told = errors.storage_error(error, f"go on behind {tally.written} lines: {_again('--resume')}")
    else:
        partial.unlink(missing_ok=True)  # it would be in the way of the next try
        told = errors.storage_error(error)
    return told or unwritable(str(partial), error.strerror or str(error))


def _keep(partial: Path, tally: Tally) -> None:
    if tally.written:
        print(f"{tally.written} lines are kept in {partial}. To go on: {_again('--resume')}", file=sys.stderr)
    else:
        partial.unlink()


def _writer(file: BinaryIO, layout: Layout, head: bytes) -> Write:
    def write(answered: Answered) -> None:
        file.write(b"".join(layout.row(line, answer) for line, answer in answered))
        file.flush()

    file.write(head)
    file.flush()
    return write


def _resumed(output: Path, partial: Path, resume: bool, layout: Layout, lines: Iterator[InputLine], tally: Tally) -> int:
    """Leave at `partial` what is to be gone on with, and return how many bytes of it are whole."""
    there = next((path for path in (partial, output) if path.exists()), None)
    if there is None:
        partial.touch()
        return 0
    if not resume:
        raise UsageError(
            "answers are there already",
            expected="a new file",
            found="a finished one" if there == output else "those of a run that was interrupted",
            where=str(there),
            fix=f"{_again('--resume')} goes on with it; or name another --output",
        )
    try:
        with there.open("rb") as file:
            size = _answered_bytes(file, str(there), layout, lines, tally)
    except ValueError as error:
        raise UsageError(
            "these are the answers to other lines",
            expected="the beginning of this input, answered",
            found=str(error),
            where=str(there),
            fix="name the input that it was begun with, or another --output",
        ) from error
    there.replace(partial)
    return size


def _answered_bytes(file: BinaryIO, name: str, layout: Layout, lines: Iterator[InputLine], tally: Tally) -> int:
    """Take the lines that are answered in the file from `lines`; return the size of the answers.

    Raises ValueError for answers to other lines.
    """
    head = layout.head()
    if head and (begins := file.readline()) != head:
        if begins.endswith(b"\n"):
            raise ValueError(f"the columns {begins.decode('utf-8', 'replace').strip()}")
        return 0  # the head itself was cut off
    size = len(head)
    for row, failed, length in layout.rows(file, name):
        line = next(lines, None)
        if line is None or _json(layout.question(line.fields)) != _json(layout.question(row)):
            raise ValueError(f"another line {tally.written + 1}")
        tally.add(failed)
        tally.size += line.size
        size += length
    return size


def _again(*options: str) -> str:
    return errors.command(*(word for word in sys.argv[1:] if word not in options), *options)


def unwritable(where: str, why: str) -> StorageError:
    """Return the error of a place that cannot be written to."""
    return StorageError(
        "the answers cannot be written",
        expected="a place that can be written to",
        found=why,
        where=where,
        fix=errors.with_options(errors.command(*sys.argv[1:]), ["--output", "FILE"]),
    )


def _listed(logits: Any) -> Any:
    return logits if isinstance(logits, tuple) else logits.tolist()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value).decode()


def _json(value: Any) -> bytes:
    """Return JSON whose texts are as they are; half of a surrogate pair stays escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value).encode()
