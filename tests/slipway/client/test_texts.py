"""What people pass as texts: a row for each text, or a sentence that says what it is instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from slipway.client import tensors
from slipway.client.texts import sentence_rows, text_rows
from slipway.errors import ServerError

TEXT = "Öl wird teurer"
UTF8 = TEXT.encode()


class Column:
    """Iterates over its values and has other row numbers, as a column of pandas does."""

    def __iter__(self) -> Iterator[str]:
        return iter([TEXT, TEXT])


class Table:
    """Iterates over the names of its columns, as a table of pandas does."""

    columns = ("id", "text")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        (TEXT, 1),
        (UTF8, 1),
        ([TEXT], 1),
        ([UTF8, TEXT], 2),
        ((TEXT, TEXT), 2),
        ((text for text in [TEXT, TEXT]), 2),
        ({TEXT: 1}.keys(), 1),
        ([(TEXT,)], 1),
        (np.array([TEXT, TEXT]), 2),
        (np.array([TEXT, TEXT], object), 2),
        (np.array([[TEXT], [TEXT]], object), 2),
        (np.array([UTF8, UTF8]), 2),
        (np.array(TEXT), 1),
        (Column(), 2),
        ([], 0),
        (np.empty((0, 1), object), 0),
    ],
)
def test_every_text_is_one_row(texts: Any, count: int) -> None:
    assert text_rows(texts) == [(UTF8,)] * count


@pytest.mark.parametrize("pairs", [[("a", "b")], [["a", "b"]], np.array([["a", "b"]]), (pair for pair in [(b"a", "b")])])
def test_every_pair_is_one_row(pairs: Any) -> None:
    assert text_rows(pairs) == [(b"a", b"b")]


@pytest.mark.parametrize(
    ("texts", "where", "found"),
    [
        (None, "texts", "None, a missing value"),
        ([TEXT, None], r"texts\[1\]", "None, a missing value"),
        ([float("nan")], r"texts\[0\]", "nan, a missing value"),
        ([TEXT, 7], r"texts\[1\]", "int 7"),
        (7, "texts", "int 7"),
        (np.ones(2), r"texts\[0\]", r"float 1\.0"),
        ([b"caf\xe9"], r"texts\[0\]", "byte 0xe9 at offset 3"),
        (["\ud800"], r"texts\[0\]", "at character 0"),
        ([[[TEXT]]], r"texts\[0\]\[0\]", "list"),
        ([{"text": TEXT}], r"texts\[0\]", "dict"),
        ([(TEXT, None)], r"texts\[0\]\[1\]", "None"),
        ({TEXT, "another"}, "texts", "set"),
        ({"text": [TEXT]}, "texts", r"a table \(dict\)"),
        (Table(), "texts", r"a table \(Table\)"),
        ([(TEXT, TEXT, TEXT)], "the texts to classify", "texts of 3 strings"),
        ([TEXT, (TEXT, TEXT)], "the texts to classify", "texts of 1 and 2 strings"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place_and_by_what_it_is(texts: Any, where: str, found: str) -> None:
    with pytest.raises(ServerError, match=rf"found     .*{found}.*\n  where     {where}\n"):
        text_rows(texts)


@pytest.mark.parametrize(
    "sentences",
    [
        [["three", "small", "words"]],
        (("three", "small", "words"),),
        np.array([["three", "small", "words"]]),
        [iter(["three", b"small", "words"])],
    ],
)
def test_a_sentence_is_its_words(sentences: Any) -> None:
    assert sentence_rows(sentences) == [[b"three", b"small", b"words"]]


@pytest.mark.parametrize(("sentences", "where"), [("three small words", "sentences"), (["three", "words"], r"sentences\[0\]")])
def test_a_sentence_that_is_not_split_is_refused(sentences: Any, where: str) -> None:
    with pytest.raises(ServerError, match=rf"split into words\n(.*\n)*  where     {where}\n"):
        sentence_rows(sentences)


def test_a_word_that_is_missing_is_refused_by_its_place() -> None:
    with pytest.raises(ServerError, match=r"None, a missing value\n  where     sentences\[1\]\[0\]"):
        sentence_rows([["a"], [None]])  # type: ignore[list-item]


@pytest.mark.parametrize("ids", [[[2, 4, 3]], np.array([[2, 4, 3]]), np.array([[2, 4, 3]], np.uint8)])
def test_word_pieces_of_any_width_are_sent_as_32_bits(ids: Any) -> None:
    [request] = tensors.ids_requests(ids, None)
    assert (request["input_word_ids"].dtype, request["input_word_ids"].tolist()) == (np.int32, [[2, 4, 3]])


@pytest.mark.parametrize(
    ("ids", "types", "found"),
    [
        ([[2, 3], [2]], None, "rows that are not equally long"),
        ([[2.0, 3.0]], None, r"float64 of the shape \[1, 2\]"),
        ([["good"]], None, r"<U4 of the shape \[1, 1\]"),
        ([2, 3], None, r"int64 of the shape \[2\]"),
        (np.empty((0, 2), np.int32), None, r"int32 of the shape \[0, 2\]"),
        ([[2**40, 3]], None, "numbers from 3 to 1099511627776"),
        ([[2, 3]], [[0]], r"\[1, 1\]"),
    ],
)
def test_what_are_no_word_pieces_is_refused(ids: Any, types: Any, found: str) -> None:
    with pytest.raises(ServerError, match=f"found     {found}"):
        tensors.ids_requests(ids, types)
