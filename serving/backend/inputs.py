"""The texts or ids that a request asks about, or why it is refused.

Triton has checked names, types and sizes; these are the checks that it lacks (docs/bad_input.md).
Copied beside every served model that takes texts or ids; imports numpy, and for texts tokenizer.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb
from outputs import CHANGED, Refusal, difference

if TYPE_CHECKING:
    from tokenizer import Tokens

_TEXT_INPUTS = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}
# Where a request's JSON ends and its binary data begins. Triton reads what is no number as 0, and
# then takes the whole body, JSON and all, for the text. serving/server/triton.py has it pass this
# header on.
_LENGTH_HEADER = "inference-header-content-length"
_SHOWN = 40  # characters
_MOST_BYTES = 2**20  # of one text: a model reads its first few thousand, and a word without an end would keep it busy


def tokenizer(settings: dict[str, Any]) -> Callable[[list[Any]], list[Tokens]]:
    """Load the version's tokenizer, which gives the tokens of what `texts` reads.

    Raises RuntimeError for a start-up text to which it gives other ids than the gate's.
    """
    from tokenizer import Tokenizer  # ids_model.py uses this file too, and needs no tokenizer

    loaded = Tokenizer.of(Path(__file__).with_name("vocab.txt"), settings, settings["vocabulary_sha256"])
    tokenize = loaded.of_words if settings["task"] == "tagging" else loaded
    _refuse_other_ids(tokenize, settings)
    return tokenize


def _refuse_other_ids(tokenize: Callable[[list[Any]], list[Tokens]], settings: dict[str, Any]) -> None:
    import tokenizers

    for number, row in enumerate(settings.get("start_up", ())):
        if (text := row["text"]) is None:  # a row of word pieces
            continue
        [tokens] = tokenize([tuple(text) if settings["task"] == "text_pair" else text])
        if different := difference(row["ids"], tokens.ids) or difference(row["types"], tokens.types):
            raise RuntimeError(
                f"start-up text {number} has other ids than in the gate: {different}; "
                f"tokenizers {tokenizers.__version__} reads it otherwise than the bundle's, or {CHANGED}"
            )


def tensors(request: Any, *names: str) -> list[np.ndarray] | Refusal:
    """Read the inputs of these names, [rows, …] each."""
    if refusal := _odd_parameters(request):
        return refusal
    arrays = [pb.get_input_tensor_by_name(request, name).as_numpy() for name in names]
    for name, values in zip(names, arrays, strict=True):
        if values.ndim < 2 or not len(values):  # Triton leaves out the first dimension of a batch of no rows
            return Refusal(f"{name} is an empty batch: expected a shape of at least 1 row")
    return arrays


def texts(request: Any, task: str) -> list[Any] | Refusal:
    """Read the texts: str; text_pair: (str, str); tagging: the words, list[str]."""
    names = _TEXT_INPUTS[task]
    arrays = tensors(request, *names)
    if isinstance(arrays, Refusal):
        return arrays
    if task == "tagging":
        return _or_first_refusal([_sentence(row, number) for number, row in enumerate(arrays[0])])
    columns = _or_first_refusal([_column(values, name) for values, name in zip(arrays, names, strict=True)])
    if isinstance(columns, Refusal):
        return columns
    return columns[0] if task == "single_text" else list(zip(*columns, strict=True))


def unread(tokens: list[Tokens], task: str) -> Refusal | None:
    """Refuse texts of which the tokenizer left nothing. A tagger says so by empty labels."""
    for number, row in enumerate(tokens):
        if task != "tagging" and row.types.count(0) <= 2:  # [CLS] and [SEP]
            return Refusal(f"text {number} is empty: the model reads none of its characters")
        if task == "text_pair" and row.types.count(1) <= 1:  # [SEP]
            return Refusal(f"text_b {number} is empty: the model reads none of its characters")
    return None


def accepted(requests: list[list[Any] | Refusal]) -> list[Any]:
    """Return the rows of all requests that are not refused, one after the other."""
    return [row for rows in requests if not isinstance(rows, Refusal) for row in rows]


def places(requests: list[list[Any] | Refusal]) -> list[slice | Refusal]:
    """Return which of the `accepted` rows are each request's, or why it is refused."""
    of_requests: list[slice | Refusal] = []
    end = 0
    for rows in requests:
        if isinstance(rows, Refusal):
            of_requests.append(rows)
        else:
            start, end = end, end + len(rows)
            of_requests.append(slice(start, end))
    return of_requests


def _odd_parameters(request: Any) -> Refusal | None:
    """Refuse parameters: nobody reads them. Triton's own (timeout, priority …) do not come here."""
    try:
        parameters = json.loads(request.parameters() or "{}")
    except ValueError:  # HTTP lets bytes through that are not UTF-8
        return Refusal("expected no parameters, found some that are not UTF-8")
    for name, value in parameters.items():
        if name.lower() != _LENGTH_HEADER:
            return Refusal(f"expected no parameters, found {name[:_SHOWN]!r}")
        if not str(value).isdecimal():
            return Refusal(f"expected a number of bytes in the header {name}, found {str(value)[:_SHOWN]!r}")
    return None


def _or_first_refusal(values: list[Any]) -> list[Any] | Refusal:
    return next((value for value in values if isinstance(value, Refusal)), values)


def _column(values: np.ndarray, name: str) -> list[str] | Refusal:
    return _or_first_refusal([_text(value, f"{name} {number}") for number, [value] in enumerate(values)])


def _sentence(row: np.ndarray, number: int) -> list[str] | Refusal:
    """Read a sentence's words; the "" that fill up shorter sentences stay."""
    filled = np.flatnonzero(row != b"")
    if not len(filled):
        return Refusal(f"text {number} has no words")
    count = int(filled[-1]) + 1
    if refusal := _too_long(sum(map(len, row)), f"text {number}"):
        return refusal
    words = _or_first_refusal([_text(value, f"text {number}, word {place}") for place, value in enumerate(row[:count])])
    return words if isinstance(words, Refusal) else words + [""] * (len(row) - count)


def _text(value: bytes, name: str) -> str | Refusal:
    if refusal := _too_long(len(value), name):
        return refusal
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        return Refusal(f"{name} is not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}")
    return text if text.strip() else Refusal(f"{name} is empty: expected at least one character that is not white space")


def _too_long(size: int, name: str) -> Refusal | None:
    return Refusal(f"{name} is too long: expected at most {_MOST_BYTES} bytes, found {size}") if size > _MOST_BYTES else None
