"""Triton Python model: text in, label out.

Copied as model.py; its directory holds all it needs but numpy, onnxruntime and tokenizers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import inputs
import numpy as np
import outputs
from metrics import EngineModel
from outputs import Outputs, Refusal
from tokenizer import Tokens

_Row = tuple[Any, Tokens]  # a text as inputs.texts reads it


class TritonPythonModel(EngineModel):
    """`text` BYTES [batch, 1] → label, probability, logits, truncated, tokens; one row each.

    Text pairs: `text` and `text_b`. Tagger: `words` BYTES [batch, words], "" filling up shorter
    sentences; label, probability and logits are then [batch, words, …], one answer a word. A word
    that was cut off or of which the tokenizer left nothing has the label "" and zeros.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        super().initialize(arguments)
        self._task = self.settings["task"]
        self._labels = outputs.read_labels(self.settings)
        self._tokenize = inputs.tokenizer(self.settings)

    def answers(self, requests: list[Any]) -> list[Outputs | Refusal]:
        """Read every request, run the engine once for all, and give each request its own rows."""
        started = time.perf_counter()
        read = self._read(requests)
        self.counters.waited("tokenizing", len(requests), time.perf_counter() - started)
        rows = inputs.accepted(read)
        answered = self._outputs(rows, len(requests)) if rows else {}
        return [
            # The sentences of one request are equally long, so that they are one array.
            place if isinstance(place, Refusal) else {name: np.asarray(values[place]) for name, values in answered.items()}
            for place in inputs.places(read)
        ]

    def _read(self, requests: list[Any]) -> list[list[_Row] | Refusal]:
        """Return each request's texts with their tokens, from one call for all, or a refusal."""
        texts = outputs.of_each(lambda request: inputs.texts(request, self._task), requests)
        accepted = inputs.accepted(texts)
        tokens = self._tokenize(accepted)
        rows = list(zip(accepted, tokens, strict=True))
        return [
            place if isinstance(place, Refusal) else inputs.unread(tokens[place], self._task) or rows[place]
            for place in inputs.places(texts)
        ]

    def _outputs(self, rows: list[_Row], requests: int) -> dict[str, Sequence[np.ndarray]]:
        """Return the values of each output, [texts, …]; tagger: lists of arrays [words, …]."""
        tokens = [row_tokens for _, row_tokens in rows]
        ids = [np.array(row.ids, np.int32) for row in tokens]
        types = [np.array(row.types, np.int32) for row in tokens] if self._task == "text_pair" else None
        truncated = np.array([[row.truncated] for row in tokens])
        counts = {"truncated": truncated, "tokens": np.array([[len(row)] for row in ids], np.int32)}
        logits = self.run(ids, types, requests, int(truncated.sum()))
        if self._task != "tagging":
            return outputs.of_texts(np.asarray(logits), self._labels) | counts
        sentences = [
            outputs.of_words(of_pieces, outputs.first_pieces(row.words, len(words)), self._labels)
            for (words, row), of_pieces in zip(rows, logits, strict=True)
        ]
        return {name: [sentence[name] for sentence in sentences] for name in sentences[0]} | counts
