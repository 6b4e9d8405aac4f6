"""Labelled rows out of a person's own file, one reader for training and for the golden rows of a model from elsewhere.

    rows.csv, rows.tsv   a header; the columns text and label, of pairs text, text_b and label, or those that were named
    rows.jsonl           {"text": "…", "label": "…"}; of pairs {"text": ["…", "…"], …}; of a tagger {"words": […], "tags": […]}
    rows.conll           a word and its tag a line, in the first and the last column; an empty line between sentences

Files are UTF-8. A byte order mark, CRLF, empty lines, a missing last line end and spaces around a label change nothing.
A quote that opens a field of a .csv or .tsv must be closed; in .jsonl, quotes and line breaks need no care.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SUFFIXES = (".csv", ".tsv", ".jsonl", ".conll")
LONGEST_FIELD = 128 * 1024  # characters; a text this long is an accident, most often a quote that closes far below
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of a pair, which JSON can escape and UTF-8 cannot hold
_SHOWN = 60  # characters of a value in a message


class Row(NamedTuple):
    line: int  # where the row begins, from 1
    text: str | tuple[str, str] | list[str]  # a pair's both; of a tagger the words
    label: str | list[str]  # as it is written; of a tagger one a word
    may_be_cut: bool = False  # the file ends in this row's last label, without a line end
    lines_per_word: int = 0  # 1 in a .conll

    @property
    def labels(self) -> list[str]:
        return self.label if isinstance(self.label, list) else [self.label]

    def broken(self, rule: str, found: str, word: int = 0) -> BadRow:
        """This row as one that breaks a rule, of a tagger at one of its words."""
        return BadRow(self.line + word * self.lines_per_word, rule, found)

    @property
    def task(self) -> str:
        """One of bundle.TASKS."""
        return "tagging" if isinstance(self.label, list) else "text_pair" if isinstance(self.text, tuple) else "single_text"


class BadRow(NamedTuple):
    line: int
    rule: str  # what a row should be
    found: str
    breaks: bool = False  # the rows after it cannot be told apart, or the whole file cannot be read


def read(path: Path, text: Sequence[str] = (), label: str = "") -> Iterator[Row | BadRow]:
    """The rows of a file with one of SUFFIXES, in its order, and those that break a rule. All rows are of the first one's task.

    `text` names the text column, or two of a pair, `label` the label column; empty: by the names above.
    """
    content = decoded(path)
    if isinstance(content, BadRow):
        yield content
        return
    wanted = [*text, *([label] if label else [])]
    if len(text) > 2 or len(set(wanted)) < len(wanted):
        begins = repr(content.partition("\n")[0].strip()[:_SHOWN])
        rule = "one text column, or two of a pair, and another one with the label"
        yield BadRow(1, rule, f"the names {_listed(wanted)} for a file that begins with {begins}", True)
        return
    task, empty = "", True
    for row in _READERS[path.suffix](content, tuple(text), label):
        empty = False
        if isinstance(row, Row):
            task = task or row.task
            row = _broken_rule(row, task) or row
        yield row
    if empty:
        yield BadRow(1, "a file has at least one row", "0 rows", True)


def decoded(path: Path) -> str | BadRow:
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:2]:
        return BadRow(1, "the file is UTF-8", f"UTF-16 or UTF-32: it begins with the bytes {data[:4].hex(' ')}", True)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return BadRow(line, "the file is UTF-8", f"byte 0x{data[error.start]:02x} at offset {error.start}", True)


class Record(NamedTuple):
    """A row of a .csv or .tsv before anybody has looked at its columns."""

    line: int
    columns: list[str]
    ended: bool  # False: the last one, without a line end


def table(content: str, delimiter: str = ",") -> list[Record | BadRow]:
    """The rows of a CSV. Empty lines are none. A BadRow can only be the last: what comes after a broken quote is no row."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    found: list[Record | BadRow] = []
    line = 1
    before = csv.field_size_limit(len(content) + 1)  # csv would stop inside of a long field; LONGEST_FIELD is checked after it
    try:
        for columns in reader:
            if delimiter == "\t" and any("\t" in column and "\n" in column for column in columns):
                found.append(BadRow(line, "a quote that opens a field is closed in its row", repr(columns[0][:_SHOWN]), True))
                break
            if columns:
                found.append(Record(line, columns, ended=True))
            line = reader.line_num + 1
    except csv.Error as error:
        found.append(BadRow(line, "a quote that opens a field is closed, and quotes inside are doubled", str(error), True))
    finally:
        csv.field_size_limit(before)
    if found and isinstance(found[-1], Record) and not content.endswith(("\n", "\r")):
        found[-1] = found[-1]._replace(ended=False)
    return found


def broken_text(text: str) -> tuple[str, str] | None:
    """(rule, found) of the first rule that a text breaks, whatever file it comes from."""
    if not text.strip():
        return "a text is not empty", repr(text[:_SHOWN])
    if len(text) > LONGEST_FIELD:
        return f"a field holds at most {LONGEST_FIELD:,} characters", f"{len(text):,} characters"
    if character := _NO_CHARACTER.search(text):
        return "a text holds no NUL character and no half of a surrogate pair", repr(character.group())
    return None


