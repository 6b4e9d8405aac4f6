from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.contract import readers
from slipway.contract.readers import BadRow, Row


def read(tmp_path: Path, name: str, content: str | bytes, text: tuple[str, ...] = (), label: str = "") -> list[Row | BadRow]:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(readers.read(tmp_path / name, text, label))


def sound(found: list[Row | BadRow]) -> list[tuple[object, object]]:
    assert all(isinstance(row, Row) for row in found), found
    return [(row.text, row.label) for row in found if isinstance(row, Row)]


def the_bad(found: list[Row | BadRow]) -> BadRow:
    (bad,) = [row for row in found if isinstance(row, BadRow)]
    return bad


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "id,headline,kind\n7,Oil up,World\n"),
        ("rows.tsv", "kind\tid\theadline\nWorld\t7\tOil up\n"),
        ("rows.jsonl", '{"id": 7, "headline": "Oil up", "kind": "World"}\n'),
    ],
)
def test_named_columns_are_read_among_others(tmp_path: Path, name: str, content: str) -> None:
    assert sound(read(tmp_path, name, content, ("headline",), "kind")) == [("Oil up", "World")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "q,a,same\none,two,1\n"),
        ("rows.tsv", "q\ta\tsame\none\ttwo\t1\n"),
        ("rows.jsonl", '{"q": "one", "a": "two", "same": 1}\n'),
    ],
)
def test_two_text_columns_are_a_pair(tmp_path: Path, name: str, content: str) -> None:
    found = read(tmp_path, name, content, ("q", "a"), "same")
    assert sound(found) == [(("one", "two"), "1")]
    assert [row.task for row in found if isinstance(row, Row)] == ["text_pair"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.conll", "-DOCSTART- -X- O\n\nNew NNP B\nYork NNP I\n\n\nYes UH O\n"),
        ("rows.conll", "New\tB\r\nYork\tI\r\n\r\nYes\tO\r\n"),
        ("rows.jsonl", '{"words": ["New", "York"], "tags": ["B", "I"]}\n{"words": ["Yes"], "tags": ["O"]}\n'),
        ("rows.jsonl", '{"text": ["New", "York"], "label": ["B", "I"]}\n{"text": ["Yes"], "label": ["O"]}'),
    ],
)
def test_words_with_tags_are_read(tmp_path: Path, name: str, content: str) -> None:
    assert sound(read(tmp_path, name, content)) == [(["New", "York"], ["B", "I"]), (["Yes"], ["O"])]


def test_a_word_with_a_space_is_one_word_where_columns_are_parted_by_tabs(tmp_path: Path) -> None:
    assert sound(read(tmp_path, "rows.conll", "New York\tB\n")) == [(["New York"], ["B"])]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.conll"])
@pytest.mark.parametrize("change", ["bom", "crlf", "no line end", "empty lines"])
def test_a_byte_order_mark_crlf_and_line_ends_change_nothing(tmp_path: Path, name: str, change: str) -> None:
    plain = {"csv": "text,label\na,W\nb,W\n", "jsonl": '{"text": "a", "label": "W"}\n', "conll": "a W\nb W\n"}[name[5:]]
    changed = {
        "bom": "\ufeff" + plain,
        "crlf": plain.replace("\n", "\r\n"),
        "no line end": plain[:-1],
        "empty lines": plain + "\n\n",
    }
    assert sound(read(tmp_path, name, changed[change])) == sound(read(tmp_path, name, plain))


def test_quoted_fields_hold_line_breaks_and_lines_are_still_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "rows.csv", 'text,label\n"two\nlines",W\nonly one\n')
    assert found[0] == Row(2, "two\nlines", "W")
    assert the_bad(found).line == 4


