"""What people pass as texts → rows of UTF-8: lists, generators, arrays, columns of a table.

Whatever is no text is refused by its place and by what it is: read as a text, a missing value, a
number or a string's letters would get a label that means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slipway.errors import ServerError

# One text, several, or pairs. Bytes are read as UTF-8, as Triton itself reads them.
Texts = str | bytes | Iterable[str] | Iterable[bytes] | Iterable[Sequence[str]]
Sentences = Iterable[Iterable[str]] | Iterable[Iterable[bytes]]
_SHOWN = 40  # characters


def as_list(values: Any, name: str) -> list[Any]:
    """Return what was passed as `name` as a list: of one string a list of one.

    A generator is used up, in the thread that calls. Raises ServerError for what has no order or is
    no collection, and for a table, which would be read as the names of its columns.
    """
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes):
        return [values]
    if hasattr(values, "tolist"):  # of numpy, pandas and Arrow
        listed = values.tolist()
        return listed if isinstance(listed, list) else [listed]  # an array without dimensions
    if isinstance(values, Mapping) or hasattr(values, "columns"):
        raise _refusal(name, "a list or a column", f"a table ({_kind(values)})", 'pass one column of it, such as table["text"]')
    if isinstance(values, set | frozenset) or not isinstance(values, Iterable):
        raise _refusal(name, "a list, or another sequence with an order", _described(values), f"pass a list: {name}=[…]")
    return list(values)


def text_rows(texts: Texts) -> list[tuple[bytes, ...]]:
    """Return each text as (text,) or each pair as (text, text_b), in UTF-8.

    Raises ServerError for a mix of both, and for anything else than texts.
    """
    rows = [_text_row(text, f"texts[{number}]") for number, text in enumerate(as_list(texts, "texts"))]
    counts = sorted({len(row) for row in rows})
    if counts not in ([], [1], [2]):
        raise ServerError(
            "these are neither single texts nor pairs",
            expected="every text a string, or every one a pair of strings",
            found=f"texts of {' and '.join(map(str, counts))} strings",
            where="the texts to classify",
            fix="classify texts or pairs; words go to `tag`",
        )
    return rows


def sentence_rows(sentences: Sentences) -> list[list[bytes]]:
    """Return the words of each sentence, in UTF-8.

    Raises ServerError for a sentence that is one string, and for anything else than words.
    """
    _refuse_unsplit(sentences, "sentences")
    return [_words(sentence, f"sentences[{number}]") for number, sentence in enumerate(as_list(sentences, "sentences"))]


def utf8(text: str, place: str = "the text to classify") -> bytes:
    """Return the text's bytes. Raise ServerError for half of a surrogate pair, which is no text."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ServerError(
            "the text is not Unicode",
            expected="text that can be written as UTF-8",
            found=f"{text[error.start : error.end]!r} at character {error.start}",
            where=place,
            fix="convert it to UTF-8, for example with iconv",
        ) from error


def _text_row(text: Any, place: str) -> tuple[bytes, ...]:
    if isinstance(text, list | tuple | np.ndarray):
        return tuple(_string(part, f"{place}[{number}]") for number, part in enumerate(text))
    return (_string(text, place),)


def _words(sentence: Any, place: str) -> list[bytes]:
    _refuse_unsplit(sentence, place)
    return [_string(word, f"{place}[{number}]") for number, word in enumerate(as_list(sentence, place))]


def _refuse_unsplit(sentence: Any, place: str) -> None:
    if isinstance(sentence, str | bytes):
        raise ServerError(
            "a sentence has to be split into words",
            expected='a list of words for each sentence, such as [["Oil", "prices", "fall"]]',
            found=f"one string, {_shortened(sentence)}",
            where=place,
            fix="split it as the model's training data was split; at white space: text.split()",
        )


def _string(value: Any, place: str) -> bytes:
    if isinstance(value, str):
        return utf8(value, place)
    if not isinstance(value, bytes):
        fix = 'leave such rows out; of pandas: table.dropna(subset=["text"])' if _is_missing(value) else "pass strings"
        raise _refusal(place, "a string", _described(value), fix)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(
            place,
            "bytes that are UTF-8",
            f"byte 0x{value[error.start]:02x} at offset {error.start}",
            'decode them with their own encoding, such as text.decode("cp1252")',
        ) from error
    return bytes(value)


def _refusal(place: str, expected: str, found: str, fix: str) -> ServerError:
    return ServerError("this is no text", expected=expected, found=found, where=place, fix=fix)


def _is_missing(value: Any) -> bool:
    """Return whether it is None, NaN, or what pandas has for a value that is not there."""
    return value is None or (isinstance(value, float) and value != value) or _kind(value) in ("NAType", "NaTType")


def _described(value: Any) -> str:
    return f"{value!r}, a missing value" if _is_missing(value) else f"{_kind(value)} {_shortened(value)}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
