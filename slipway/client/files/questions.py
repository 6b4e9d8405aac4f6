"""The lines of a file or pipe → questions for a served model, beside all else that they hold.

Reads UTF-8: a text a line, JSON objects (.jsonl), or tables with a header (.csv, .tsv); Parquet is
read by parquet_in. A line that cannot be read is a question with an error, and the others go on;
what makes the rest unreadable raises CorpusError.
"""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO

from slipway import errors
from slipway.contract.formats import encoding
from slipway.errors import CorpusError, UsageError

# task → the fields that a JSONL line must have, and the columns of a table
FIELD_NAMES = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
# Where numbers have a decimal comma, Excel writes ; and some name a file with tabs .csv.
_DELIMITERS = {"csv": ",;\t", "tsv": "\t"}
_LONGEST_FIELD = 2**24  # characters; an answered text has at most a MiB
# How a file begins of which no line can be read, what it is, and the commands that make lines of it
# or what else to do.
_OTHER_FILES: tuple[tuple[bytes, str, tuple[str, ...] | str], ...] = (
    (b"\x1f\x8b", "compressed by gzip", ("zcat",)),
    (b"PK\x03\x04", "a ZIP archive, as Excel's .xlsx is", "save the sheet as CSV UTF-8, or unpack the archive"),
)
_PARQUET = b"PAR1"
_FLAGS = ("--no-header", "--no-quotes", "--resume", "--tls")  # options without a value
_ARRAY_TO_LINES = ("python3", "-c", "import json, sys; [print(json.dumps(row)) for row in json.load(open(sys.argv[1]))]")
Fields = Mapping[str, Any]  # a JSONL line, or a table's row by its columns


@dataclass(frozen=True, slots=True)
class InputLine:
    """One line or row of the input: a question, or the reason why it is none."""

    number: int  # from 1; of a table the row, its header not counted
    size: int  # bytes; of a Parquet row 1
    fields: Fields  # the line's own, to be written beside the answer
    question: Any  # a text, a pair, or a list of words; None with an error
    error: str = ""


@dataclass(frozen=True)
class Form:
    """How the input is to be read."""

    name: str  # text, jsonl, csv, tsv or parquet
    columns: tuple[str, ...] = ()  # with the text, or the two of a pair; none: FIELD_NAMES
    header: bool = True  # of a table; without one its columns are called 1, 2 …
    quotes: bool = True  # of a table: a quoted field may hold delimiters and line ends

    @classmethod
    def of(cls, file: str, name: str | None, columns: Sequence[str], header: bool, quotes: bool) -> Form:
        """Choose the form of a file by its suffix, unless it is named. Raises UsageError."""
        if not name and PurePath(file).suffix.lower() == ".json":
            raise UsageError(
                "a .json may be one array or an object a line",
                expected="--format jsonl for an object a line",
                found="no --format",
                where=file,
                fix=f"for an array: {shlex.join([*_ARRAY_TO_LINES, file])} | {_of_standard_input(file, 'jsonl')}",
            )
        form = name or _named_by(file)
        is_table = form in _DELIMITERS
        wrong = [
            option
            for option, fits in (
                ("--text", not columns or form != "text"),
                ("--no-header", header or is_table),
                ("--no-quotes", quotes or form == "tsv"),
            )
            if not fits
        ]
        if wrong or len(columns) > 2:
            raise UsageError(
                f"{wrong[0] if wrong else '--text'} does not go with this input",
                expected="--text (twice for a pair) with JSONL and tables, --no-header with tables, --no-quotes with TSV",
                found=f"{form}, the columns {', '.join(columns) or '(not named)'}",
                where=file,
                fix="--format csv, tsv or jsonl says what the input is; without --text, a text is a line",
            )
        return cls(form, tuple(columns), header, quotes)


def _named_by(file: str) -> str:
    return _SUFFIXES.get(PurePath(file.lower().removesuffix(".gz")).suffix, "text")


@dataclass(frozen=True)
class Source:
    """The input: its lines, and for a table also its columns and what parts them."""

    lines: Iterator[InputLine]
    columns: tuple[str, ...] = ()  # in their order; none: JSON objects, each with its own fields
    delimiter: str = ""
    header: bool = True
    total: int | None = None  # what the lines' sizes add up to, where that is not the file's bytes
    schema: Any = None  # of Parquet: pyarrow's, of the columns


