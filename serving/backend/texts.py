"""The texts of a request, or what is wrong with them. Copied into every served version that takes texts; imports numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb


class Refused(ValueError):
    """What is wrong with a request's text."""


def read(request: Any, task: str) -> list[Any]:
    """The request's texts: str, of a pair (str, str), of a tagger the words, list[str]. Raises Refused."""
    return {"single_text": _texts, "text_pair": _pairs, "tagging": _sentences}[task](request)


def _texts(request: Any, name: str = "text") -> list[str]:
    values = pb.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
    return [_text(value, name, number) for number, value in enumerate(values)]


def _pairs(request: Any) -> list[tuple[str, str]]:
    return list(zip(_texts(request), _texts(request, "text_b"), strict=True))


def _sentences(request: Any) -> list[list[str]]:
    values = pb.get_input_tensor_by_name(request, "words").as_numpy()
    sentences = []
    for number, row in enumerate(values):
        filled = np.flatnonzero(row != b"")
        count = int(filled[-1]) + 1 if len(filled) else 0
        if not count:
            raise Refused(f"text {number} has no words")
        words = [_text(value, f"text {number}, word", at) for at, value in enumerate(row[:count])]
        sentences.append(words + [""] * (len(row) - count))
    return sentences


def _text(value: bytes, what: str, number: int) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{what} {number} is not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}") from error
    if not text.strip():
        raise Refused(f"{what} {number} is empty: expected at least one character that is not white space")
    return text
