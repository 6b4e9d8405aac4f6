"""Labelled rows of a person's own file, for training and for the golden rows of an imported model.

    rows.csv, rows.tsv   a header; columns text and label (pair: text, text_b and label), or those
                         that were named
    rows.jsonl           {"text": "…", "label": "…"}; pair: {"text": ["…", "…"], …};
                         tagger: {"words": […], "tags": […]}
    rows.conll           a word and its tag a line, in the first and the last column; an empty line
                         between sentences

A file of texts without labels has no label column, or an empty one; it may also be a .txt with a
text a line.

Files are UTF-8. A byte order mark, CRLF, empty lines, a missing last line end and spaces around a
label change nothing. A quote that opens a field of a .csv or .tsv must be closed; in .jsonl, quotes
and line breaks need no care.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

LONGEST_FIELD = 128 * 1024  # characters; longer ones are accidents, such as a quote closed far below
# NUL, and halves of a surrogate pair, which JSON can escape and UTF-8 cannot hold.
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
_SHOWN = 60  # characters of a value in a message


class Row(NamedTuple):
    """A text, a pair or a sentence, with its label or tags as they are written."""

    line: int  # the row begins there, from 1
    text: str | tuple[str, str] | list[str]  # pair: both texts; tagger: the words
    label: str | list[str]  # tagger: a tag a word
    may_be_cut: bool = False  # the file ends in this row's last label, without a line end
    lines_per_word: int = 0  # 1 in a .conll

    @property
    def labels(self) -> list[str]:
        return self.label if isinstance(self.label, list) else [self.label]

    def broken(self, rule: str, value: str, word: int = 0) -> BadRow:
        """Return this row as one that breaks a rule; tagger: at the given word."""
        return BadRow(self.line + word * self.lines_per_word, rule, value)

    @property
    def task(self) -> str:
        """The task that rows of this form are of, one of bundle.TASKS."""
        return "tagging" if isinstance(self.label, list) else "text_pair" if isinstance(self.text, tuple) else "single_text"


class BadRow(NamedTuple):
    """A row that breaks a rule."""

    line: int
    rule: str  # the property that every row must have
    found: str  # the value that breaks it
    breaks: bool = False  # later rows cannot be told apart, or the whole file cannot be read


class Unreadable(Exception):
    """A file cannot be read from `row` on."""

    def __init__(self, line: int, rule: str, value: str) -> None:
        super().__init__(rule)
        self.row = BadRow(line, rule, value, breaks=True)


def read(path: Path, text: Sequence[str] = (), label: str = "", *, labelled: bool = True) -> Iterator[Row | BadRow]:
    """Yield the rows of a file with one of SUFFIXES in its order, bad ones among them.

    `text` names the text column or the two of a pair, `label` the label column; empty: the names
    above. All rows must be of the first one's task. Not `labelled`: a file with one of
    UNLABELLED_SUFFIXES, whose rows are yielded with the label "".
    """
    task = ""
    for row in complete(_parsed(path, tuple(text), label, labelled)):
        if isinstance(row, Row):
            task = task or row.task
            row = _broken_text(row, task) or (_broken_label(row) if labelled else _label_too_many(row)) or row
        yield row


def complete(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Yield `rows`; end with a BadRow where they become unreadable, or when there are none."""
    count = 0
    try:
        for count, row in enumerate(rows, 1):  # noqa: B007
            yield row
        if not count:
            raise Unreadable(1, "a file has at least one row", "0 rows")
    except Unreadable as error:
        yield error.row


def _parsed(path: Path, text: tuple[str, ...], label: str, labelled: bool) -> Iterator[Row | BadRow]:
    content = decoded(path)
    wanted = [*text, *filter(None, [label])]
    if len(text) > 2 or len(set(wanted)) < len(wanted):
        begins = repr(content.partition("\n")[0].strip()[:_SHOWN])
        rule = "one text column, or two of a pair, and another one with the label"
        raise Unreadable(1, rule, f"the names {_listed(wanted)} for a file that begins with {begins}")
    parsers = _PARSERS if labelled else _UNLABELLED_PARSERS
    yield from parsers[path.suffix](content, text, label)


