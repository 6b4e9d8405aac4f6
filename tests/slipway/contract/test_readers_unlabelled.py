"""Texts without labels: what a file holds beside them is refused, and its fix leaves the texts."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row

TEXTS = [f"a longer text of its own, number {number}" for number in range(24)]


def refused(path: Path, content: str, text: tuple[str, ...] = ()) -> BadRow:
    path.write_text(content, "utf-8")
    (row,) = readers.read(path, text, labelled=False)
    assert isinstance(row, BadRow)
    assert row.breaks
    return row


def lines(form: str) -> str:
    return "".join(form.format(row=row, text=text, label="ab"[row % 2]) + "\n" for row, text in enumerate(TEXTS))


@pytest.mark.parametrize(
    ("name", "content", "columns", "value"),
    [
        ("texts.csv", lines('"{text}"'), (), "the columns a longer"),
        ("texts.csv", "content\n" + lines('"{text}"'), (), "the columns content"),
        ("texts.csv", "id,content\n" + lines('{row},"{text}"'), (), "the columns id, content"),
        ("texts.csv", lines('"{text}"'), ("the headline",), "the columns a longer"),
        ("texts.csv", lines('{label},"{text}"'), (), "the columns a, a longer"),
        ("texts.csv", "text\n" + lines('"{text}"'), ("1",), "a header: text"),
        ("texts.tsv", lines("{row}\t{text}"), (), "the columns 0, a longer"),
        ("texts.txt", "Text\n" + lines("{text}"), (), "a header"),
        ("texts.txt", lines("{label}\t{text}"), (), "2 columns"),
        ("texts.txt", lines("__label__{label} {text}"), (), "labels: '__label__a"),
    ],
)
def test_a_file_that_is_not_texts_alone_is_refused_until_its_fix_is_run(
    tmp_path: Path, name: str, content: str, columns: tuple[str, ...], value: str
) -> None:
    path = tmp_path / f"my {name}"
    row = refused(path, content, columns)
    assert row.found.startswith(value)
    subprocess.run(row.remedy.format(path=shlex.quote(str(path))), shell=True, check=True)
    assert [row.text for row in readers.read(path, columns, labelled=False) if isinstance(row, Row)] == TEXTS


def test_words_with_tags_are_no_texts(tmp_path: Path) -> None:
    assert "words with tags" in refused(tmp_path / "texts.txt", "EU B-ORG\nrejects O\n\nGerman B-MISC\n").found


def test_json_in_a_txt_is_read_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert [row.text for row in readers.read(tmp_path / "texts.txt", labelled=False) if isinstance(row, Row)] == ["one", "two"]
    (tmp_path / "rows.txt").write_text('{"text": "one", "label": "A"}\n')
    assert [row.label for row in readers.read(tmp_path / "rows.txt") if isinstance(row, Row)] == ["A"]


def test_a_tab_in_some_texts_parts_no_columns(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\ttwo\nthree\n")
    assert [row.text for row in readers.read(tmp_path / "texts.txt", labelled=False) if isinstance(row, Row)] == [
        "one\ttwo",
        "three",
    ]


@pytest.mark.parametrize("none", ["-1", "-", "nan"])
def test_labels_that_stand_for_none_are_none(tmp_path: Path, none: str) -> None:
    (tmp_path / "texts.csv").write_text(f"text,label\none,{none}\n")
    (row,) = readers.read(tmp_path / "texts.csv", labelled=False)
    assert isinstance(row, Row)
    assert row.label == ""


@pytest.mark.parametrize(
    ("content", "alone"),
    [
        ("text\none\ntwo\n", True),
        ("text,label\none,\ntwo,\n", True),
        ("text,label\none,-1\ntwo,-1\n", True),
        ("text,label\none,-1\ntwo,A\n", False),
        ("text,mood\n" + lines('"{text}",{label}'), False),
        ("when,what\n1,2\n", False),
    ],
)
def test_a_file_holds_texts_alone_unless_a_column_looks_like_labels(tmp_path: Path, content: str, alone: bool) -> None:
    (tmp_path / "rows.csv").write_text(content)
    assert readers.holds_texts_alone(tmp_path / "rows.csv", list(readers.read(tmp_path / "rows.csv"))) == alone
