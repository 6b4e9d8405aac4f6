from __future__ import annotations

from typing import Any

import pytest

from slipway.client.commands import read_line


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
