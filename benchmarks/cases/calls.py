"""What people send as text, to a running server: by tritonclient, as JSON, and by slipway.Client.

A good answer has the label that the same text has where it is asked plainly, or is one sentence.
tritonclient sends whatever an array of objects holds as a word, so `None` is answered there.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from benchmarks.cases.answers import Answer
from slipway.client.client import Client
from slipway.contract.records import TEXT_MODEL
from slipway.errors import SlipwayError

CASE = "k01-bytes-shapes"
_TEXT = "Oil prices fall as OPEC raises output"
_SECONDS = 30  # for one call
_REFUSALS = (SlipwayError, InferenceServerException, HTTPError)
_PATH_OR_TRACE = re.compile(r"(?<![\w:/])/[\w.-]+/[\w.-]+|Traceback|\.py\b")


@dataclass(frozen=True)
class Call:
    """A call as people make it, and its good answer."""

    case: str
    send: Callable[[], Iterable[str]]  # returns the labels
    good: Sequence[str] | str  # the labels, or what the refusal says

    def answer(self) -> Answer:
        """Make the call. Whatever it raises is an answer, but only a refusal can be a good one."""
        try:
            labels = list(self.send())
        except _REFUSALS as error:
            return self._refused(error)
        except Exception as error:
            return Answer(self.case, 1, f"error: {error!r}", good=False)
        return Answer(self.case, 0, f"{len(labels)} labels: {', '.join(sorted(set(labels)))}", labels == self.good)

    def _refused(self, error: Exception) -> Answer:
        sentence = error.read().decode() if isinstance(error, HTTPError) else f"{error}"
        text = f"{getattr(error, 'code', '')} {sentence}".strip()
        shown = f"{error.summary}: {error.found}" if isinstance(error, SlipwayError) else text
        good = isinstance(self.good, str) and self.good in text and not _PATH_OR_TRACE.search(sentence)
        return Answer(self.case, getattr(error, "exit_code", 1), f"error: {shown}\n{text}", good)


def answers(http: str, grpc: str) -> Iterator[Answer]:
    """Make every call to the server at these addresses, `host:port`."""
    with Client(http) as client:

        def plain(*texts: str) -> list[str]:
            return [answer.label for answer in client.classify(texts, deadline=_SECONDS)]

        for call in (*_over_tritonclient(http, grpc, plain), *_as_json(http, plain), *_by_client(client, plain)):
            yield call.answer()


def _over_tritonclient(http: str, grpc: str, plain: Callable[..., list[str]]) -> Iterator[Call]:
    text = plain(_TEXT)
    mixed = {str(value): plain(_TEXT, str(value)) for value in (7, None, float("nan"))}
    for module, address in ((tritonclient.http, http), (tritonclient.grpc, grpc)):
        for what, array, good in (
            ("objects of str", np.array([[_TEXT]], object), text),
            ("objects of bytes", np.array([[_TEXT.encode()]], object), text),
            ("dtype str", np.array([[_TEXT]], str), "expected BYTES"),  # tritonclient's own refusal
            ("dtype S", np.array([[_TEXT.encode()]], "S"), text),
            ("16 texts as [16]", np.array([_TEXT] * 16, object), "Expected [-1,1], got [16]"),
            ("16 texts as [16, 1]", np.array([[_TEXT]] * 16, object), text * 16),
            ("a number among texts", np.array([[_TEXT], [7]], object), mixed["7"]),
            ("None among texts", np.array([[_TEXT], [None]], object), mixed["None"]),
            ("NaN among texts", np.array([[_TEXT], [float("nan")]], object), mixed["nan"]),
            ("an empty array", np.empty((0, 1), object), "got 0"),
        ):
            yield Call(f"{CASE}/{module.__name__}, {what}", _tritonclient(module, address, array), good)
        string = _tritonclient(module, address, np.array([[_TEXT]], object), "STRING")
        yield Call(f"{CASE}/{module.__name__}, datatype STRING", string, "expected STRING")
    gzip = {f"{way}_compression_algorithm": "gzip" for way in ("request", "response")}
    send = _tritonclient(tritonclient.http, http, np.array([[_TEXT]], object), **gzip)
    yield Call(f"{CASE}/HTTP, gzip both ways", send, text)


def _tritonclient(
    module: ModuleType, address: str, array: NDArray[Any], datatype: str = "BYTES", **more: str
) -> Callable[[], Iterable[str]]:
    def send() -> list[str]:
        given = module.InferInput("text", list(array.shape), datatype)
        given.set_data_from_numpy(array)
        seconds = {"network_timeout": _SECONDS}, {"client_timeout": _SECONDS}
        connection, request = (seconds[0], {}) if module is tritonclient.http else ({}, seconds[1])
        with module.InferenceServerClient(address, **connection) as server:
            labels = server.infer(TEXT_MODEL, [given], **request, **more).as_numpy("label")
        return [label.decode() for label in labels.ravel()]

    return send


def _as_json(http: str, plain: Callable[..., list[str]]) -> Iterator[Call]:
    shapes: list[tuple[str, list[int], list[Any], Sequence[str] | str]] = [
        ("nested data", [1, 1], [[_TEXT]], plain(_TEXT)),
        ("shape [3] for three texts", [3], [_TEXT] * 3, "Expected [-1,1], got [3]"),
        ("shape [1] and two texts", [1], [_TEXT] * 2, "Expected [-1,1], got [1]"),
        ("a pair as one row", [1, 2], [_TEXT, _TEXT], "Expected [-1,1], got [1,2]"),
        ("null", [1, 1], [None], "JSON non-string"),  # Triton's own sentence, with a status of 500
    ]
    for what, shape, data, good in shapes:
        yield Call(f"{CASE}/JSON, {what}", _posted(http, shape, data), good)


def _posted(http: str, shape: list[int], data: list[Any]) -> Callable[[], Iterable[str]]:
    def send() -> list[str]:
        given = {"name": "text", "shape": shape, "datatype": "BYTES", "data": data}
        body = json.dumps({"inputs": [given], "outputs": [{"name": "label"}]}).encode()
        request = urllib.request.Request(f"http://{http}/v2/models/{TEXT_MODEL}/infer", body)
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return list(json.load(answer)["outputs"][0]["data"])

    return send


def _by_client(client: Client, plain: Callable[..., list[str]]) -> Iterator[Call]:
    def classify(texts: Any) -> Callable[[], Iterable[str]]:
        return lambda: [answer.label for answer in client.classify(texts, deadline=_SECONDS)]

    [label] = plain(_TEXT)
    for what, texts, good in (
        ("one str instead of a list", _TEXT, [label]),
        ("bytes", [_TEXT.encode()], [label]),
        ("None", [None], "None, a missing value"),
        ("NaN", [float("nan")], "nan, a missing value"),
        ("a numpy array of str", np.array([_TEXT, _TEXT]), [label] * 2),
        ("a tuple of one", [(_TEXT,)], [label]),
        ("a generator", (text for text in [_TEXT, _TEXT]), [label] * 2),
        ("no texts", [], []),
        ("pairs to a single-text model", [(_TEXT, _TEXT)], "expected 1 inputs but got 2"),
    ):
        yield Call(f"{CASE}/slipway.Client, {what}", classify(texts), good)
    yield Call(
        f"{CASE}/slipway.Client, one sentence str to tag",
        lambda: [label for answer in client.tag([_TEXT], deadline=_SECONDS) for label in answer.labels],
        "a sentence has to be split into words",
    )