def decoded(path: Path) -> str:
    """Return the text of a UTF-8 file. Raises Unreadable."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:2]:
        raise Unreadable(1, "the file is UTF-8", f"UTF-16 or UTF-32: it begins with the bytes {data[:4].hex(' ')}")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise Unreadable(line, "the file is UTF-8", byte) from error


def table(content: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return the records of a CSV: the line that each begins at, and its columns.

    Empty lines are no records. Raises Unreadable at a quote that is not closed.
    """
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    records, line = [], 1
    # csv would stop inside of a long field; LONGEST_FIELD is checked later, and told by its row.
    before = csv.field_size_limit(len(content) + 1)
    try:
        for columns in reader:
            if delimiter == "\t" and any("\t" in column and "\n" in column for column in columns):
                raise Unreadable(line, "a quote that opens a field is closed in its row", repr(columns[0][:_SHOWN]))
            if columns:
                records.append((line, columns))
            line = reader.line_num + 1
    except csv.Error as error:
        raise Unreadable(line, "a quote that opens a field is closed, and quotes inside are doubled", str(error)) from error
    finally:
        csv.field_size_limit(before)
    return records


def ends_in_a_line(content: str) -> bool:
    """Return whether the last row ends with a line end, so that it cannot have been cut."""
    return content.endswith(("\n", "\r"))


def broken_text(text: str) -> tuple[str, str] | None:
    """Return (rule, value) of the first rule for texts of all files that `text` breaks, or None."""
    if not text.strip():
        return "a text is not empty", repr(text[:_SHOWN])
    if len(text) > LONGEST_FIELD:
        return f"a field holds at most {LONGEST_FIELD:,} characters", f"{len(text):,} characters"
    if character := _NO_CHARACTER.search(text):
        return "a text holds no NUL character and no half of a surrogate pair", repr(character.group())
    return None