@pytest.mark.parametrize(
    ("name", "content", "line", "rule", "value"),
    [
        ("rows.csv", "text,label\na\n", 2, "2 columns: text, label", "1 columns"),
        ("rows.csv", "text,label\na,W,more\n", 2, "2 columns", "3 columns"),
        ("rows.csv", "text,label\na, \n", 2, "a label is one line and not empty", "''"),
        ("rows.csv", "text,label\n ,W\n", 2, "a text is not empty", "' '"),
        ("rows.csv", "text,text_b,label\none,,W\n", 2, "a text is not empty", "''"),
        ("rows.csv", "text,label\n\u200b\u0301,W\n", 2, "a character that is read", "u200b"),
        ("rows.csv", "text,label\na\0b,W\n", 2, "NUL", "x00"),
        ("rows.csv", "text,label\n" + "x" * 131_073 + ",W\n", 2, "131,072 characters", "131,073 characters"),
        ("rows.csv", 'text,label\na,"W\nX"\n', 2, "a label is one line", "W"),
        ("rows.jsonl", '{"text": "a", "lab', 1, "every line is a JSON object", "Unterminated string"),
        ("rows.jsonl", "[" * 100_000, 1, "every line is a JSON object", "["),
        ("rows.jsonl", "7\n", 1, "every line is a JSON object", "7"),
        ("rows.jsonl", '{"title": "a", "label": "W"}\n', 1, "the columns text, label", "the columns title, label"),
        ("rows.jsonl", '{"text": 7, "label": "W"}\n', 1, "a text is a string", "7"),
        ("rows.jsonl", '{"text": "a", "label": null}\n', 1, "a label is one line and not empty", "''"),
        ("rows.jsonl", '{"text": "a", "label": 1.5}\n', 1, "a string or a whole number", "1.5"),
        ("rows.jsonl", '{"text": ["a"], "label": "W"}\n', 1, "two of a pair", "1 texts"),
        ("rows.jsonl", '{"text": ["a", "b"], "label": ["B"]}\n', 1, "as many tags", "1 tags"),
        ("rows.jsonl", '{"text": [], "label": []}\n', 1, "a text is not empty", "''"),
        ("rows.jsonl", '{"text": "\\ud800", "label": "W"}\n', 1, "surrogate", "ud800"),
        ("rows.jsonl", '{"text": "\\u0000", "label": "W"}\n', 1, "surrogate", "x00"),
        ("rows.conll", "New NNP B\nYork NNP\n", 2, "3 columns in every line", "York NNP"),
        ("rows.conll", "Rome\n", 1, "a word and its tag", "Rome"),
        ("rows.conll", "New\tB\n\tI\n", 2, "a text is not empty", "''"),
    ],
)
def test_a_row_that_breaks_a_rule_is_told_apart(tmp_path: Path, name: str, content: str, line: int, rule: str, value: str) -> None:
    bad = the_bad(read(tmp_path, name, content))
    assert (bad.line, bad.breaks) == (line, False)
    assert rule in bad.rule
    assert value in bad.found


@pytest.mark.parametrize(
    ("name", "content", "line", "rule", "value"),
    [
        ("rows.csv", b'text,label\na,W\n"b,W\nc,W\n', 3, "quote that opens a field is closed", "unexpected end"),
        ("rows.csv", b'text,label\n"b" c,W\n', 2, "quote that opens a field is closed", "expected after"),
        ("rows.tsv", b'text\tlabel\n"a\tx\nb\nc"\tW\n', 2, "closed in its row", "a"),
        ("rows.csv", b"text,label\na,W\n\xff,W\n", 3, "UTF-8", "0xff at offset 15"),
        ("rows.csv", "text,label\na,W\n".encode("utf-16"), 1, "UTF-8", "UTF-16"),
        ("rows.jsonl", "{}".encode("utf-16-le"), 1, "UTF-8", "UTF-16"),
        ("rows.conll", "a B".encode("utf-32"), 1, "UTF-8", "UTF-32"),
        ("rows.csv", b"", 1, "at least one row", "0 rows"),
        ("rows.csv", b"text,label\n", 1, "at least one row", "0 rows"),
        ("rows.jsonl", b"\n \n", 1, "at least one row", "0 rows"),
        ("rows.conll", b"-DOCSTART- O\n", 1, "at least one row", "0 rows"),
        ("rows.csv", b"a,World\nb,Sports\n", 1, "a header with the columns text, label", "the columns a, World"),
        ("rows.csv", b"text;kind\na;W\n", 1, "a header with the columns text, label", "text, kind"),
        ("rows.csv", b"text,label,text\na,W,b\n", 1, "each once", "the columns text, label, text"),
    ],
)
def test_what_makes_the_rest_unreadable_is_marked_so(
    tmp_path: Path, name: str, content: bytes, line: int, rule: str, value: str
) -> None:
    bad = the_bad(read(tmp_path, name, content))
    assert (bad.line, bad.breaks) == (line, True)
    assert rule in bad.rule
    assert value in bad.found


@pytest.mark.parametrize(
    ("text", "label"), [(("text",), "text"), (("text", "text"), "label"), (("text", "label", "id"), "x"), (("headline",), "label")]
)
def test_names_that_cannot_be_columns_are_refused_with_those_there_are(tmp_path: Path, text: tuple[str, ...], label: str) -> None:
    bad = the_bad(read(tmp_path, "rows.csv", "id,text,label\n1,a,W\n", text, label))
    assert bad.breaks
    assert "id,text,label" in bad.found.replace(", ", ",")