def read(file: BinaryIO, name: str, form: Form, task: str) -> Source:
    """Return the input as it is read. Raises CorpusError for a table without the text's column."""
    check_count(form, name, task)
    if form.name in _DELIMITERS:
        return _table(file, name, form, task)
    jsonl = form.name == "jsonl"
    lines = (read_line(number, raw, task, jsonl, form.columns) for number, raw in enumerate(file, 1))
    return Source(lines, () if jsonl else FIELD_NAMES[task])


def check_count(form: Form, name: str, task: str) -> None:
    """Raise UsageError where other columns are named than a task has texts."""
    if form.columns and len(form.columns) != len(FIELD_NAMES[task]):
        raise UsageError(
            "the served model takes another number of texts",
            expected=f"--text {len(FIELD_NAMES[task])} times: the model's task is {task}",
            found=f"--text {len(form.columns)} times: {', '.join(form.columns)}",
            where=name,
            fix="name its columns alone",
        )


def beginning(file: BinaryIO) -> bytes:
    """Return how a file begins, without taking it; a terminal waits for its first line."""
    return file.peek(4) if hasattr(file, "peek") else b""


def form_of_content(begins: bytes) -> str | None:
    """Return the form that a file shows by how it begins, whatever it is called."""
    return "parquet" if begins.startswith(_PARQUET) else None


def refuse_other_file(begins: bytes, name: str) -> None:
    """Raise CorpusError for a file that has no lines, such as a ZIP archive, by how it begins."""
    for magic, what, fix in _OTHER_FILES:
        if begins.startswith(magic):
            raise _other_file(name, what, _unpack(name) if fix == ("zcat",) and name.endswith(".parquet.gz") else fix)
    if wide := encoding.wide_name(begins):
        known_as = wide.upper().replace("-LE", "LE").replace("-BE", "BE")  # by iconv
        raise _other_file(name, known_as, ("iconv", "-f", known_as, "-t", "UTF-8"))


def _unpack(name: str) -> str:
    """Return the commands for a packed Parquet file, which cannot be read from a pipe."""
    words = with_other_file(sys.argv[1:], name, name.removesuffix(".gz"))
    return f"{shlex.join(['gunzip', '--keep', name])} && {errors.command(*words)}"


def with_other_file(words: Sequence[str], name: str, *other: str) -> list[str]:
    """Return a command's words with `other` in place of the file; the same word as an option's
    value stays.
    """
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if at and word == name and not (before.startswith("--") and "=" not in before and before not in _FLAGS):
            return [*words[:at], *other, *words[at + 1 :]]
    return list(words)


def _other_file(name: str, what: str, fix: str | tuple[str, ...]) -> CorpusError:
    piped = fix if isinstance(fix, str) else f"{shlex.join([*fix, name])} | {_of_standard_input(name, _named_by(name))}"
    return CorpusError(
        "this file has no lines that can be classified",
        expected="UTF-8: a text a line, JSONL, CSV or TSV; or Parquet",
        found=what,
        where=name,
        fix=piped,
    )


def _of_standard_input(name: str, form: str) -> str:
    """Return the same command, reading what another one makes of the file."""
    words = with_other_file(sys.argv[1:], name)
    return errors.command(*words, *(() if "--format" in words else ("--format", form)))


def read_line(number: int, raw: bytes, task: str, jsonl: bool, names: tuple[str, ...] = ()) -> InputLine:
    """Read one line; a line that cannot be read becomes an InputLine with its error."""
    fields: Fields = {}
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
        fields = _json_fields(text) if jsonl else _plain_fields(text, task)
        return InputLine(number, len(raw), fields, _question(fields, task, names or FIELD_NAMES[task]))
    except (ValueError, RecursionError) as error:  # RecursionError: JSON nested too deep
        return InputLine(number, len(raw), fields, None, str(error))


def _plain_fields(text: str, task: str) -> Fields:
    if task == "tagging":
        return {"words": text.split()}
    return dict(zip(FIELD_NAMES[task], text.split("\t", 1) if task == "text_pair" else [text], strict=False))


def _json_fields(text: str) -> Fields:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, found {type(fields).__name__}")
    return fields


def _question(fields: Fields, task: str, names: tuple[str, ...]) -> Any:
    values = [fields.get(name) for name in names]
    strings = values[0] if task == "tagging" else values
    if not (isinstance(strings, list) and strings and all(isinstance(text, str) for text in strings)):
        kind = "a list of words" if task == "tagging" else "a string"
        expected = " and ".join(f"{name!r}, {kind}" for name in names)
        raise ValueError(f"expected {expected}; found {', '.join(fields) or 'none'}")
    for text in strings:
        text.encode("utf-8")  # JSON can spell half of a surrogate pair
    return values[0] if len(values) == 1 else tuple(values)


