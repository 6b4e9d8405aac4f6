"""Triton Python model: ids in, logits out.

Copied as model.py; its directory holds all it needs but numpy and onnxruntime.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import inputs
import numpy as np
import outputs
from metrics import EngineModel
from outputs import Outputs, Refusal


@dataclass(frozen=True)
class _Row:
    """A row without the padding at its end."""

    ids: np.ndarray  # int32 [tokens]
    types: np.ndarray  # int32 [tokens], 1 in the second text of a pair
    width: int  # tokens, padding included


class TritonPythonModel(EngineModel):
    """`input_word_ids` int32 [batch, tokens], 0 for padding → `logits` float32 [batch, labels].

    Text pairs: `input_type_ids` too, 1 in the second text, else 0. Tagger: the logits are
    [batch, tokens, labels], 0 at padding. Requests of unequal length arrive in one call
    (allow_ragged_batch), each with a shape of its own.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        super().initialize(arguments)
        self._most_tokens, self._vocabulary_size = self.settings["max_seq_len"], self.settings["vocabulary_size"]
        self._pairs = self.settings["task"] == "text_pair"

    def answers(self, requests: list[Any]) -> list[Outputs | Refusal]:
        """Read every request, run the engine once for all, and give each request its own rows."""
        read = outputs.of_each(self._read, requests)
        rows = inputs.accepted(read)
        types = [row.types for row in rows] if self._pairs else None
        logits = self.run([row.ids for row in rows], types, len(requests)) if rows else []
        return [
            place if isinstance(place, Refusal) else {"logits": _stacked(logits[place], rows[place.start].width)}
            for place in inputs.places(read)
        ]

    def _read(self, request: Any) -> list[_Row] | Refusal:
        arrays = inputs.tensors(request, "input_word_ids", *(["input_type_ids"] if self._pairs else []))
        if isinstance(arrays, Refusal):
            return arrays
        ids, types = arrays if self._pairs else (arrays[0], np.zeros_like(arrays[0]))
        if refusal := self._wrong_ids(ids) or _wrong_padding(ids) or _wrong_types(types, ids.shape):
            return refusal
        lengths = [_tokens(row) for row in ids]
        return [_Row(row[:n], kinds[:n], len(row)) for row, kinds, n in zip(ids, types, lengths, strict=True)]

    def _wrong_ids(self, ids: np.ndarray) -> Refusal | None:
        if not 0 < ids.shape[1] <= self._most_tokens:
            return Refusal(f"expected 1 to {self._most_tokens} tokens, found {ids.shape[1]}")
        if ids.min() < 0 or ids.max() >= self._vocabulary_size:
            return Refusal(f"expected ids from 0 to {self._vocabulary_size - 1}, found {ids.min()} to {ids.max()}")
        return None


def _wrong_padding(ids: np.ndarray) -> Refusal | None:
    """Refuse padding that is not at a row's end: tokens behind it would be at other positions."""
    for number, row in enumerate(ids):
        tokens = row[: _tokens(row)]
        if not tokens.all():
            return Refusal(f"row {number}: expected padding, id 0, only after the tokens, found it at {int(tokens.argmin())}")
    return None


def _wrong_types(types: np.ndarray, shape: tuple[int, ...]) -> Refusal | None:
    if types.shape != shape:
        return Refusal(f"expected input_type_ids of the shape of input_word_ids, {list(shape)}, found {list(types.shape)}")
    if not np.isin(types, (0, 1)).all():
        return Refusal(f"expected type ids 0 and 1, found {types.min()} to {types.max()}")
    return None


def _tokens(row: np.ndarray) -> int:
    """Count the tokens before the padding at the row's end; a row of only padding has one."""
    tokens = np.flatnonzero(row)
    return int(tokens[-1]) + 1 if len(tokens) else 1


def _stacked(logits: Any, width: int) -> np.ndarray:
    """Return a request's logits as one array; tagger: [rows, width, labels], 0 at padding."""
    if isinstance(logits, np.ndarray):
        return logits
    stacked = np.zeros((len(logits), width, logits[0].shape[1]), np.float32)
    for i, row in enumerate(logits):
        stacked[i, : len(row)] = row
    return stacked
