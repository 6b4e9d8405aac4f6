from __future__ import annotations

from pathlib import Path

import pytest

from export import import_savedmodel
from slipway.errors import CorpusError

NAMES = ["World", "Sports"]


def read(tmp_path: Path, name: str, text: str) -> import_savedmodel.GoldenRows:
    (tmp_path / name).write_text(text, "utf-8")
    return import_savedmodel.read_golden_rows(tmp_path / name, NAMES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", 'text,label\n"Oil, up",World\nGoal,1\n'),
        ("rows.tsv", "label\ttext\n0\tOil, up\nSports\tGoal\n"),
        ("rows.jsonl", '{"text": "Oil, up", "label": 0}\n{"text": "Goal", "label": "Sports"}\n'),
    ],
)
def test_single_texts_are_read_with_labels_by_name_or_number(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == import_savedmodel.GoldenRows("single_text", ["Oil, up", "Goal"], [0, 1])


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.csv", "\ufefftext,label\na,World\n").texts == ["a"]


def test_labels_that_are_numbers_are_names_and_not_places(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n")
    assert import_savedmodel.read_golden_rows(tmp_path / "rows.csv", ["1", "2"]).labels == [0, 1]


@pytest.mark.parametrize("names", [["A"], ["A", "A"], ["A", ""]])
def test_labels_that_are_no_choice_are_refused(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,A\n")
    with pytest.raises(CorpusError, match="two labels or more"):
        import_savedmodel.read_golden_rows(tmp_path / "rows.csv", names)


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows.csv", "text,text_b,label\na,b,World\n"), ("rows.jsonl", '{"text": ["a", "b"], "label": "World"}\n')],
)
def test_pairs_are_read(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == import_savedmodel.GoldenRows("text_pair", [["a", "b"]], [0])


def test_sentences_are_read_from_conll(tmp_path: Path) -> None:
    result = read(tmp_path, "rows.conll", "-DOCSTART- O\n\nIn IN World\nRome NNP Sports\n\n\nYes World\n")
    assert result == import_savedmodel.GoldenRows("tagging", [["In", "Rome"], ["Yes"]], [[0, 1], [0]])


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("rows.csv", "headline,label\na,World\n", "rows.csv:1"),
        ("rows.csv", "text,label\na,World\nb,Weather\n", "rows.csv:3"),
        ("rows.csv", "text,label\na\n", "rows.csv:2"),
        ("rows.csv", "text,label\n", "0 rows"),
        ("rows.jsonl", '{"text": "a", "label": "World"}\nno json\n', "rows.jsonl:2"),
        ("rows.jsonl", '{"text": ["a"], "label": "World"}\n', "rows.jsonl:1"),
        ("rows.jsonl", '{"text": "a", "label": 0}\n{"text": ["a", "b"], "label": 0}\n', "single_text"),
        ("rows.conll", "Rome\n", "rows.conll:1"),
        ("rows.conll", "Rome NNP City\n", "rows.conll:1"),
        ("rows.xml", "", "'.xml'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, where: str) -> None:
    with pytest.raises(CorpusError, match=where):
        read(tmp_path, name, text)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"text,label\n\xff,World\n")
    with pytest.raises(CorpusError, match="UTF-8"):
        import_savedmodel.read_golden_rows(tmp_path / "rows.csv", NAMES)
