"""How a text is put to a server over HTTP, and where its answer has the logits: Triton's JSON, and a plain application's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

_OUTPUTS = ("label", "probability", "logits")


@dataclass(frozen=True)
class Protocol:
    body: Callable[[str], bytes]  # a text → the request
    logits: Callable[[bytes], list[float]]  # of its answer


def _kserve_body(text: str) -> bytes:
    given = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [given], "outputs": [{"name": name} for name in _OUTPUTS]}).encode()


def _kserve_logits(answer: bytes) -> list[float]:
    found = {one["name"]: one["data"] for one in json.loads(answer)["outputs"]}
    return [float(value) for value in found["logits"]]


def _plain_body(text: str) -> bytes:
    return json.dumps({"text": text}).encode()


def _plain_logits(answer: bytes) -> list[float]:
    return [float(value) for value in json.loads(answer)["logits"]]


KSERVE = Protocol(_kserve_body, _kserve_logits)
PLAIN = Protocol(_plain_body, _plain_logits)


def kserve_path(model: str) -> str:
    return f"/v2/models/{model}/infer"
