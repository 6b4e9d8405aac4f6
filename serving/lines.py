"""Lines of a file as questions to a model: plain text or JSONL, each read or refused by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

# task → the fields that a JSONL line must have
_FIELD_NAMES = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}

Fields = dict[str, Any]  # a JSONL line


@dataclass(frozen=True, slots=True)
class InputLine:
    """One line of the input: a question, or the reason why it is none."""

    number: int  # from 1
    size: int  # bytes
    fields: Fields  # the line's own, to be written beside the answer
    question: Any  # a text, a pair, or a list of words; None with an error
    error: str = ""


def read_line(number: int, raw: bytes, task: str, jsonl: bool) -> InputLine:
    """Read one line; a line that cannot be read becomes an InputLine with its error."""
    fields: Fields = {}
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
        fields = _json_fields(text) if jsonl else _plain_fields(text, task)
        return InputLine(number, len(raw), fields, _question(fields, task))
    except (ValueError, RecursionError) as error:  # RecursionError: JSON nested too deep
        return InputLine(number, len(raw), fields, None, str(error))


def _plain_fields(text: str, task: str) -> Fields:
    if task == "tagging":
        return {"words": text.split()}
    return dict(zip(_FIELD_NAMES[task], text.split("\t", 1) if task == "text_pair" else [text], strict=False))


def _json_fields(text: str) -> Fields:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, found {type(fields).__name__}")
    return fields


def _question(fields: Fields, task: str) -> Any:
    values = [fields.get(name) for name in _FIELD_NAMES[task]]
    strings = values[0] if task == "tagging" else values
    if not (isinstance(strings, list) and strings and all(isinstance(text, str) for text in strings)):
        kind = "a list of words" if task == "tagging" else "a string"
        expected = " and ".join(f"{name!r}, {kind}" for name in _FIELD_NAMES[task])
        raise ValueError(f"expected {expected}; found {', '.join(fields) or 'none'}")
    for text in strings:
        text.encode("utf-8")  # JSON can spell half of a surrogate pair
    return values[0] if len(values) == 1 else tuple(values)
