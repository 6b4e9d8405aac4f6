"""The answers of a served model: outputs, refusals, failures; and its lines in the log.

A client is told one sentence with its request's id; the log gets the trace too, which Triton would
answer by itself, with this machine's paths. What a request carries is read for that request alone,
so that nothing in it can fail another. Copied beside every served model; imports numpy alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import triton_python_backend_utils as pb

_LONGEST_ID = 64  # characters of a client's request id that are repeated
_NOT_READ = -1  # in place of a word's first piece, if it was cut off, filled up, or left nothing
CHANGED = (
    "a file of this version was changed: restore it, or write it anew: slipway build RUN (for NVIDIA's container"
    " --target ngc); of a published version, publish its run again"
)
Outputs = dict[str, np.ndarray]
Read = TypeVar("Read")


@dataclass(frozen=True)
class Refusal:
    """Why a request cannot be answered, in a sentence for its client."""

    why: str


@dataclass(frozen=True)
class Failure(Refusal):
    """What went wrong in the model, for the log; its client hears only that something did."""

    trace: str = ""


class ServedModel:
    """A Triton Python model that logs its requests, of which each fails alone."""

    def initialize(self, arguments: dict[str, str]) -> None:
        self.settings = json.loads(Path(__file__).with_name("settings.json").read_text("utf-8"))
        self._version = {"model": arguments["model_name"], "version": arguments["model_version"]}

    def answers(self, requests: list[Any]) -> list[Outputs | Refusal]:
        """Return each request's outputs, or why it is refused."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests; a bad one fails alone."""
        started = time.perf_counter()
        ids = [_request_id(request) for request in requests]
        answers = self._answers(requests, ids)
        responses = [self._response(request_id, answer) for request_id, answer in zip(ids, answers, strict=True)]
        done = [request_id for request_id, answer in zip(ids, answers, strict=True) if not isinstance(answer, Failure)]
        if done:
            self._log("info", "batch done", done, ms=round((time.perf_counter() - started) * 1000, 2))
        return responses

    def _answers(self, requests: list[Any], ids: list[str]) -> list[Outputs | Refusal]:
        try:
            return [_finite(answer) for _, answer in zip(requests, self.answers(requests), strict=True)]
        except Exception as error:  # whatever it is, it is answered
            if len(requests) == 1:
                return [_failure(error)]
            # One request is the cause, and its neighbours must not suffer from it.
            self._log("warning", f"the batch failed, so each request is run alone: {error}", ids)
            return [self._answers([request], [request_id])[0] for request, request_id in zip(requests, ids, strict=True)]

    def _response(self, request_id: str, answer: Outputs | Refusal) -> Any:
        if not isinstance(answer, Refusal):
            try:
                return pb.InferenceResponse([pb.Tensor(name, values) for name, values in answer.items()])
            except Exception as error:  # such as a full /dev/shm
                answer = _failure(error)
        if isinstance(answer, Failure):
            self._log("error", f"the model failed: {answer.why}", [request_id], trace=answer.trace)
            return _error(f"the model failed; its log has the reason (request {request_id})", pb.TritonError.INTERNAL)
        self._log("warning", f"refused: {answer.why}", [request_id])
        return _error(f"{answer.why} (request {request_id})", pb.TritonError.INVALID_ARG)

    def _log(self, level: str, message: str, ids: list[str], **facts: Any) -> None:
        line = json.dumps({"level": level, "message": message, **self._version, "request_ids": ids, **facts})
        # In one piece, and on a line of its own even if Triton has not ended its line yet: both
        # write to one pipe. Who reads it can be gone, and requests are answered all the same.
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), f"\n{line}\n".encode())


def of_each(read: Callable[[Any], Read], requests: list[Any]) -> list[Read | Refusal]:
    """Return what `read` makes of each request; one that it raises on has failed alone."""

    def alone(request: Any) -> Read | Refusal:
        try:
            return read(request)
        except Exception as error:
            return _failure(error)

    return [alone(request) for request in requests]


def _request_id(request: Any) -> str:
    """Return the client's id of the request, or a new one if it gave none that can be read."""
    given = ""
    with contextlib.suppress(Exception):  # HTTP lets ids through that are not UTF-8
        given = request.request_id()[:_LONGEST_ID]
    return given or uuid.uuid4().hex


def _finite(answer: Outputs | Refusal) -> Outputs | Refusal:
    """Return the answer, or a failure if logits are not finite: JSON cannot hold NaN."""
    if isinstance(answer, Refusal) or np.isfinite(answer.get("logits", 0.0)).all():
        return answer
    return Failure("its logits are not finite")


def _failure(error: Exception) -> Failure:
    """Return what is being handled, with its trace."""
    return Failure(str(error), traceback.format_exc())


def _error(message: str, code: Any) -> Any:
    return pb.InferenceResponse(error=pb.TritonError(message, code))


def read_labels(settings: dict[str, Any]) -> list[str]:
    """Read the version's labels.txt. Raises RuntimeError if it is not the one of the settings.

    They have the bundle's labels, and start-up rows with as many logits.
    """
    names = Path(__file__).with_name("labels.txt").read_text("utf-8").splitlines()
    if different := difference(settings.get("labels", names), names):
        raise RuntimeError(f"labels.txt has other labels than the bundle: {different}; {CHANGED}")
    widths = {len(row["logits"][0]) for row in settings.get("start_up", ()) if "logits" in row}
    if widths - {len(names)}:
        raise RuntimeError(f"labels.txt has not a label for each logit: expected {max(widths)}, found {len(names)}; {CHANGED}")
    return names


def difference(expected: Sequence[Any], found: Sequence[Any]) -> str:
    """Say where two lists differ first, with None behind the end of one; "" if they do not."""
    pairs = enumerate(zip_longest(expected, found))
    return next((f"expected {left!r} at {place}, found {right!r}" for place, (left, right) in pairs if left != right), "")


def best_labels(logits: np.ndarray, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the best label of each row [rows, labels] as bytes, and its probability."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = logits.argmax(axis=1)
    names = np.array([labels[i].encode() for i in best], object)
    return names, probabilities[np.arange(len(best)), best].astype(np.float32)


def of_texts(logits: np.ndarray, labels: list[str]) -> Outputs:
    """Classifier: return the outputs of texts from their logits [texts, labels]."""
    names, probabilities = best_labels(logits, labels)
    return {"label": names[:, None], "probability": probabilities[:, None], "logits": logits}


def of_words(logits: np.ndarray, first: np.ndarray, labels: list[str]) -> Outputs:
    """Tagger: return a sentence's outputs [words, …] from its pieces' logits [pieces, labels]."""
    read = np.flatnonzero(first != _NOT_READ)
    of_word = np.zeros((len(first), len(labels)), np.float32)
    of_word[read] = logits[first[read]]
    names, probabilities = np.full(len(first), b"", object), np.zeros(len(first), np.float32)
    if len(read):
        names[read], probabilities[read] = best_labels(of_word[read], labels)
    return {"label": names, "probability": probabilities, "logits": of_word}


def first_pieces(word_of_piece: Sequence[int | None], count: int) -> np.ndarray:
    """Return the first piece of each of a sentence's `count` words, int32 [count], or _NOT_READ."""
    first = np.full(count, _NOT_READ, np.int32)
    for piece, word in enumerate(word_of_piece):
        if word is not None and first[word] == _NOT_READ:
            first[word] = piece
    return first