def _table(file: BinaryIO, name: str, form: Form, task: str) -> Source:
    lines = iter(file)
    first = next(lines, b"")
    wanted = form.columns or FIELD_NAMES[task]
    delimiter = _delimiter(first, form, wanted)
    rows = table_rows(itertools.chain([first], lines), delimiter, form.quotes, name)
    head, size = next(rows, ([], 0))
    if not form.header:
        rows = itertools.chain([(head, size)], rows)
    columns = [column.strip() for column in head] if form.header else [str(number) for number in range(1, len(head) + 1)]
    numbered = form.header and any(column.isdecimal() for column in wanted) and columns != [str(n) for n in range(len(columns))]
    if numbered or any(columns.count(column) != 1 for column in (*columns, *wanted)):
        raise _no_such_columns(columns, wanted, next(rows, (columns, 0))[0], name)
    read_rows = (_row(number, cells, size, columns, task, wanted) for number, (cells, size) in enumerate(rows, 1))
    return Source(read_rows, tuple(columns), delimiter, form.header)


def _delimiter(first: bytes, form: Form, wanted: tuple[str, ...]) -> str:
    """Return the delimiter with which the first line has the wanted columns, or the usual one."""
    text = first.decode("utf-8-sig", "replace")
    for delimiter in _DELIMITERS[form.name]:
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
        if form.header and set(wanted) <= set(names):
            return delimiter
    return _DELIMITERS[form.name][0]


def table_rows(lines: Iterable[bytes], delimiter: str, quotes: bool, name: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of each row, and its bytes; empty lines are no rows.

    Bytes that are not UTF-8 stay in the cells as halves of surrogate pairs. Raises CorpusError
    where the rows cannot be told apart any more.
    """
    size = 0

    def texts() -> Iterator[str]:
        nonlocal size
        for number, raw in enumerate(lines):
            size += len(raw)
            yield raw.decode("utf-8", "surrogateescape").removeprefix("" if number else "\ufeff")

    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(texts(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE, strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield cells, size
                size = 0
            begins = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            "the rows of this table cannot be told apart",
            expected="a quote that opens a field is closed, and quotes inside of it are doubled",
            found=f"{error}, in the row that begins in line {begins}; it and what follows are not classified",
            where=name,
            fix="correct the row; where quotes are characters like others, as in GLUE's files: --format tsv --no-quotes",
        ) from error


def _no_such_columns(columns: list[str], wanted: tuple[str, ...], row: list[str], name: str) -> CorpusError:
    longest = max(range(len(columns)), key=lambda at: len(row[at]) if at < len(row) else -1, default=0)
    likely = columns[longest] if columns else "COLUMN"
    words = [word for word in sys.argv[1:] if word != "--text" and word not in wanted]
    choice = ("--text", likely) if len(wanted) == 1 else ("--text", likely, "--text", "COLUMN")
    if any(column.isdecimal() for column in wanted):
        fix = f"{errors.command(*sys.argv[1:], '--no-header')}, since columns have numbers where there are no names"
    else:
        fix = f"{errors.command(*words, *choice)}; where the first line is a text already: --no-header --text {longest + 1}"
    return CorpusError(
        "the text's column is not there, or a name is there twice",
        expected=f"a header with {' and '.join(wanted)}, and every name once",
        found=", ".join(columns) or "an empty file",
        where=name,
        fix=fix,
    )


def _row(number: int, cells: list[str], size: int, columns: list[str], task: str, wanted: tuple[str, ...]) -> InputLine:
    fields: Fields = dict.fromkeys(columns, "") | dict(zip(columns, map(_readable, cells), strict=False))
    if len(cells) != len(columns):
        return InputLine(number, size, fields, None, f"expected {len(columns)} columns, found {len(cells)}")
    texts = [cells[columns.index(name)] for name in wanted]
    try:
        for cell in cells:  # the other columns, too: they are to be kept
            cell.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        return InputLine(number, size, fields, None, str(error))
    if task == "tagging":
        words = texts[0].split()
        return InputLine(number, size, fields, words or None, "" if words else "text 0 has no words")
    return InputLine(number, size, fields, texts[0] if len(texts) == 1 else tuple(texts))


def _readable(cell: str) -> str:
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
