"""How the lines of a file become questions, and what is said of those that do not."""

from __future__ import annotations

import io
from typing import Any

import pytest

from slipway.client.files import questions
from slipway.client.files.questions import Form, InputLine, Source, read_line
from slipway.errors import CorpusError, UsageError


def source(content: bytes, form: Form, task: str = "single_text") -> Source:
    return questions.read(io.BytesIO(content), "rows", form, task)


def lines(content: bytes, form: Form, task: str = "single_text") -> list[InputLine]:
    return list(source(content, form, task).lines)


@pytest.mark.parametrize(
    ("raw", "task", "question"),
    [
        ("one text\r\n", "single_text", "one text"),
        ("with\ta tab", "single_text", "with\ta tab"),
        ("first\tsecond\tand its tab", "text_pair", ("first", "second\tand its tab")),
        ("three small  words", "tagging", ["three", "small", "words"]),
        ("", "single_text", ""),  # for the model to refuse
    ],
)
def test_a_plain_line_is_one_question(raw: str, task: str, question: Any) -> None:
    line = read_line(1, raw.encode(), task, jsonl=False)
    assert (line.question, line.error) == (question, "")


@pytest.mark.parametrize(
    ("raw", "task", "question"),
    [
        ('{"text": "one\\ntext", "label": 3}', "single_text", "one\ntext"),
        ('{"text_b": "second", "text": "first"}', "text_pair", ("first", "second")),
        ('{"words": ["three", "small", "words"]}', "tagging", ["three", "small", "words"]),
    ],
)
def test_a_json_line_is_one_question(raw: str, task: str, question: Any) -> None:
    line = read_line(1, raw.encode(), task, jsonl=True)
    assert (line.question, line.error) == (question, "")


def test_what_a_json_line_held_is_kept() -> None:
    assert read_line(1, b'{"text": "a", "id": 7}', "single_text", jsonl=True).fields == {"text": "a", "id": 7}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_line(1, b"\xef\xbb\xbftext\n", "single_text", jsonl=False).question == "text"


