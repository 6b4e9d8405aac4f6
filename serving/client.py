"""Ask a running server: texts in, answers out, over HTTP or gRPC. Imports neither TensorFlow nor ONNX Runtime.

with client.connect("127.0.0.1:8000", "http") as server:
    for answer in server.classify(["Oil prices fall"]): print(answer.label)
    for answer in server.classify([("Is it raining?", "It pours.")]): print(answer.label)      # a model of text pairs
    for answer in server.tag([["Oil", "prices", "fall"]]): print(answer.labels)                # a tagger
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


@dataclass(frozen=True)
class Tagged:
    """Of one sentence, one answer a word. A word that was not read has the label "" and zeros."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    logits: NDArray[np.float32]  # [words, labels]
    truncated: bool  # the sentence was longer than the model can read; the words at its beginning were tagged
    tokens: int  # word pieces the model read


class Client:
    """A connection to one server. Not for use by several threads at once; make one each."""

    def __init__(self, address: str, protocol: str) -> None:
        self._address, self._protocol = address, protocol
        self._api: Any = importlib.import_module(f"tritonclient.{protocol}")
        timeouts = {"connection_timeout": _DEADLINE, "network_timeout": _DEADLINE} if protocol == "http" else {}
        self._connection = self._api.InferenceServerClient(address, **timeouts)

    def task(self) -> str:
        """What the server's model does, one of bundle.TASKS, by the inputs it takes. Raises ServerError."""
        with self._refusals(TEXT_MODEL):
            if self._protocol == "http":
                names = {one["name"] for one in self._connection.get_model_metadata(TEXT_MODEL)["inputs"]}
            else:
                names = {one.name for one in self._connection.get_model_metadata(TEXT_MODEL, client_timeout=_DEADLINE).inputs}
        return "tagging" if "words" in names else "text_pair" if "text_b" in names else "single_text"

    def classify(self, texts: Sequence[str] | Sequence[Sequence[str]]) -> list[Answer]:
        """One answer per text or pair, in order. Raises ServerError when the server refuses or is not there."""
        if not texts:
            return []
        columns = _columns(texts)
        values = {name: np.array([[utf8(text)] for text in column], object) for name, column in columns.items()}
        outputs = self._infer(TEXT_MODEL, values)
        rows = [outputs[name] for name in ("label", "probability", "logits", "truncated", "tokens")]
        return [
            Answer(label[0].decode(), float(probability[0]), tuple(map(float, logits)), bool(cut[0]), int(tokens[0]))
            for label, probability, logits, cut, tokens in zip(*rows, strict=True)
        ]

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[Tagged]:
        """One answer per sentence, each split into words, in order. Raises ServerError as `classify` does."""
        answers = []
        for start in range(0, len(sentences), MAX_BATCH):  # so that a sentence is filled up to its batch's longest alone
            batch = sentences[start : start + MAX_BATCH]
            words = np.full((len(batch), max(1, *map(len, batch))), b"", object)
            for row, sentence in zip(words, batch, strict=True):
                row[: len(sentence)] = [utf8(word) for word in sentence]
            answers += _tagged(self._infer(TEXT_MODEL, {"words": words}), [len(sentence) for sentence in batch])
        return answers

    def logits(self, model: str, ids: NDArray[np.int32], types: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Logits [batch, labels] of `bert_<variant>` for ids int32 [batch, tokens], 0 for padding.

        A tagger's are [batch, tokens, labels]. A model of text pairs wants `types` too, like the ids: 1 in the second text, else 0.
        """
        values = {"input_word_ids": ids} | ({} if types is None else {"input_type_ids": types})
        logits: NDArray[np.float32] = self._infer(model, values)["logits"]
        return logits

    def _infer(self, model: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs of a model, its batches put together again."""
        parts = []
        for start in range(0, len(next(iter(inputs.values()))), MAX_BATCH):
            tensors = []
            for name, values in inputs.items():
                batch = values[start : start + MAX_BATCH]
                tensors.append(self._api.InferInput(name, list(batch.shape), "BYTES" if batch.dtype == object else "INT32"))
                tensors[-1].set_data_from_numpy(batch)
            parts.append(self._request(model, tensors))
        return {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}

    def _request(self, model: str, tensors: list[Any]) -> dict[str, NDArray[Any]]:
        with self._refusals(model):
            if self._protocol == "http":
                result = self._connection.infer(model, tensors)
                names = [output["name"] for output in result.get_response()["outputs"]]
            else:
                result = self._connection.infer(model, tensors, client_timeout=_DEADLINE)
                names = [output.name for output in result.get_response().outputs]
        return {name: result.as_numpy(name) for name in names}

    @contextmanager
    def _refusals(self, model: str) -> Iterator[None]:
        """What goes wrong in the block is a ServerError."""
        try:
            yield
        except (InferenceServerException, OSError, HTTPException) as error:
            raise self._error(model, error) from error

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


def _columns(texts: Sequence[str] | Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    """Input of text_classifier → its strings, one a text."""
    rows = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    counts = sorted({len(row) for row in rows})
    if counts not in ([1], [2]):
        raise ServerError(
            "these are neither single texts nor pairs",
            expected="every text a string, or every one a pair of strings",
            found=f"texts of {' and '.join(map(str, counts))} strings",
            where="the texts to classify",
            mend="classify texts or pairs; words go to `tag`",
        )
    return dict(zip(("text", "text_b"), zip(*rows, strict=True), strict=False))


def _tagged(outputs: dict[str, NDArray[Any]], words: list[int]) -> list[Tagged]:
    """The answers of one batch of sentences, `words` long each."""
    rows = [outputs[name] for name in ("label", "probability", "logits", "truncated", "tokens")]
    return [
        Tagged(
            tuple(label.decode() for label in labels[:count]),
            tuple(map(float, probabilities[:count])),
            logits[:count],
            bool(cut[0]),
            int(tokens[0]),
        )
        for count, labels, probabilities, logits, cut, tokens in zip(words, *rows, strict=True)
    ]


def utf8(text: str) -> bytes:
    """The text's bytes. Raises ServerError for what no UTF-8 can hold, such as half of a surrogate pair."""
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
