"""JSON in the forms that programs write: lines, arrays, tables by column, several labels a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row


def read(tmp_path: Path, content: str, name: str = "rows.json") -> list[Row | BadRow]:
    (tmp_path / name).write_text(content, "utf-8")
    return list(readers.read(tmp_path / name))


def sound(rows: list[Row | BadRow]) -> list[tuple[object, object]]:
    assert all(isinstance(row, Row) for row in rows), rows
    return [(row.text, row.label) for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n',
        '[{"text": "a", "label": 0}, {"text": "b", "label": 1}]',
        '[\n  {"text": "a",\n   "label": 0},\n  {"text": "b", "label": 1}\n]\n',
        '{"version": "1", "data": [{"text": "a", "label": 0}, {"text": "b", "label": 1}]}',
        '{"text": {"0": "a", "1": "b"}, "label": {"0": 0, "1": 1}}',
    ],
)
def test_rows_are_read_from_lines_arrays_and_columns(tmp_path: Path, name: str, content: str) -> None:
    assert sound(read(tmp_path, content, name)) == [("a", "0"), ("b", "1")]


def test_rows_of_an_array_are_named_by_their_lines(tmp_path: Path) -> None:
    rows = read(tmp_path, '[\n{"text": "a", "label": 0},\n{"text": "b"}\n]')
    assert [(row.line, isinstance(row, Row)) for row in rows] == [(2, True), (3, False)]


@pytest.mark.parametrize(
    "content", ['[{"text": "a", "label": 0}', '[{"text": "a", "label": 0}, {"text"', '[{"text": "a", "label": 0} {}]']
)
def test_an_array_that_is_cut_or_broken_is_refused(tmp_path: Path, content: str) -> None:
    *_, bad = read(tmp_path, content)
    assert isinstance(bad, BadRow)
    assert bad.breaks


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ('{"sentence1": "a", "sentence2": "b", "gold_label": "neutral", "pairID": "7"}', (("a", "b"), "neutral")),
        ('{"premise": "a", "hypothesis": "b", "label": 2}', (("a", "b"), "2")),
        ('{"sentence": "a", "label": 1, "idx": 0}', ("a", "1")),
        ('{"tokens": ["New", "York"], "ner_tags": [1, 2]}', (["New", "York"], ["1", "2"])),
    ],
)
def test_the_keys_of_published_rows_are_known(tmp_path: Path, content: str, row: tuple[object, object]) -> None:
    assert sound(read(tmp_path, content)) == [row]


@pytest.mark.parametrize(("written", "label"), [("true", "true"), ("1.0", "1.0"), ("-1", "-1"), ('" x "', "x")])
def test_a_label_is_taken_as_it_is_written(tmp_path: Path, written: str, label: str) -> None:
    assert sound(read(tmp_path, f'{{"text": "a", "label": {written}}}')) == [("a", label)]


@pytest.mark.parametrize("labels", ['["toxic", "insult"]', "[0, 1, 1]", '["toxic"]'])
@pytest.mark.parametrize("key", ["label", "labels"])
def test_several_labels_of_a_text_are_refused_by_what_they_are(tmp_path: Path, key: str, labels: str) -> None:
    (bad,) = read(tmp_path, f'{{"text": "a", "{key}": {labels}}}')
    assert isinstance(bad, BadRow)
    assert "multi-label" in bad.rule


def test_keys_that_are_not_known_are_refused_with_those_that_look_like_text_and_label(tmp_path: Path) -> None:
    lines = [json.dumps({"id": row, "tweet": f"a longer text, number {row}", "mood": row % 2}) for row in range(24)]
    (bad,) = read(tmp_path, "\n".join(lines))
    assert isinstance(bad, BadRow)
    assert (bad.breaks, bad.options) == (True, ("--text", "tweet", "--label", "mood"))


def test_keys_of_zero_and_one_are_several_labels_and_not_one(tmp_path: Path) -> None:
    lines = [json.dumps({"comment": f"a longer text, number {row}", "a": row % 2, "b": 0, "c": 1}) for row in range(24)]
    (bad,) = read(tmp_path, "\n".join(lines))
    assert isinstance(bad, BadRow)
    assert "multi-label" in bad.rule


@pytest.mark.parametrize("spans", ['[[0, 4, "LOC"]]', '[{"start": 0, "end": 4, "label": "LOC"}]'])
def test_places_in_a_text_are_refused_by_what_they_are(tmp_path: Path, spans: str) -> None:
    (bad,) = read(tmp_path, f'{{"text": "Rome is", "label": {spans}}}')
    assert isinstance(bad, BadRow)
    assert "spans" in bad.rule


def test_an_object_with_a_list_for_each_split_is_refused_with_their_names(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, '{"train": [{"text": "a", "label": 0}], "test": [{"text": "b", "label": 1}]}')
    assert isinstance(bad, BadRow)
    assert bad.found == "lists of rows under 'train' (1), 'test' (1)"
    assert "train.json, test.json" in bad.advice


def test_words_with_tags_are_read_beside_their_text(tmp_path: Path) -> None:
    content = '{"text": "In Rome", "tokens": ["In", "Rome"], "ner_tags": [0, 1]}\n'
    assert sound(read(tmp_path, content)) == [(["In", "Rome"], ["0", "1"])]


def test_a_comma_behind_each_object_changes_nothing(tmp_path: Path) -> None:
    assert sound(read(tmp_path, '{"text": "a", "label": 0},\n{"text": "b", "label": 1},\n')) == [("a", "0"), ("b", "1")]


def test_nan_is_a_label_that_stands_for_none(tmp_path: Path) -> None:
    assert sound(read(tmp_path, '{"text": "a", "label": NaN}\n')) == [("a", "nan")]


def test_a_list_under_labels_is_no_missing_label(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "labels": [1]}\n' * 3)
    assert not readers.holds_texts_alone(tmp_path / "rows.jsonl", list(readers.read(tmp_path / "rows.jsonl")))