@pytest.mark.parametrize(
    ("raw", "task", "jsonl", "error"),
    [
        (b"ab\xffcd", "single_text", False, "can't decode byte 0xff in position 2"),
        (b"only one", "text_pair", False, "'text_b', a string; found text"),
        (b"{", "single_text", True, "line 1 column 2"),
        (b"[" * 100_000, "single_text", True, "recursion"),
        (b"3", "single_text", True, "expected a JSON object, found int"),
        (b'{"title": "a"}', "single_text", True, "expected 'text', a string; found title"),
        (b'{"text": 3}', "single_text", True, "'text', a string"),
        (b'{"text": "a", "text_b": null}', "text_pair", True, "'text_b', a string"),
        (b'{"words": "a b"}', "tagging", True, "'words', a list of words"),
        (b'{"words": []}', "tagging", True, "'words', a list of words"),
        (b'{"text": "\\ud800"}', "single_text", True, "surrogates not allowed"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(raw: bytes, task: str, jsonl: bool, error: str) -> None:
    line = read_line(1, raw, task, jsonl)
    assert line.question is None
    assert error in line.error


def test_the_field_of_a_json_line_may_have_another_name() -> None:
    assert read_line(1, b'{"review": "a"}', "single_text", True, ("review",)).question == "a"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("news.txt", "text"),
        ("-", "text"),
        ("a.JSONL", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.csv", "csv"),
        ("a.tsv", "tsv"),
        ("a.parquet", "parquet"),
    ],
)
def test_a_files_name_says_how_it_is_read(file: str, name: str) -> None:
    assert Form.of(file, None, (), header=True, quotes=True).name == name


def test_a_json_file_is_asked_about() -> None:
    with pytest.raises(UsageError, match=r"json\.load.* a\.json \| "):
        Form.of("a.json", None, (), header=True, quotes=True)


def test_a_named_format_wins_over_the_files_name() -> None:
    assert Form.of("news.txt", "csv", (), header=True, quotes=True).name == "csv"


@pytest.mark.parametrize(
    ("name", "columns", "header", "quotes"),
    [
        ("text", ("a",), True, True),
        ("jsonl", (), False, True),
        ("csv", (), True, False),
        ("csv", ("a", "b", "c"), True, True),
        ("parquet", (), False, True),
    ],
)
def test_options_that_do_not_go_with_the_format_are_refused(
    name: str, columns: tuple[str, ...], header: bool, quotes: bool
) -> None:
    with pytest.raises(UsageError, match="does not go with"):
        Form.of("-", name, columns, header, quotes)


def test_a_table_is_read_by_the_named_column_and_keeps_the_others() -> None:
    table = source(b'id,review\n1,"good, ""very"" good"\n2,"two\nlines"\n', Form("csv", ("review",)))
    rows = list(table.lines)
    assert table.columns == ("id", "review")
    assert [row.question for row in rows] == ['good, "very" good', "two\nlines"]
    assert [row.fields["id"] for row in rows] == ["1", "2"]


def test_a_tables_sizes_add_up_to_the_file() -> None:
    content = b'text\n"two\nlines"\n\nlast\n'
    assert sum(row.size for row in lines(content, Form("csv"))) == len(content) - len(b"text\n")


def test_a_byte_order_mark_is_no_part_of_a_header() -> None:
    assert source(b"\xef\xbb\xbftext\na\n", Form("csv")).columns == ("text",)


def test_semicolons_part_a_csv_whose_header_they_part() -> None:
    table = source(b"id;text\n1;one, two\n", Form("csv"))
    assert (table.delimiter, next(table.lines).question) == (";", "one, two")


def test_both_columns_of_a_pair_are_named() -> None:
    [row] = lines(b"a\tb\tc\n1\t2\t3\n", Form("tsv", ("c", "a")), "text_pair")
    assert row.question == ("3", "1")


def test_a_taggers_column_is_split_at_white_space() -> None:
    [row] = lines(b"words\nthree small  words\n", Form("csv"), "tagging")
    assert row.question == ["three", "small", "words"]


def test_a_table_without_a_header_has_numbered_columns() -> None:
    table = source(b"3,Title,Body\n", Form("csv", ("3",), header=False))
    assert (table.columns, next(table.lines).question) == (("1", "2", "3"), "Body")


def test_a_number_is_not_taken_for_the_header_of_a_table_that_has_none() -> None:
    with pytest.raises(CorpusError, match="--no-header, since columns have numbers"):
        source(b"3,Title,Body\n4,T,B\n", Form("csv", ("3",)))


def test_a_column_that_is_not_there_is_proposed_by_the_longest_text() -> None:
    with pytest.raises(CorpusError, match=r"found     id, review\n(.*\n)*.*--text review"):
        source(b"id,review\n1,a long review\n", Form("csv"))


def test_a_header_with_a_name_twice_is_refused() -> None:
    with pytest.raises(CorpusError, match="found     text, a, a"):
        source(b"text,a,a\nx,y,z\n", Form("csv"))


@pytest.mark.parametrize(
    ("row", "error"), [(b"1,a,b", "expected 2 columns, found 3"), (b"1", "expected 2 columns, found 1"), (b"1,caf\xe9", "0xe9")]
)
def test_a_bad_row_of_a_table_fails_alone(row: bytes, error: str) -> None:
    before, bad, after = lines(b"id,text\n0,good\n" + row + b"\n2,good\n", Form("csv"))
    assert error in bad.error
    assert (before.question, after.question) == ("good", "good")


def test_a_quote_that_is_not_closed_ends_the_table_with_its_line() -> None:
    rows = source(b'text\ngood\n"open\nlost\n', Form("tsv")).lines
    assert next(rows).question == "good"
    with pytest.raises(CorpusError, match="begins in line 3"):
        next(rows)


def test_quotes_may_be_characters_like_others() -> None:
    assert [row.question for row in lines(b'text\n"open\n', Form("tsv", quotes=False))] == ['"open']


@pytest.mark.parametrize("columns", [("a", "b"), ("a",)])
def test_as_many_columns_are_named_as_the_task_has_texts(columns: tuple[str, ...]) -> None:
    task = "single_text" if len(columns) == 2 else "text_pair"
    with pytest.raises(UsageError, match=f"the model's task is {task}"):
        source(b"a,b\n1,2\n", Form("csv", columns), task)


@pytest.mark.parametrize(
    ("begins", "what", "fix"),
    [
        (b"\x1f\x8b\x08\x00", "compressed by gzip", "zcat data"),
        ("ä".encode("utf-16"), "UTF-16", "iconv -f UTF-16 "),
        ("news\nmore\n".encode("utf-16-le"), "UTF-16LE", "iconv -f UTF-16LE "),
        ("id,text\n1,世界\n".encode("utf-16-be"), "UTF-16BE", "iconv -f UTF-16BE "),
        (b"PK\x03\x04", "a ZIP archive", "CSV UTF-8"),
    ],
)
def test_a_file_without_lines_is_refused_by_what_it_is(begins: bytes, what: str, fix: str) -> None:
    with pytest.raises(CorpusError, match=rf"found     {what}(.*\n)*.*{fix}"):
        questions.refuse_other_file(begins, "data")


def test_a_packed_parquet_file_is_not_read_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["slipway", "classify", "a.parquet.gz"])
    with pytest.raises(CorpusError, match=r"gunzip --keep a\.parquet\.gz && \S+ classify a\.parquet$"):
        questions.refuse_other_file(b"\x1f\x8b\x08\x00", "a.parquet.gz")


def test_a_nul_in_utf_8_is_no_utf_16() -> None:
    questions.refuse_other_file(b"a\0b\nnews\n", "data")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("classify comment --text comment", "classify --text comment"),
        ("classify --text comment comment", "classify --text comment"),
        ("classify --no-header comment", "classify --no-header"),
        ("classify --text=comment comment", "classify --text=comment"),
        ("classify classify", "classify"),
    ],
)
def test_a_file_that_is_called_as_an_options_value_is_told_apart(words: str, left: str) -> None:
    name = "classify" if words == "classify classify" else "comment"
    assert questions.with_other_file(words.split(), name) == left.split()
