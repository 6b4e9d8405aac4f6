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
        self._read = {"single_text": _texts, "text_pair": _pairs, "tagging": _sentences}[self._task]
        self._tokenize = Tokenizer(
            _HERE / "vocab.txt",
            lower_case=settings["lower_case"],
            max_seq_len=settings["max_seq_len"],
            expected_sha256=settings["vocabulary_sha256"],
        )
        self._engine = Engine(_HERE / "model.onnx", settings["threads"], CostModel(**settings["cost"]), settings["provider"])
        self._counters = Counters(arguments["model_name"], arguments["model_version"])
        self._journal = Journal(arguments["model_name"], arguments["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests. A bad text fails its own request and no other."""
        return self._journal.answers(requests, self._responses)

    def _responses(self, requests: list[Any], names: list[str]) -> list[Any]:
        texts = [self._read_or_refuse(request) for request in requests]
        flat = [text for request_texts in texts if isinstance(request_texts, list) for text in request_texts]
        answers = self._answer(flat) if flat else {}
        responses, start = [], 0
        for name, request_texts in zip(names, texts, strict=True):
            if isinstance(request_texts, _Refused):
                responses.append(self._journal.refusal(name, str(request_texts)))
                continue
            rows = slice(start, start + len(request_texts))
            start = rows.stop
            # Sentences of one request are as long as each other, those of two need not be.
            responses.append(
                pb.InferenceResponse([pb.Tensor(output, np.asarray(values[rows])) for output, values in answers.items()])
            )
        return responses

    def _read_or_refuse(self, request: Any) -> list[Any] | _Refused:
        """The request's texts, or what is wrong with them."""
        try:
            return self._read(request)
        except _Refused as refused:
            return refused

    def _answer(self, texts: list[Any]) -> dict[str, Any]:
        """Output name → values [texts, …], an array, or a list of a tagger's arrays [words, …]."""
        tagging = self._task == "tagging"
        tokens = self._tokenize.of_words(texts) if tagging else self._tokenize(texts)
        types = [np.array(row.types, np.int32) for row in tokens] if self._task == "text_pair" else None
        result = self._engine.run([np.array(row.ids, np.int32) for row in tokens], types)
        truncated = np.array([[row.truncated] for row in tokens])
        self._counters.count(result, int(truncated.sum()))
        counts = {"truncated": truncated, "tokens": np.array([[len(row.ids)] for row in tokens], np.int32)}
        if tagging:
            return self._tags(texts, tokens, result.logits) | counts
        best, probabilities = self._best(result.logits)
        return {"label": best[:, None], "probability": probabilities[:, None], "logits": result.logits} | counts

    def _best(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The label and its probability of each row [answers, labels]."""
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        best = logits.argmax(axis=1)
        labels = np.array([self._labels[i].encode() for i in best], object)
        return labels, probabilities[np.arange(len(best)), best].astype(np.float32)

    def _tags(self, sentences: list[list[str]], tokens: list[Tokens], logits: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """The answers of every sentence, a word's being that of its first piece."""
        found: dict[str, list[np.ndarray]] = {"label": [], "probability": [], "logits": []}
        for words, row, of_pieces in zip(sentences, tokens, logits, strict=True):
            first = _first_pieces(row)
            read = list(first)
            of_words = np.zeros((len(words), len(self._labels)), np.float32)
            labels, probabilities = np.full(len(words), b"", object), np.zeros(len(words), np.float32)
            of_words[read] = of_pieces[list(first.values())]
            labels[read], probabilities[read] = self._best(of_words[read])
            for name, values in (("label", labels), ("probability", probabilities), ("logits", of_words)):
                found[name].append(values)
        return found


def _first_pieces(row: Tokens) -> dict[int, int]:
    """Number of each word that was read → where its first piece is."""
    first: dict[int, int] = {}
    for at, word in enumerate(row.words):
        if word is not None:
            first.setdefault(word, at)
    return first


class _Refused(ValueError):
    """What is wrong with a request's text."""


def _texts(request: Any, name: str = "text") -> list[str]:
    values = pb.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
    return [_text(value, name, number) for number, value in enumerate(values)]


def _pairs(request: Any) -> list[tuple[str, str]]:
    return list(zip(_texts(request), _texts(request, "text_b"), strict=True))


def _sentences(request: Any) -> list[list[str]]:
    values = pb.get_input_tensor_by_name(request, "words").as_numpy()
    sentences = []
    for number, row in enumerate(values):
        filled = np.flatnonzero(row != b"")
        count = int(filled[-1]) + 1 if len(filled) else 0
        if not count:
            raise _Refused(f"text {number} has no words")
        words = [_text(value, f"text {number}, word", at) for at, value in enumerate(row[:count])]
        sentences.append(words + [""] * (len(row) - count))
    return sentences


def _text(value: bytes, what: str, number: int) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Refused(f"{what} {number} is not UTF-8: byte 0x{value[error.start]:02x} at offset {error.start}") from error
    if not text.strip():
        raise _Refused(f"{what} {number} is empty: expected at least one character that is not white space")
    return text
