"""Tables, a row a record: .csv with quotes, .tsv with quotes or without any."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from slipway.contract.formats.layouts import Layout, layout, named, with_name
from slipway.contract.formats.rows import SHOWN, BadRow, Row, Unreadable, listed, text_or_pair

_WORDS = ("Sentence #", "Word", "Tag")  # Kaggle's words with tags: a word a row
_OTHER_DELIMITERS = (";", "\t", "|", ",")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")  # Excel's first line
_TORN = 0.1  # share of fields that begin with a quote and do not end with one, in a file without quoting
_ODD_ZEROS = 0.1  # rows with the class 0, as a share of a class' mean, where classes are counted from 1
_ODD_LINES = 0.01  # share of lines with another number of tabs, in a file without quoting


def rows(content: str, text: tuple[str, ...], label: str, delimiter: str, *, labelled: bool = True) -> Iterator[Row | BadRow]:
    """Yield the rows of a table; raises Unreadable where they cannot be told apart."""
    skipped = 0
    if separator := _SEPARATOR_LINE.match(content):
        content, delimiter, skipped = content[separator.end() :], separator.group(1), 1
    else:
        delimiter = _delimiter(content, text, label, delimiter, labelled)
    records = table(content, delimiter, skipped + 1)
    if not records:
        return
    if labelled and not text and not label and set(_WORDS) <= set(records[0][1]):
        yield from _sentences(records)
        return
    columns = _layout(records, text, label, delimiter, labelled)
    if columns.is_class_index:
        columns = replace(columns, counts_from_zero=_counts_from_zero(records, columns.label))
    if columns.has_header:
        yield from _under_a_header(records, columns, ends_in_a_line(content))
    else:
        yield from _without_header(records, columns, ends_in_a_line(content))


def _layout(records: Sequence[tuple[int, list[str]]], text: tuple[str, ...], label: str, delimiter: str, labelled: bool) -> Layout:
    """Return the layout of a table; of texts without labels, the refusal has a header for them.

    Options would not do there, since they name the columns of the labelled file, too.
    """
    try:
        return layout(records, text, label, labelled=labelled)
    except Unreadable as error:
        wanted = (text or ("text",))[0]
        if labelled or error.row.remedy or len(text) > 1 or wanted.isdecimal():
            raise
        line, header = with_name(records, wanted)
        written = io.StringIO()
        csv.writer(written, delimiter=delimiter, lineterminator="").writerow(header)
        edit = shlex.quote(f"{line}{written.getvalue()}").replace("{", "{{").replace("}", "}}")
        raise Unreadable(error.row.line, error.row.rule, error.row.found, remedy=f"sed -i.bak {edit} {{path}}") from error


def _counts_from_zero(records: Sequence[tuple[int, list[str]]], label: int | None) -> bool:
    """Return whether a class of many rows has the number 0; a few are bad rows."""
    counts = Counter(columns[label].strip() for _, columns in records if label is not None and label < len(columns))
    return counts["0"] * len(counts) > _ODD_ZEROS * len(records)


def ends_in_a_line(content: str) -> bool:
    """Return whether the last row ends with a line end, so that it cannot have been cut."""
    return content.endswith(("\n", "\r"))


def table(content: str, delimiter: str = ",", line: int = 1) -> list[tuple[int, list[str]]]:
    """Return the records of a table: the line that each begins at, and its columns.

    Empty lines are no records. Raises Unreadable at a quote that is not closed.
    """
    if delimiter == "\t" and _is_without_quoting(content):
        lines = enumerate(io.StringIO(content, newline=None), line)
        return [(at, written.removesuffix("\n").split("\t")) for at, written in lines if written != "\n"]
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    records, before_it = [], line - 1
    # csv would stop inside of a long field; LONGEST_FIELD is checked later, and told by its row.
    before = csv.field_size_limit(len(content) + 1)
    try:
        for columns in reader:
            if delimiter == "\t" and any("\t" in column and "\n" in column for column in columns):
                value = repr(columns[0][:SHOWN])
                raise Unreadable(
                    line, "a quote that opens a field is closed in its row", value, remedy=_quoting(content, delimiter)
                )
            if columns:
                records.append((line, columns))
            line = before_it + reader.line_num + 1
    except csv.Error as error:
        rule = "a quote that opens a field is closed, and quotes inside are doubled"
        raise Unreadable(line, rule, str(error), remedy=_quoting(content, delimiter)) from error
    finally:
        csv.field_size_limit(before)
    return records


def _quoting(content: str, delimiter: str) -> str:
    """Return the command that doubles quotes that have a backslash, or else makes all quotes of a
    .tsv letters of its text; none for others.

    The latter doubles them and quotes all fields, so a row has to be a line.
    """
    if '\\"' in content:
        return r"""sed -i.bak 's/\\"/""/g' {path}"""
    is_a_line_a_row = delimiter == "\t" and not _has_odd_lines(_lines(content))
    return r"""sed -i.bak 's/\r$//; s/"/""/g; s/\t/"\t"/g; s/^..*$/"&"/' {path}""" if is_a_line_a_row else ""


def _lines(content: str) -> list[list[str]]:
    return [line.removesuffix("\n").split("\t") for line in io.StringIO(content, newline=None) if line != "\n"]


def _has_odd_lines(lines: Sequence[Sequence[str]]) -> bool:
    """Return whether lines have other numbers of tabs than the first, as quoted tabs make them."""
    return sum(len(columns) != len(lines[0]) for columns in lines) > _ODD_LINES * len(lines)


def _is_without_quoting(content: str) -> bool:
    """Return whether quotes in a .tsv are letters of the text, as in GLUE's files."""
    lines = _lines(content)
    if _has_odd_lines(lines):
        return False
    begun = [column for columns in lines for column in columns if column.startswith('"')]
    torn = [column for column in begun if not re.fullmatch(r'"([^"]|"")*"', column)]
    return bool(torn) and len(torn) >= _TORN * len(begun)


