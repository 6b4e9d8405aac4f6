"""Triton Python model: ids in, logits out. Copied as model.py; its directory holds all it needs but numpy and onnxruntime."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

import numpy as np
import triton_python_backend_utils as pb
from engine import Engine
from metrics import Counters
from microbatches import CostModel


class TritonPythonModel:
    """`input_word_ids` int32 [batch, tokens], [CLS] and [SEP] included, 0 for padding → `logits` float32 [batch, labels].

    Requests of unequal length arrive in one call (allow_ragged_batch), each with a shape of its own.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        settings = json.loads((_HERE / "settings.json").read_text("utf-8"))
        self._most_tokens, self._most_ids = settings["max_seq_len"], settings["vocabulary_size"]
        self._engine = Engine(_HERE / "model.onnx", settings["threads"], CostModel(**settings["cost"]))
        self._counters = Counters(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        inputs = [pb.get_input_tensor_by_name(request, "input_word_ids").as_numpy() for request in requests]
        errors = [self._error(ids) for ids in inputs]
        rows = [_unpadded(row) for ids, error in zip(inputs, errors, strict=True) if not error for row in ids]
        logits = np.zeros((0, 0), np.float32)
        if rows:
            result = self._engine.run(rows)
            self._counters.count(result)
            logits = result.logits
        responses, start = [], 0
        for ids, error in zip(inputs, errors, strict=True):
            if error:
                responses.append(pb.InferenceResponse(error=pb.TritonError(error, pb.TritonError.INVALID_ARG)))
                continue
            responses.append(pb.InferenceResponse([pb.Tensor("logits", logits[start : start + len(ids)])]))
            start += len(ids)
        return responses

    def _error(self, ids: np.ndarray) -> str:
        """ "" when the model can take these ids, else what is wrong with them."""
        if not 0 < ids.shape[1] <= self._most_tokens:
            return f"expected 1 to {self._most_tokens} tokens, found {ids.shape[1]}"
        if ids.size and not (ids.min() >= 0 and ids.max() < self._most_ids):
            return f"expected ids from 0 to {self._most_ids - 1}, found {ids.min()} to {ids.max()}"
        return ""


def _unpadded(row: np.ndarray) -> np.ndarray:
    """The row without the padding at its end; a row of nothing but padding keeps one token."""
    tokens = np.flatnonzero(row)
    return row[: tokens[-1] + 1] if len(tokens) else row[:1]