def test_a_conll_file_has_no_names(tmp_path: Path) -> None:
    assert "the names form" in the_bad(read(tmp_path, "rows.conll", "a B\n", ("form",))).found


def test_rows_of_another_task_than_the_first_are_bad(tmp_path: Path) -> None:
    lines = [{"text": "a", "label": 0}, {"text": ["a", "b"], "label": 0}, {"text": ["a"], "label": ["B"]}]
    found = read(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, lines)))
    assert [row.line for row in found if isinstance(row, BadRow)] == [2, 3]


def test_reading_a_long_field_leaves_the_csv_modules_limit_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    read(tmp_path, "rows.csv", "text,label\n" + "x" * 200_000 + ',W\n"')
    assert csv.field_size_limit() == before


def test_a_header_that_comes_again_is_no_row(tmp_path: Path) -> None:
    bad = the_bad(read(tmp_path, "rows.csv", "text,label\nOil up,World\ntext,label\nOil down,World\n"))
    assert (bad.line, bad.rule) == (3, "a file has one header")


def texts(tmp_path: Path, name: str, content: str, text: tuple[str, ...] = ()) -> list[Row | BadRow]:
    """Read a file without labels."""
    (tmp_path / name).write_text(content, "utf-8")
    return list(readers.read(tmp_path / name, text, labelled=False))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "\ufeffOil, up\r\n\n  \nGoal"),
        ("texts.csv", 'text\n"Oil, up"\nGoal\n'),
        ("texts.csv", 'text,label\n"Oil, up",\nGoal, \n'),
        ("texts.tsv", "id\ttext\n1\tOil, up\n2\tGoal\n"),
        ("texts.jsonl", '{"text": "Oil, up"}\n{"text": "Goal", "label": null}\n'),
        ("texts.jsonl", '{"text": "Oil, up", "label": ""}\n{"text": "Goal", "id": 7}\n'),
    ],
)
def test_texts_without_labels_are_read_with_an_empty_one(tmp_path: Path, name: str, content: str) -> None:
    assert sound(texts(tmp_path, name, content)) == [("Oil, up", ""), ("Goal", "")]


@pytest.mark.parametrize(
    ("name", "content"), [("texts.csv", "text,text_b\none,two\n"), ("texts.jsonl", '{"text": ["one", "two"]}\n')]
)
def test_pairs_without_labels_are_read(tmp_path: Path, name: str, content: str) -> None:
    assert sound(texts(tmp_path, name, content)) == [(("one", "two"), "")]


def test_a_line_of_a_txt_may_hold_any_line_separator_but_a_line_end(tmp_path: Path) -> None:
    assert sound(texts(tmp_path, "texts.txt", "one\u2028two\n")) == [("one\u2028two", "")]


def test_a_named_text_column_is_read_without_labels(tmp_path: Path) -> None:
    assert sound(texts(tmp_path, "texts.csv", "headline\nOil up\n", ("headline",))) == [("Oil up", "")]


@pytest.mark.parametrize(
    ("name", "content", "line", "value"),
    [("texts.csv", "text,label\na,\nb,World\n", 3, "World"), ("texts.jsonl", '{"text": "a", "label": 0}\n', 1, "0")],
)
def test_a_label_among_texts_without_labels_is_a_bad_row(tmp_path: Path, name: str, content: str, line: int, value: str) -> None:
    bad = the_bad(texts(tmp_path, name, content))
    assert (bad.line, bad.rule) == (line, "a text without a label, in a file of such texts")
    assert value in bad.found


@pytest.mark.parametrize(
    ("name", "content", "line", "rule"),
    [
        ("texts.txt", "\n\n", 1, "at least one row"),
        ("texts.txt", "fine\n\u200b\n", 2, "a character that is read"),
        ("texts.csv", "headline\na\n", 1, "a header with the columns text"),
        ("texts.jsonl", '{"text": ["a"]}\n', 1, "two of a pair"),
    ],
)
def test_texts_without_labels_obey_the_rules_for_texts(tmp_path: Path, name: str, content: str, line: int, rule: str) -> None:
    bad = the_bad(texts(tmp_path, name, content))
    assert bad.line == line
    assert rule in bad.rule


def test_a_label_of_nothing_that_is_seen_is_bad_and_shown_with_escapes(tmp_path: Path) -> None:
    bad = the_bad(read(tmp_path, "rows.csv", "text,label\na,\u200b\n"))
    assert (bad.rule, bad.found) == ("a label is one line and not empty", "'\\u200b'")