def _delimiter(content: str, text: tuple[str, ...], label: str, usual: str, labelled: bool) -> str:
    """Return the delimiter whose header has the columns, or else that parts the first line."""
    first = next((line for line in io.StringIO(content, newline=None) if line.strip()), "")
    headers = {delimiter: _fields(first, delimiter) for delimiter in (usual, *_OTHER_DELIMITERS)}
    for delimiter, names in headers.items():
        if named(names, text, label, labelled=labelled):
            return delimiter
    parting = [delimiter for delimiter, names in headers.items() if len(names) > 1]
    return parting[0] if parting and labelled else usual


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _under_a_header(records: Sequence[tuple[int, list[str]]], at: Layout, ends: bool) -> Iterator[Row | BadRow]:
    header = records[0][1]
    names = [name.strip() for name in header]
    open_end = at.label == len(names) - 1 and not ends
    for number, (line, columns) in enumerate(records[1:], 2):
        if len(columns) != len(names):
            yield BadRow(line, f"a row has {len(names)} columns: {listed(names)}", f"{len(columns)} columns")
        elif columns == header:
            yield BadRow(line, "a file has one header", "it again, as where files were put together")
        else:
            yield _row(line, columns, at, open_end and number == len(records))


def _without_header(records: Sequence[tuple[int, list[str]]], at: Layout, ends: bool) -> Iterator[Row | BadRow]:
    width = len(records[0][1])
    for number, (line, columns) in enumerate(records, 1):
        is_open = number == len(records) and not ends
        if len(columns) != width:
            yield BadRow(line, f"a row has {width} columns, as the first one", f"{len(columns)} columns")
        elif is_open and not columns[-1]:
            yield BadRow(line, "the last row is whole", "an empty last column without a line end")
        else:
            yield _row(line, columns, at, is_open and at.label == width - 1)


def _sentences(records: Sequence[tuple[int, list[str]]]) -> Iterator[Row | BadRow]:
    """Yield a sentence for each run of rows whose first one, or each, has a sentence's number."""
    header = records[0][1]
    number, word, tag = (header.index(name) for name in _WORDS)
    begins, words, tags, current = 0, list[str](), list[str](), ""
    for line, columns in records[1:]:
        if len(columns) != len(header):
            yield BadRow(line, f"a row has {len(header)} columns: {listed(header)}", f"{len(columns)} columns")
            continue
        if words and columns[number].strip() not in ("", current):
            yield Row(begins, words, tags, lines_per_word=1)
            words, tags = [], []
        current = columns[number].strip() or current
        begins = begins if words else line
        words.append(columns[word])
        tags.append(columns[tag].strip())
    if words:
        yield Row(begins, words, tags, lines_per_word=1)


def _row(line: int, columns: list[str], at: Layout, may_be_cut: bool) -> Row:
    texts = [_joined([columns[part] for part in parts]) for parts in at.texts]
    label = "" if at.label is None else columns[at.label].strip()
    return Row(
        line,
        text_or_pair(texts),
        label,
        may_be_cut,
        is_class_index=at.is_class_index,
        counts_from_zero=at.counts_from_zero,
    )


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else " ".join(filter(str.strip, parts))
