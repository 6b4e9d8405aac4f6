"""Labelled rows of a person's own file, for training and for the golden rows of an imported model.

    rows.csv, rows.tsv   a header; columns text and label (pair: text, text_b and label), those
                         that were named, or those of a published form
    rows.jsonl           {"text": "…", "label": "…"}; pair: {"text": ["…", "…"], …};
    rows.json            tagger: {"words": […], "tags": […]}; a line each, or an array of them
    rows.conll           a word and its tag a line, in the first and the last column; an empty line
                         between sentences
    rows.txt             the same, or a table with tabs, or fastText's lines: __label__good a text
    rows.parquet         a table whose columns are called as a .jsonl's keys, in one file or in
    rows.arrow, .feather several; numbers of labels get the names that `datasets` keeps in it

Forms and what is known of them: slipway/contract/formats/. A column without a name is named by its
number, from 1. Each file may be gzipped, as rows.csv.gz. A file of texts without labels has no
label column, or an empty one; it may also be a .txt with a text a line.

Files are UTF-8, or in the encoding that is given. A byte order mark, CRLF, empty lines, a missing
last line end and spaces around a label change nothing. A quote that opens a field of a .csv must be
closed; in .jsonl, quotes and line breaks need no care.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from slipway.contract import manifest
from slipway.contract.formats import arrow, conll, json_rows, lines, tables
from slipway.contract.formats.encoding import decoded
from slipway.contract.formats.rows import (
    LONGEST_FIELD,
    SHOWN,
    BadRow,
    Row,
    Unreadable,
    is_none,
    listed,
    with_broken_label,
    with_broken_text,
    without_label,
)

__all__ = [
    "LONGEST_FIELD",
    "SUFFIXES",
    "UNLABELLED_SUFFIXES",
    "BadRow",
    "Row",
    "Unreadable",
    "holds_texts_alone",
    "label_names",
    "parts",
    "read",
    "sha256",
    "suffix",
]

_Parser = Callable[[str, tuple[str, ...], str], Iterator[Row | BadRow]]


def read(
    path: Path,
    text: Sequence[str] = (),
    label: str = "",
    *,
    labelled: bool = True,
    encoding: str = "",
    missing: Collection[str] = (),
) -> Iterator[Row | BadRow]:
    """Yield the rows of a file with one of SUFFIXES in its order, bad ones among them.

    `text` names the text column or the two of a pair, `label` the label column; empty: the names
    above. All rows must be of the first one's task. Labels in `missing` are yielded even if they
    are empty. Not `labelled`: a file with one of UNLABELLED_SUFFIXES, whose rows are yielded with
    the label "".
    """
    task = ""
    for row in complete(_parsed(path, tuple(text), label, labelled, encoding)):
        if isinstance(row, Row):
            task = task or row.task
            checked = (with_broken_label(row, missing) or row) if labelled else without_label(row)
            row = with_broken_text(row, task) or checked
        yield row


def holds_texts_alone(
    path: Path, rows: Sequence[Row | BadRow], text: Sequence[str] = (), label: str = "", encoding: str = ""
) -> bool:
    """Return whether a file has no labels, as test rows are published whose labels are secret.

    `rows` are those that `read` yields with the same names. Where a column is there that looks like
    labels, by the refusal of the rows, the file has some.
    """
    sound = [row for row in rows if isinstance(row, Row)]
    if sound:
        return len(sound) == len(rows) and all(isinstance(row.label, str) and is_none(row.label) for row in sound)
    first = rows[0]
    is_fixed = isinstance(first, BadRow) and (first.remedy or (first.options[:1] == ("--text",) and "NAME" not in first.options))
    if suffix(path) not in UNLABELLED_SUFFIXES or is_fixed:
        return False
    return all(isinstance(row, Row) for row in read(path, text, label, labelled=False, encoding=encoding))


def suffix(path: Path) -> str:
    """Return the ending that says what a file holds: small, and without a .gz after it."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def parts(path: Path) -> list[Path]:
    """Return the files that hold the rows of a file: itself, or all of a table in several files."""
    return arrow.parts(path) if suffix(path) in arrow.SUFFIXES else [path]


def sha256(path: Path) -> str:
    """Return the sha256 of a file; of a table in several files, of all their sha256."""
    hashes = [manifest.sha256(part) for part in parts(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def label_names(path: Path, text: Sequence[str] = (), label: str = "") -> tuple[str, ...]:
    """Return the names that a file keeps for its label numbers, in the order of the numbers.

    `text` and `label` are as for `read`. () where none are kept or it is damaged.
    """
    try:
        return arrow.label_names(path, tuple(text), label) if _is_table(path) else ()
    except Unreadable:
        return ()


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


def _is_table(path: Path) -> bool:
    return suffix(path) in arrow.SUFFIXES or arrow.holds(path)


def _parsed(path: Path, text: tuple[str, ...], label: str, labelled: bool, encoding: str) -> Iterator[Row | BadRow]:
    is_text = not _is_table(path)
    content = decoded(path, encoding) if is_text else ""
    wanted = [*text, *filter(None, [label])]
    if len(text) > 2 or len(set(wanted)) < len(wanted):
        begins = f" that begins with {content.partition(chr(10))[0].strip()[:SHOWN]!r}" if is_text else ""
        rule = "one text column, or two of a pair, and another one with the label"
        raise Unreadable(1, rule, f"the names {listed(wanted)} for a file{begins}")
    if is_text:
        yield from (_PARSERS if labelled else _UNLABELLED_PARSERS)[suffix(path)](content, text, label)
    else:
        yield from arrow.rows(path, text, label, encoding, labelled=labelled)


def _tab_table(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    """Yield the rows of a .tsv, which GermEval uses for words with tags, too."""
    return conll.rows(content, text, label) if conll.holds(content) else tables.rows(content, text, label, "\t")


def _of_any_form(content: str, text: tuple[str, ...], label: str) -> Iterator[Row | BadRow]:
    """Yield the rows of a .txt: words with tags, a table with tabs, JSON, or lines of fastText."""
    if lines.are_labelled(content):
        return lines.of_fasttext(content)
    if json_rows.holds(content):
        return json_rows.rows(content, text, label)
    written = [line for line in content.split("\n") if line.strip()]
    if conll.holds(content) or sum("\t" in line for line in written) * 2 > len(written):
        return _tab_table(content, text, label)
    rule = "a .txt with labels has words with tags, or columns with tabs between them"
    raise Unreadable(1, rule, repr("".join(written[:1])[:SHOWN]), remedy=lines.parting(written))


_PARSERS: dict[str, _Parser] = {
    ".csv": partial(tables.rows, delimiter=","),
    ".tsv": _tab_table,
    ".jsonl": json_rows.rows,
    ".json": json_rows.rows,
    ".conll": conll.rows,
    ".conllu": conll.rows,
    **dict.fromkeys((".txt", ".train", ".testa", ".testb"), _of_any_form),  # CoNLL-2003: eng.train, eng.testa
}
_UNLABELLED_PARSERS: dict[str, _Parser] = {
    ".txt": lines.of_texts,
    ".csv": partial(tables.rows, delimiter=",", labelled=False),
    ".tsv": partial(tables.rows, delimiter="\t", labelled=False),
    ".jsonl": partial(json_rows.rows, labelled=False),
    ".json": partial(json_rows.rows, labelled=False),
}
SUFFIXES = (*_PARSERS, *arrow.SUFFIXES)
UNLABELLED_SUFFIXES = (*_UNLABELLED_PARSERS, *arrow.SUFFIXES)
