"""Lines of a file as questions to a model: plain ones and JSONL, each read or refused by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

# Of each of bundle.TASKS: what a JSONL line has to hold.
_NAMES = {"single_text": ("text",), "text_pair": ("text", "text_b"), "tagging": ("words",)}


@dataclass(frozen=True)
class Line:
    number: int  # from 1
    size: int  # bytes
    fields: dict[str, Any]  # what it held, to be written beside the answer
    question: Any  # a text, a pair, or a list of words; None with an error
    error: str = ""


def read(number: int, raw: bytes, task: str, jsonl: bool) -> Line:
    """A line that cannot be read is a Line with its error."""
    fields: dict[str, Any] = {}
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
        fields = _object(text) if jsonl else _plain(text, task)
        return Line(number, len(raw), fields, _question(fields, task))
    except (ValueError, RecursionError) as error:  # of JSON nested too deep
        return Line(number, len(raw), fields, None, str(error))


def _plain(text: str, task: str) -> dict[str, Any]:
    if task == "tagging":
        return {"words": text.split()}
    return dict(zip(_NAMES[task], text.split("\t", 1) if task == "text_pair" else [text], strict=False))


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, found {type(found).__name__}")
    return found


def _question(fields: dict[str, Any], task: str) -> Any:
    values = [fields.get(name) for name in _NAMES[task]]
    strings = values[0] if task == "tagging" else values
    if not (isinstance(strings, list) and strings and all(isinstance(one, str) for one in strings)):
        what = "a list of words" if task == "tagging" else "a string"
        raise ValueError(
            f"expected {' and '.join(f'{name!r}, {what}' for name in _NAMES[task])}; found {', '.join(fields) or 'none'}"
        )
    for one in strings:
        one.encode("utf-8")  # JSON can spell half of a surrogate pair
    return values[0] if len(values) == 1 else tuple(values)
