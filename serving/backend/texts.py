"""The texts of a request, or what is wrong with them. Copied into every served version that takes texts."""

from __future__ import annotations

from typing import Any

import inputs
import numpy as np
from inputs import Refused
from tokenizer import Tokens

_MOST_BYTES = 2**20  # of one text: a model reads its first few thousand, and a word without an end would keep it busy for long


def read(request: Any, task: str) -> list[Any]:
    """The request's texts: str, of a pair (str, str), of a tagger the words, list[str]. Raises Refused."""
    return {"single_text": _texts, "text_pair": _pairs, "tagging": _sentences}[task](request)


def check_read(tokens: list[Tokens], task: str) -> None:
    """Raises Refused for the first text of a request, or pair, of which the tokenizer left nothing.

    Of a tagger each word says so itself, by its empty label.
    """
    for number, row in enumerate(tokens):
        if task != "tagging" and row.types.count(0) <= 2:  # [CLS] and [SEP]
            raise Refused(_nothing("text", number))
        if task == "text_pair" and row.types.count(1) <= 1:  # [SEP]
            raise Refused(_nothing("text_b", number))


def _texts(request: Any, name: str = "text") -> list[str]:
    return [_text(value, name, number) for number, [value] in enumerate(inputs.tensor(request, name))]


def _pairs(request: Any) -> list[tuple[str, str]]:
    return list(zip(_texts(request), _texts(request, "text_b"), strict=True))


def _sentences(request: Any) -> list[list[str]]:
    sentences = []
    for number, row in enumerate(inputs.tensor(request, "words")):
        filled = np.flatnonzero(row != b"")
        count = int(filled[-1]) + 1 if len(filled) else 0
        if not count:
            raise Refused(f"text {number} has no words")
        _check_size(sum(map(len, row)), "text", number)
        words = [_text(value, f"text {number}, word", at) for at, value in enumerate(row[:count])]
        sentences.append(words + [""] * (len(row) - count))
    return sentences


def _text(value: bytes, what: str, number: int) -> str:
    _check_size(len(value), what, number)
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{what} {number} is not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}") from error
    if not text.strip():
        raise Refused(f"{what} {number} is empty: expected at least one character that is not white space")
    return text


def _check_size(size: int, what: str, number: int) -> None:
    if size > _MOST_BYTES:
        raise Refused(f"{what} {number} is too long: expected at most {_MOST_BYTES} bytes, found {size}")


def _nothing(what: str, number: int) -> str:
    return f"{what} {number} is empty: the model reads none of its characters"
