"""A request to the served model that can be copied: for curl, and for Python."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from slipway.contract.bundle import Golden

_ADDRESS = "127.0.0.1:8000"  # where `slipway serve` listens, if it is not told otherwise
_LONGEST = 90  # characters of a text that is asked for
_WORDS = 12
_PYTHON = """import slipway

with slipway.Client({address!r}) as client:
    [answer] = client.{method}([{text!r}])
    print({shown})"""


@dataclass(frozen=True, slots=True)
class Request:
    """Both ways to ask for one text."""

    curl: str
    python: str


def example_request(task: str, golden: Golden, address: str = _ADDRESS) -> Request:
    """Return how to ask the server at host:port for a golden text, or for the beginning of one."""
    text = _text(golden.texts)
    if task == "tagging":
        return Request(_curl({"words": text}, address), _python("tag", text, "*zip(answer.labels, answer.probabilities)", address))
    given = [text] if task == "single_text" else text
    inputs = {name: [value] for name, value in zip(("text", "text_b"), given, strict=False)}
    asked = text if task == "single_text" else tuple(text)
    return Request(_curl(inputs, address), _python("classify", asked, "answer.label, answer.probability", address))


def _text(texts: list[Any]) -> Any:
    """Return the longest text that fits on a line, or the shortest cut to a line."""
    fitting = [text for text in texts if _length(text) <= _LONGEST]
    if fitting:
        return max(fitting, key=_length)
    text = min(texts, key=_length)
    if isinstance(text, str):
        return text[:_LONGEST].strip()
    return [part[:_LONGEST].strip() for part in text[:_WORDS]]


def _length(text: Any) -> int:
    return len(text) if isinstance(text, str) else len(" ".join(text))


def _curl(inputs: dict[str, list[str]], address: str) -> str:
    """Return the command; of each input one row is sent."""
    body = {
        "inputs": [{"name": name, "shape": [1, len(row)], "datatype": "BYTES", "data": row} for name, row in inputs.items()],
        "outputs": [{"name": "label"}, {"name": "probability"}],
    }
    url = f"http://{address}/v2/models/text_classifier/infer"
    return f"curl --fail --silent --show-error {url} --data {shlex.quote(json.dumps(body, ensure_ascii=False))}"


def _python(method: str, text: object, shown: str, address: str) -> str:
    return _PYTHON.format(address=address, method=method, text=text, shown=shown)