def _is_dropped(character: str) -> bool:
    """Whether the tokenizer may drop it: controls, private use, white space, marks. Serving refuses a text of nothing else."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Co") or category[0] in "ZM" or character == "\ufffd"


def _broken_rule(row: Row, task: str) -> BadRow | None:
    if row.task != task:
        return row.broken(f"all rows are of one task, as the first one's {task}", row.task)
    for word, text in enumerate([row.text] if isinstance(row.text, str) else row.text or [""]):
        if broken := broken_text(text):
            return row.broken(*broken, word)
        if row.task != "tagging" and all(map(_is_dropped, text)):
            return row.broken("a text has a character that is read", repr(text[:_SHOWN]), word)
    for word, label in enumerate(row.labels):
        if broken_text(label) or len(label.splitlines()) != 1:  # labels.txt has a line for each
            return row.broken("a label is one line and not empty", repr(label[:_SHOWN]), word)
    return None


def _comma_separated(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    return _named_columns(table(content), text, label)


def _tab_separated(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    return _named_columns(table(content, "\t"), text, label)


def _named_columns(records: list[Record | BadRow], text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    """The first record is the header."""
    if not records or isinstance(records[0], BadRow):
        yield from (one for one in records if isinstance(one, BadRow))
        return
    names = [name.strip() for name in records[0].columns]
    texts = text or (("text", "text_b") if "text_b" in names else ("text",))
    label = label or "label"
    if any(names.count(name) != 1 for name in (*texts, label)):
        rule = f"a header with the columns {_listed((*texts, label))}, each once"
        yield BadRow(records[0].line, rule, f"the columns {_listed(names)}", True)
        return
    text_at, label_at = [names.index(name) for name in texts], names.index(label)
    for record in records[1:]:
        if isinstance(record, BadRow):
            yield record
        elif len(record.columns) != len(names):
            yield BadRow(record.line, f"a row has {len(names)} columns: {_listed(names)}", f"{len(record.columns)} columns")
        elif record.columns == records[0].columns:
            yield BadRow(record.line, "a file has one header", "it again, as where files were put together")
        else:
            parts = [record.columns[at] for at in text_at]
            cut = not record.ended and label_at == len(names) - 1
            yield Row(record.line, _one_or_pair(parts), record.columns[label_at].strip(), cut)


def _json_lines(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    for line, written in enumerate(content.split("\n"), 1):  # splitlines would also split at U+2028
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except (ValueError, RecursionError) as error:
            yield BadRow(line, "every line is a JSON object", f"{getattr(error, 'msg', error)}: {written[:_SHOWN]}")
            continue
        if isinstance(row, dict):
            yield _json_row(line, row, text, label)
        else:
            yield BadRow(line, "every line is a JSON object", written[:_SHOWN])


def _json_row(line: int, row: dict[str, Any], text: tuple[str, ...], label: str) -> Row | BadRow:
    texts = text or (("words",) if "words" in row and "text" not in row else ("text",))
    label = label or ("tags" if "tags" in row and "label" not in row else "label")
    if not {*texts, label} <= row.keys():
        return BadRow(line, f"a row has the columns {_listed((*texts, label))}", f"the columns {_listed(row)}")
    value = row[texts[0]] if len(texts) == 1 else [row[name] for name in texts]
    parts = value if isinstance(value, list) else [value]
    tags = row[label] if isinstance(row[label], list) else [row[label]]
    if not all(isinstance(part, str) for part in parts):
        return BadRow(line, "a text is a string, of a pair two strings, of a tagger a list of words", repr(value)[:_SHOWN])
    if not all(isinstance(tag, str | int) for tag in tags):
        return BadRow(line, "a label is a string or a whole number", repr(row[label])[:_SHOWN])
    written = [str(tag).strip() for tag in tags]
    if isinstance(row[label], list):
        if isinstance(value, list) and len(parts) == len(tags):
            return Row(line, parts, written)
        return BadRow(line, "a list of words and as many tags", f"{repr(value)[:_SHOWN]} and {len(tags)} tags")
    if isinstance(value, list) and len(parts) != 2:
        return BadRow(line, "a text, or two of a pair", f"{len(parts)} texts")
    return Row(line, _one_or_pair(parts), written[0])


def _conll(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    if text or label:
        rule = "no column is named: in a .conll the first one is the word and the last one the tag"
        yield BadRow(1, rule, f"the names {_listed((*text, label))}", True)
        return
    sentence: list[list[str]] = []  # of every line the columns
    begins = 0
    for line, written in enumerate(io.StringIO(content, newline=None), 1):
        columns = [one.strip() for one in written.split("\t" if "\t" in written.rstrip() else None)]
        if any(columns) and columns[0] != "-DOCSTART-":
            begins = begins if sentence else line
            sentence.append(columns)
        elif sentence:
            yield _sentence(begins, sentence, may_be_cut=False)
            sentence = []
    if sentence:
        yield _sentence(begins, sentence, may_be_cut=not content.endswith(("\n", "\r")))


def _sentence(begins: int, lines: list[list[str]], may_be_cut: bool) -> Row | BadRow:
    width = max(2, len(lines[0]))
    for line, columns in enumerate(lines, begins):
        if len(columns) != width:
            rule = f"a word and its tag, {width} columns in every line of the sentence"
            return BadRow(line, rule, f"{len(columns)} columns: {' '.join(columns)[:_SHOWN]}")
    return Row(begins, [columns[0] for columns in lines], [columns[-1] for columns in lines], may_be_cut, lines_per_word=1)


def _one_or_pair(parts: list[str]) -> str | tuple[str, str]:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


_READERS: dict[str, Callable[[str, tuple[str, ...], str], Iterator[Row | BadRow]]] = dict(
    zip(SUFFIXES, (_comma_separated, _tab_separated, _json_lines, _conll), strict=True)
)
