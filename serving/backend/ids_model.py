"""Triton Python model: ids in, logits out. Copied as model.py; its directory holds all it needs but numpy and onnxruntime."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

import golden
import inputs
import numpy as np
from engine import Engine
from inputs import Refused
from journal import Journal
from metrics import Counters
from microbatches import CostModel


class TritonPythonModel:
    """`input_word_ids` int32 [batch, tokens], [CLS] and [SEP] included, 0 for padding → `logits` float32 [batch, labels].

    A model of text pairs wants `input_type_ids` too, of the same shape: 1 in the second text, else 0. A tagger's logits are
    [batch, tokens, labels], 0 at padding. Requests of unequal length arrive in one call (allow_ragged_batch), each with a shape
    of its own.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        settings = json.loads((_HERE / "settings.json").read_text("utf-8"))
        self._most_tokens, self._most_ids = settings["max_seq_len"], settings["vocabulary_size"]
        self._pairs = settings["task"] == "text_pair"
        self._engine = Engine(_HERE / "model.onnx", settings["threads"], CostModel(**settings["cost"]), settings["provider"])
        golden.answer(self._engine, settings["golden"])
        self._counters = Counters(arguments["model_name"], arguments["model_version"])
        self._journal = Journal(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests. Bad ids fail their own request and no other."""
        started = time.perf_counter()
        responses = self._journal.answers(requests, self._responses)
        self._counters.answered(responses, time.perf_counter() - started)
        return responses

    def _responses(self, requests: list[Any], names: list[str]) -> list[Any]:
        given = [inputs.read(request, self._read) for request in requests]
        good = [one for one in given if not isinstance(one, Refused)]
        answers = self._answers(good) if good else iter(())
        responses = []
        for name, one in zip(names, given, strict=True):
            if isinstance(one, Refused):
                responses.append(self._journal.refusal(name, str(one)))
            else:
                responses.append(self._journal.answer(name, {"logits": next(answers)}))
        return responses

    def _read(self, request: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Ids and type ids, [rows, tokens] each. Raises Refused for what the model cannot take."""
        ids = inputs.tensor(request, "input_word_ids")
        types = inputs.tensor(request, "input_type_ids") if self._pairs else None
        if not 0 < ids.shape[1] <= self._most_tokens:
            raise Refused(f"expected 1 to {self._most_tokens} tokens, found {ids.shape[1]}")
        if ids.min() < 0 or ids.max() >= self._most_ids:
            raise Refused(f"expected ids from 0 to {self._most_ids - 1}, found {ids.min()} to {ids.max()}")
        _check_padding(ids)
        if types is not None and types.shape != ids.shape:
            raise Refused(f"expected input_type_ids of the shape of input_word_ids, {list(ids.shape)}, found {list(types.shape)}")
        if types is not None and not np.isin(types, (0, 1)).all():
            raise Refused(f"expected type ids 0 and 1, found {types.min()} to {types.max()}")
        return ids, types

    def _answers(self, inputs: list[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[np.ndarray]:
        """The logits of each request, from one run for all of them."""
        rows = [_unpadded(row) for ids, _ in inputs for row in ids]
        types = [row for _, types in inputs for row in types] if self._pairs else None
        started = time.perf_counter()
        result = self._engine.run(rows, types and [one[: len(row)] for one, row in zip(types, rows, strict=True)])
        self._counters.waited("engine", len(inputs), time.perf_counter() - started)
        self._counters.count(result)
        start = 0
        for ids, _ in inputs:
            logits = result.logits[start : start + len(ids)]
            yield logits if isinstance(logits, np.ndarray) else _padded(logits, ids.shape[1])
            start += len(ids)


def _check_padding(ids: np.ndarray) -> None:
    """Raises Refused for padding anywhere but at a row's end: what comes after it would stand at another position."""
    for number, row in enumerate(ids):
        tokens = len(_unpadded(row))
        if not row[:tokens].all():
            raise Refused(f"row {number}: expected padding, id 0, only after the tokens, found it at {int(row[:tokens].argmin())}")


def _unpadded(row: np.ndarray) -> np.ndarray:
    """The row without the padding at its end; a row of nothing but padding keeps one token."""
    tokens = np.flatnonzero(row)
    return row[: tokens[-1] + 1] if len(tokens) else row[:1]


def _padded(rows: list[np.ndarray], width: int) -> np.ndarray:
    """A tagger's rows [tokens, labels] as one array [rows, width, labels]."""
    padded = np.zeros((len(rows), width, rows[0].shape[1]), np.float32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
