"""Triton Python model: text in, label out. Copied as model.py; its directory holds all it needs but numpy, onnxruntime
and tokenizers."""

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
from tokenizer import Tokenizer


class TritonPythonModel:
    """`text` BYTES [batch, 1] → label, probability, logits, truncated, tokens; one row each."""

    def initialize(self, arguments: dict[str, str]) -> None:
        settings = json.loads((_HERE / "settings.json").read_text("utf-8"))
        self._labels = (_HERE / "labels.txt").read_text("utf-8").splitlines()
        self._tokenize = Tokenizer(
            _HERE / "vocab.txt",
            lower_case=settings["lower_case"],
            max_seq_len=settings["max_seq_len"],
            expected_sha256=settings["vocabulary_sha256"],
        )
        self._engine = Engine(_HERE / "model.onnx", settings["threads"], CostModel(**settings["cost"]))
        self._counters = Counters(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests. A bad text fails its own request and no other."""
        texts: list[list[str] | pb.TritonError] = [_texts(request) for request in requests]
        flat = [text for request_texts in texts if isinstance(request_texts, list) for text in request_texts]
        answers = self._answer(flat) if flat else {}
        responses, start = [], 0
        for request_texts in texts:
            if isinstance(request_texts, pb.TritonError):
                responses.append(pb.InferenceResponse(error=request_texts))
                continue
            rows = slice(start, start + len(request_texts))
            start = rows.stop
            responses.append(pb.InferenceResponse([pb.Tensor(name, values[rows]) for name, values in answers.items()]))
        return responses

    def _answer(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Output name → values [texts, …]."""
        tokens = self._tokenize(texts)
        result = self._engine.run([np.array(row.ids, np.int32) for row in tokens])
        truncated = np.array([[row.truncated] for row in tokens])
        self._counters.count(result, int(truncated.sum()))
        exponentials = np.exp(result.logits - result.logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        best = result.logits.argmax(axis=1)
        return {
            "label": np.array([[self._labels[i].encode()] for i in best], object),
            "probability": probabilities[np.arange(len(best)), best].reshape(-1, 1).astype(np.float32),
            "logits": result.logits,
            "truncated": truncated,
            "tokens": np.array([[len(row.ids)] for row in tokens], np.int32),
        }


def _texts(request: Any) -> list[str] | pb.TritonError:
    """The request's texts, or the error to answer it with."""
    values = pb.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
    texts = []
    for number, value in enumerate(values):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            return _refusal(f"text {number} is not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}")
        if not text.strip():
            return _refusal(f"text {number} is empty: expected at least one character that is not white space")
        texts.append(text)
    return texts


def _refusal(message: str) -> pb.TritonError:
    return pb.TritonError(message, pb.TritonError.INVALID_ARG)
