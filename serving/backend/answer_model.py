"""Triton Python model: an engine's logits in, labels out.

Copied as model.py; its directory holds all it needs but numpy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import outputs
import triton_python_backend_utils as pb
from outputs import Outputs, Refusal, ServedModel


class TritonPythonModel(ServedModel):
    """`engine_logits` float32 [batch, labels] → label, probability, logits.

    Tagger: `engine_logits` [batch, tokens, labels] and `first_pieces` int32 [batch, words] → one
    answer a word.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        super().initialize(arguments)
        self._labels = outputs.read_labels(self.settings)

    def answers(self, requests: list[Any]) -> list[Outputs | Refusal]:
        return outputs.of_each(self._answer, requests)

    def _answer(self, request: Any) -> Outputs:
        logits = _values(request, "engine_logits")
        if self.settings["task"] != "tagging":
            return outputs.of_texts(logits, self._labels)
        rows = zip(logits, _values(request, "first_pieces"), strict=True)
        sentences = [outputs.of_words(of_pieces, first, self._labels) for of_pieces, first in rows]
        return {name: np.stack([sentence[name] for sentence in sentences]) for name in sentences[0]}


def _values(request: Any, name: str) -> np.ndarray:
    return pb.get_input_tensor_by_name(request, name).as_numpy()
