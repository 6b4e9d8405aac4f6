"""Ask a running server: texts in, answers out, over HTTP or gRPC. Imports neither TensorFlow nor ONNX Runtime.

with client.connect("127.0.0.1:8000", "http") as server:
    for answer in server.classify(["Oil prices fall"]): print(answer.label)
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving.records import MAX_BATCH, TEXT_MODEL
from train.errors import ServerError

PROTOCOLS = ("http", "grpc")
_DEADLINE = 60.0  # seconds per request


@dataclass(frozen=True)
class Answer:
    label: str
    probability: float
    logits: tuple[float, ...]
    truncated: bool  # the text was longer than the model can read; its beginning was classified
    tokens: int  # word pieces the model read


class Client:
    """A connection to one server. Not for use by several threads at once; make one each."""

    def __init__(self, address: str, protocol: str) -> None:
        self._address, self._protocol = address, protocol
        self._api: Any = importlib.import_module(f"tritonclient.{protocol}")
        timeouts = {"connection_timeout": _DEADLINE, "network_timeout": _DEADLINE} if protocol == "http" else {}
        self._connection = self._api.InferenceServerClient(address, **timeouts)

    def classify(self, texts: Sequence[str]) -> list[Answer]:
        """One answer per text, in order. Raises ServerError when the server refuses or is not there."""
        if not texts:
            return []
        values = np.array([[_utf8(text)] for text in texts], object)
        outputs = self._infer(TEXT_MODEL, "text", values, "BYTES")
        columns = [outputs[name] for name in ("label", "probability", "logits", "truncated", "tokens")]
        return [
            Answer(label[0].decode(), float(probability[0]), tuple(map(float, logits)), bool(cut[0]), int(tokens[0]))
            for label, probability, logits, cut, tokens in zip(*columns, strict=True)
        ]

    def logits(self, model: str, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits [batch, labels] of `bert_<variant>` for ids int32 [batch, tokens], 0 for padding."""
        logits: NDArray[np.float32] = self._infer(model, "input_word_ids", ids, "INT32")["logits"]
        return logits

    def _infer(self, model: str, name: str, values: NDArray[Any], kind: str) -> dict[str, NDArray[Any]]:
        """All outputs of a model, its batches put together again."""
        parts = []
        for start in range(0, len(values), MAX_BATCH):
            batch = values[start : start + MAX_BATCH]
            tensor = self._api.InferInput(name, list(batch.shape), kind)
            tensor.set_data_from_numpy(batch)
            parts.append(self._request(model, tensor))
        return {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}

    def _request(self, model: str, tensor: Any) -> dict[str, NDArray[Any]]:
        try:
            if self._protocol == "http":
                result = self._connection.infer(model, [tensor])
                names = [output["name"] for output in result.get_response()["outputs"]]
            else:
                result = self._connection.infer(model, [tensor], client_timeout=_DEADLINE)
                names = [output.name for output in result.get_response().outputs]
        except (InferenceServerException, OSError, HTTPException) as error:
            raise self._error(model, error) from error
        return {name: result.as_numpy(name) for name in names}

    def _error(self, model: str, error: Exception) -> ServerError:
        refused = isinstance(error, InferenceServerException) and error.status() not in (None, "StatusCode.UNAVAILABLE")
        message = (error.message() if isinstance(error, InferenceServerException) else str(error)).strip()
        return ServerError(
            f"the server refused the request to {model}" if refused else "no answer from the server",
            expected="an answer",
            found=message,
            where=f"{self._protocol}://{self._address}",
            mend="correct the input and ask again" if refused else "make serve, in another terminal",
        )

    def close(self) -> None:
        self._connection.close()


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ServerError(
            "the text is not Unicode",
            expected="text that can be written as UTF-8",
            found=f"{text[error.start : error.end]!r} at character {error.start}",
            where="the text to classify",
            mend="convert it to UTF-8, for example with iconv",
        ) from error


@contextmanager
def connect(address: str, protocol: str) -> Iterator[Client]:
    """A client for the block. `protocol` is http or grpc; nothing is sent before the first question."""
    server = Client(address, protocol)
    try:
        yield server
    finally:
        server.close()
