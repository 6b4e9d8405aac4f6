"""Triton Python model: text in, label out. Copied as model.py; its directory holds all it needs but numpy, onnxruntime
and tokenizers."""

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
import labels
import numpy as np
import texts
from engine import Engine
from inputs import Refused
from journal import Journal
from metrics import Counters
from microbatches import CostModel
from tokenizer import Tokenizer, Tokens


class TritonPythonModel:
    """`text` BYTES [batch, 1] → label, probability, logits, truncated, tokens; one row each.

    Of a model of text pairs, `text` and `text_b`, BYTES [batch, 1] each. Of a tagger, `words` BYTES [batch, words], "" filling up
    shorter sentences; label, probability and logits are then [batch, words, …]: one answer a word, in the shape that was asked.
    A word that was not read (cut off, filled up, or of characters that the tokenizer drops) has the label "" and zeros.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        settings = json.loads((_HERE / "settings.json").read_text("utf-8"))
        self._labels = (_HERE / "labels.txt").read_text("utf-8").splitlines()
        self._task = settings["task"]
        self._tokenize = Tokenizer(
            _HERE / "vocab.txt",
            lower_case=settings["lower_case"],
            max_seq_len=settings["max_seq_len"],
            expected_sha256=settings["vocabulary_sha256"],
        )
        self._engine = Engine(_HERE / "model.onnx", settings["threads"], CostModel(**settings["cost"]), settings["provider"])
        golden.answer(self._engine, settings["golden"])
        self._counters = Counters(arguments["model_name"], arguments["model_version"])
        self._journal = Journal(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests. A bad text fails its own request and no other."""
        started = time.perf_counter()
        responses = self._journal.answers(requests, self._responses)
        self._counters.answered(responses, time.perf_counter() - started)
        return responses

    def _responses(self, requests: list[Any], names: list[str]) -> list[Any]:
        started = time.perf_counter()
        given = self._read(requests)
        self._counters.waited("tokenizing", len(requests), time.perf_counter() - started)
        flat = [row for rows in given if not isinstance(rows, Refused) for row in rows]
        answers = self._answer(flat, len(requests)) if flat else {}
        responses, start = [], 0
        for name, rows in zip(names, given, strict=True):
            if isinstance(rows, Refused):
                responses.append(self._journal.refusal(name, str(rows)))
                continue
            own = slice(start, start + len(rows))
            start = own.stop
            # Sentences of one request are as long as each other, those of two need not be.
            outputs = {output: np.asarray(values[own]) for output, values in answers.items()}
            responses.append(self._journal.answer(name, outputs))
        return responses

    def _read(self, requests: list[Any]) -> list[Any]:
        """Of each request its texts with their tokens, [(text, Tokens), …], or what is wrong with it."""
        given = [inputs.read(request, lambda one: texts.read(one, self._task)) for request in requests]
        flat = [text for rows in given if not isinstance(rows, Refused) for text in rows]
        tokens = iter(self._tokenize.of_words(flat) if self._task == "tagging" else self._tokenize(flat))
        return [rows if isinstance(rows, Refused) else self._with_tokens(rows, tokens) for rows in given]

    def _with_tokens(self, given: list[Any], tokens: Iterator[Tokens]) -> list[tuple[Any, Tokens]] | Refused:
        rows = [(text, next(tokens)) for text in given]
        try:
            texts.check_read([one for _, one in rows], self._task)
        except Refused as refused:
            return refused
        return rows

    def _answer(self, rows: list[tuple[Any, Tokens]], requests: int) -> dict[str, Any]:
        """Output name → values [texts, …], an array, or a list of a tagger's arrays [words, …]; `requests` wait for them."""
        tokens = [one for _, one in rows]
        types = [np.array(row.types, np.int32) for row in tokens] if self._task == "text_pair" else None
        started = time.perf_counter()
        result = self._engine.run([np.array(row.ids, np.int32) for row in tokens], types)
        self._counters.waited("engine", requests, time.perf_counter() - started)
        truncated = np.array([[row.truncated] for row in tokens])
        self._counters.count(result, int(truncated.sum()))
        counts = {"truncated": truncated, "tokens": np.array([[len(row.ids)] for row in tokens], np.int32)}
        if self._task == "tagging":
            return self._tags([words for words, _ in rows], tokens, result.logits) | counts
        best, probabilities = labels.best(np.asarray(result.logits), self._labels)
        return {"label": best[:, None], "probability": probabilities[:, None], "logits": result.logits} | counts

    def _tags(self, sentences: list[list[str]], tokens: list[Tokens], logits: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """The answers of every sentence, a word's being that of its first piece."""
        answers = [
            labels.of_words(of_pieces, labels.first_pieces(row.words, len(words)), self._labels)
            for words, row, of_pieces in zip(sentences, tokens, logits, strict=True)
        ]
        return {name: [one[name] for one in answers] for name in answers[0]}