def _is_dropped(character: str) -> bool:
    """Return whether the tokenizer may drop it; serving refuses a text of nothing else."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Co") or category[0] in "ZM" or character == "\ufffd"


def _broken_text(row: Row, task: str) -> BadRow | None:
    if row.task != task:
        return row.broken(f"all rows are of one task, as the first one's {task}", row.task)
    for word, text in enumerate([row.text] if isinstance(row.text, str) else row.text or [""]):
        if broken := broken_text(text):
            return row.broken(*broken, word)
        if task != "tagging" and all(map(_is_dropped, text)):
            return row.broken("a text has a character that is read", repr(text[:_SHOWN]), word)
    return None


def _broken_label(row: Row) -> BadRow | None:
    for word, label in enumerate(row.labels):
        # labels.txt has a line for each
        if broken_text(label) or len(label.splitlines()) != 1 or all(map(is_unseen, label)):
            return row.broken("a label is one line and not empty", ascii(label[:_SHOWN]), word)
    return None


def _label_too_many(row: Row) -> BadRow | None:
    label = "".join(row.labels)
    return row.broken("a text without a label, in a file of such texts", ascii(label[:_SHOWN])) if label else None


def is_unseen(character: str) -> bool:
    """Return whether it is white space or a format character, such as a zero-width one."""
    return character.isspace() or unicodedata.category(character) == "Cf"


def _named_columns(
    content: str, text: tuple[str, ...], label: str, *, delimiter: str, labelled: bool = True
) -> Iterator[Row | BadRow]:
    records = table(content, delimiter)
    if not records:
        return
    first_line, header = records[0]
    names = [name.strip() for name in header]
    texts = text or (("text", "text_b") if "text_b" in names else ("text",))
    label = label or "label"
    required = (*texts, label) if labelled or label in names else texts
    if any(names.count(name) != 1 for name in required):
        rule = f"a header with the columns {_listed(required)}, each once"
        raise Unreadable(first_line, rule, f"the columns {_listed(names)}")
    text_at, label_at = [names.index(name) for name in texts], names.index(label) if label in required else None
    open_end = label_at == len(names) - 1 and not ends_in_a_line(content)
    for number, (line, columns) in enumerate(records[1:], 2):
        if len(columns) != len(names):
            yield BadRow(line, f"a row has {len(names)} columns: {_listed(names)}", f"{len(columns)} columns")
        elif columns == header:
            yield BadRow(line, "a file has one header", "it again, as where files were put together")
        else:
            cut = open_end and number == len(records)
            written = "" if label_at is None else columns[label_at].strip()
            yield Row(line, _text_or_pair([columns[at] for at in text_at]), written, cut)


def _json_lines(content: str, text: tuple[str, ...], label: str, *, labelled: bool = True) -> Iterator[Row | BadRow]:
    for line, written in enumerate(content.split("\n"), 1):  # splitlines would also split at U+2028
        if not written.strip():
            continue
        try:
            fields = json.loads(written)
        except (ValueError, RecursionError) as error:
            yield BadRow(line, "every line is a JSON object", f"{getattr(error, 'msg', error)}: {written[:_SHOWN]}")
            continue
        if isinstance(fields, dict):
            yield _json_row(line, fields if labelled else _with_empty_label(fields, label), text, label)
        else:
            yield BadRow(line, "every line is a JSON object", written[:_SHOWN])


def _json_row(line: int, fields: dict[str, Any], text: tuple[str, ...], label: str) -> Row | BadRow:
    texts = text or (("words",) if "words" in fields and "text" not in fields else ("text",))
    label = label or ("tags" if "tags" in fields and "label" not in fields else "label")
    if not {*texts, label} <= fields.keys():
        return BadRow(line, f"a row has the columns {_listed((*texts, label))}", f"the columns {_listed(fields)}")
    value = fields[texts[0]] if len(texts) == 1 else [fields[name] for name in texts]
    parts = value if isinstance(value, list) else [value]
    tags = fields[label] if isinstance(fields[label], list) else [fields[label]]
    if not all(isinstance(part, str) for part in parts):
        return BadRow(line, "a text is a string; pair: two strings; tagger: a list of words", repr(value)[:_SHOWN])
    if not all(isinstance(tag, str | int) for tag in tags):
        return BadRow(line, "a label is a string or a whole number", repr(fields[label])[:_SHOWN])
    names = [str(tag).strip() for tag in tags]
    if isinstance(fields[label], list):
        if isinstance(value, list) and len(parts) == len(tags):
            return Row(line, parts, names)
        return BadRow(line, "a list of words and as many tags", f"{repr(value)[:_SHOWN]} and {len(tags)} tags")
    if isinstance(value, list) and len(parts) != 2:
        return BadRow(line, "a text, or two of a pair", f"{len(parts)} texts")
    return Row(line, _text_or_pair(parts), names[0])


def _with_empty_label(fields: dict[str, Any], label: str) -> dict[str, Any]:
    name = label or "label"
    return fields if fields.get(name) is not None else {**fields, name: ""}


def _text_lines(content: str, *_: object) -> Iterator[Row | BadRow]:
    for line, written in enumerate(io.StringIO(content, newline=None), 1):
        if written.strip():
            yield Row(line, written.removesuffix("\n"), "")


def _conll(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    if text or label:
        rule = "no column is named: in a .conll the first one is the word and the last one the tag"
        raise Unreadable(1, rule, f"the names {_listed((*text, label))}")
    sentence: list[list[str]] = []  # the columns of every line
    begins = 0
    for line, written in enumerate(io.StringIO(content, newline=None), 1):
        columns = [column.strip() for column in written.split("\t" if "\t" in written.rstrip() else None)]
        if any(columns) and columns[0] != "-DOCSTART-":
            begins = begins if sentence else line
            sentence.append(columns)
        elif sentence:
            yield _sentence(begins, sentence, may_be_cut=False)
            sentence = []
    if sentence:
        yield _sentence(begins, sentence, may_be_cut=not ends_in_a_line(content))


def _sentence(begins: int, lines: list[list[str]], may_be_cut: bool) -> Row | BadRow:
    width = max(2, len(lines[0]))
    for line, columns in enumerate(lines, begins):
        if len(columns) != width:
            rule = f"a word and its tag, {width} columns in every line of the sentence"
            return BadRow(line, rule, f"{len(columns)} columns: {' '.join(columns)[:_SHOWN]}")
    return Row(begins, [columns[0] for columns in lines], [columns[-1] for columns in lines], may_be_cut, lines_per_word=1)


def _text_or_pair(parts: list[str]) -> str | tuple[str, str]:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


_PARSERS: dict[str, Callable[[str, tuple[str, ...], str], Iterator[Row | BadRow]]] = {
    ".csv": partial(_named_columns, delimiter=","),
    ".tsv": partial(_named_columns, delimiter="\t"),
    ".jsonl": _json_lines,
    ".conll": _conll,
}
_UNLABELLED_PARSERS: dict[str, Callable[[str, tuple[str, ...], str], Iterator[Row | BadRow]]] = {
    ".txt": _text_lines,
    ".csv": partial(_named_columns, delimiter=",", labelled=False),
    ".tsv": partial(_named_columns, delimiter="\t", labelled=False),
    ".jsonl": partial(_json_lines, labelled=False),
}
SUFFIXES, UNLABELLED_SUFFIXES = tuple(_PARSERS), tuple(_UNLABELLED_PARSERS)
