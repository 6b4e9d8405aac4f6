"""Triton Python model: an engine's logits in, labels out. Copied as model.py; its directory holds all it needs but numpy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

import labels
import numpy as np
import triton_python_backend_utils as pb
from journal import Journal


class TritonPythonModel:
    """`engine_logits` float32 [batch, labels] → label, probability, logits; of a tagger [batch, tokens, labels] and `first_pieces`
    int32 [batch, words] → the same, one answer a word."""

    def initialize(self, arguments: dict[str, str]) -> None:
        self._tagging = json.loads((_HERE / "settings.json").read_text("utf-8"))["task"] == "tagging"
        self._labels = (_HERE / "labels.txt").read_text("utf-8").splitlines()
        self._journal = Journal(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        return self._journal.answers(requests, self._responses)

    def _responses(self, requests: list[Any], names: list[str]) -> list[Any]:
        answer = self._of_words if self._tagging else self._of_texts
        return [self._journal.answer(name, answer(request)) for name, request in zip(names, requests, strict=True)]

    def _of_texts(self, request: Any) -> dict[str, np.ndarray]:
        logits = _values(request, "engine_logits")
        best, probabilities = labels.best(logits, self._labels)
        return {"label": best[:, None], "probability": probabilities[:, None], "logits": logits}

    def _of_words(self, request: Any) -> dict[str, np.ndarray]:
        rows = zip(_values(request, "engine_logits"), _values(request, "first_pieces"), strict=True)
        answers = [labels.of_words(logits, first, self._labels) for logits, first in rows]
        return {name: np.stack([one[name] for one in answers]) for name in answers[0]}


def _values(request: Any, name: str) -> np.ndarray:
    return pb.get_input_tensor_by_name(request, name).as_numpy()
