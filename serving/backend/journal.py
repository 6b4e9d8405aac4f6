"""What a served model says of its requests, and what a client is told when it fails. Copied into every served model version.

The client gets one sentence with the request's id; the log gets a line of JSON with the same id, and the trace. Triton's own answer
to a model that raises is the trace, with the paths of this machine in it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

_LONGEST_NAME = 64  # characters of a client's request id that are repeated


class Journal:
    """The requests of one version of one model."""

    def __init__(self, model: str, version: str) -> None:
        self._of = {"model": model, "version": version}

    def answers(self, requests: list[Any], respond: Callable[[list[Any], list[str]], list[Any]]) -> list[Any]:
        """The responses that `respond` makes of requests and their ids; errors where it raises."""
        return self._answers(requests, [request.request_id()[:_LONGEST_NAME] or uuid.uuid4().hex for request in requests], respond)

    def _answers(self, requests: list[Any], names: list[str], respond: Callable[[list[Any], list[str]], list[Any]]) -> list[Any]:
        started = time.perf_counter()
        try:
            responses = respond(requests, names)
        except Exception as error:  # whatever it is, it is answered
            if len(requests) == 1:
                return [self._failure(names[0], str(error), trace=traceback.format_exc())]
            # One of them is the cause, and its neighbours must not suffer from it.
            self._write("warning", f"the batch failed, so each request is run alone: {error}", names)
            return [self._answers([one], [name], respond)[0] for one, name in zip(requests, names, strict=True)]
        self._write("info", "batch done", names, ms=round((time.perf_counter() - started) * 1000, 2))
        return responses

    def answer(self, name: str, outputs: dict[str, np.ndarray]) -> Any:
        """The response with these outputs; an error when there are logits that are no numbers: JSON cannot hold NaN."""
        if not np.isfinite(outputs["logits"]).all():
            return self._failure(name, "its logits are not finite")
        return pb.InferenceResponse([pb.Tensor(output, values) for output, values in outputs.items()])

    def refusal(self, name: str, why: str) -> Any:
        """The response to a request that the model cannot take."""
        self._write("warning", f"refused: {why}", [name])
        return _response(f"{why} (request {name})", pb.TritonError.INVALID_ARG)

    def _failure(self, name: str, why: str, **facts: Any) -> Any:
        self._write("error", f"the model failed: {why}", [name], **facts)
        return _response(f"the model failed; its log has the reason (request {name})", pb.TritonError.INTERNAL)

    def _write(self, level: str, message: str, names: list[str], **facts: Any) -> None:
        line = json.dumps({"level": level, "message": message, **self._of, "request_ids": names, **facts})
        # In one piece, and on a line of its own also where Triton has not ended its line yet: both write to one pipe.
        os.write(sys.stderr.fileno(), f"\n{line}\n".encode())


def _response(message: str, code: Any) -> Any:
    return pb.InferenceResponse(error=pb.TritonError(message, code))
