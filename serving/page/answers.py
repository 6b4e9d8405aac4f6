"""Texts → what the page shows: the answers of text_classifier, and of an FP32 model beside it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from slipway.client.client import Client
from slipway.client.tensors import Tagging
from slipway.client.transport import RequestRefused, Unavailable
from slipway.contract import bundle
from slipway.contract.bundle import Bundle
from slipway.contract.records import TEXT_MODEL
from slipway.contract.tokenizer import Tokenizer, Tokens
from slipway.contract.variants import VARIANTS
from slipway.errors import ServerError

_EXAMPLES = 5
_EXAMPLE_LENGTH = 200  # characters that an example should not exceed
_DEADLINE, _TOGETHER = 10.0, 30.0  # seconds for the answer to a text, and to all of a request
Text = str | Sequence[str]  # a text, also a tagger's; a pair: both texts
Row = dict[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """What a run's server serves, as the page asks for it."""

    task: str  # one of bundle.TASKS
    labels: tuple[str, ...]
    variant: str  # behind text_classifier
    fp32: str  # name of the model that is compared with it; "": no other FP32 model is served
    longest: int  # word pieces that the model reads
    examples: tuple[Text, ...]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, source: Bundle, record: Mapping[str, Any]) -> ServedModel:
        """Return the model of a bundle and of the repository.json that was compiled from it."""
        variant, served = str(record[TEXT_MODEL]), record["models"]
        others = [
            f"bert_{name}"
            for name in VARIANTS
            if name != variant and VARIANTS[name].precision == "fp32" and f"bert_{name}" in served
        ]
        return cls(
            source.task,
            tuple(source.labels),
            variant,
            others[0] if others else "",
            source.max_seq_len,
            _examples(source),
            Tokenizer.of(source.vocabulary, source.facts),
        )

    def facts(self) -> dict[str, Any]:
        """Return as JSON what the page says of the model before anything is asked."""
        return {
            "task": self.task,
            "labels": self.labels,
            "variant": self.variant,
            "precision": VARIANTS[self.variant].precision,
            "fp32": self.fp32 or None,
            "longest": self.longest,
            "examples": self.examples,
        }


def _examples(source: Bundle) -> tuple[Text, ...]:
    """Return golden texts, one line each, of one label after the other; short ones if there are."""
    golden = bundle.load_golden(source)
    lines = [_line(text, source.task) for text in golden.texts]
    short = [row for row, text in enumerate(lines) if len("".join(text)) <= _EXAMPLE_LENGTH]
    turns, taken = [], Counter[int]()
    for row in short or range(len(lines)):
        label = int(golden.labels[row]) if golden.per_row else 0
        turns.append((taken[label], row))
        taken[label] += 1
    return tuple(lines[row] for _, row in sorted(turns)[:_EXAMPLES])


def _line(text: Any, task: str) -> Text:
    if task == "tagging":
        return " ".join(text)
    return " ".join(text.split()) if isinstance(text, str) else tuple(" ".join(part.split()) for part in text)


def answer(client: Client, model: ServedModel, texts: Sequence[Text]) -> list[Row]:
    """Ask for one text after the other, and return a row of JSON for each.

    A row is {"error": a sentence}, or "tokens", "truncated", "ms", "fp32_ms" (null without an FP32
    answer), "fp32_error", and "parts": one, or of a tagger one for each word. A part has "word",
    "label" ("": not read), "probabilities" in the order of the labels, the same two of FP32 or null
    under "fp32", and "differs": whether the two labels do.
    """
    try:
        client.task(_DEADLINE)  # connects, if need be: no text's time is to hold that
    except ServerError as error:
        return [{"error": _sentence(error)} for _ in texts]
    end, away, rows = time.monotonic() + _TOGETHER, "", []
    for text in texts:
        left = end - time.monotonic()
        if away or left <= 0:
            rows.append({"error": away or f"not asked: the texts before it took {_TOGETHER:.0f} s"})
            continue
        try:
            rows.append(_row(client, model, text, min(_DEADLINE, left)))
        except Unavailable as error:
            away = _sentence(error)
            rows.append({"error": away})
        except ServerError as error:
            rows.append({"error": _sentence(error)})
    return rows


def _row(client: Client, model: ServedModel, text: Text, deadline: float) -> Row:
    words = text.split() if model.task == "tagging" and isinstance(text, str) else []
    started = time.perf_counter()
    reply = client.tag([words], deadline)[0] if model.task == "tagging" else client.classify([_question(text)], deadline)[0]
    milliseconds = (time.perf_counter() - started) * 1000
    if isinstance(reply, Tagging):
        parts = [
            _part(word, label, logits if label else None)
            for word, label, logits in zip(words, reply.labels, reply.logits, strict=True)
        ]
    else:
        parts = [_part("", reply.label, reply.logits)]
    row: Row = {"tokens": reply.tokens, "truncated": reply.truncated, "ms": milliseconds, "fp32_ms": None, "fp32_error": ""}
    if model.fp32:
        try:
            row["fp32_ms"] = _compare(client, model, _question(text), words, parts, deadline)
        except ServerError as error:
            row["fp32_error"] = _sentence(error)
    return row | {"parts": parts}


def _question(text: Text) -> Any:
    return text if isinstance(text, str) else tuple(text)


def _compare(client: Client, model: ServedModel, text: Any, words: list[str], parts: list[Row], deadline: float) -> float:
    """Put the FP32 model's answer into the parts that were read; return its time in ms."""
    started = time.perf_counter()
    [tokens] = model.tokenizer.of_words([words]) if words else model.tokenizer([text])
    types = np.array([tokens.types], np.int32) if model.task == "text_pair" else None
    [logits] = client.logits(model.fp32, np.array([tokens.ids], np.int32), types, deadline)
    milliseconds = (time.perf_counter() - started) * 1000
    for part, piece in zip(parts, _first_pieces(tokens, len(words)) if words else [None], strict=True):
        if not part["label"]:
            continue
        values = logits if piece is None else logits[piece]
        label = model.labels[int(np.argmax(values))]
        part |= {"fp32": {"label": label, "probabilities": _softmax(values)}, "differs": label != part["label"]}
    return milliseconds


def _first_pieces(tokens: Tokens, count: int) -> list[int]:
    """Return the place of the first piece of each word; 0, which is [CLS], for one not read."""
    return [tokens.words.index(word) if word in tokens.words else 0 for word in range(count)]


def _part(word: str, label: str, logits: ArrayLike | None) -> Row:
    probabilities = [] if logits is None else _softmax(logits)
    return {"word": word, "label": label, "probabilities": probabilities, "fp32": None, "differs": False}


def _softmax(logits: ArrayLike) -> list[float]:
    values = np.asarray(logits, np.float64)
    shares = np.exp(values - values.max())
    listed: list[float] = (shares / shares.sum()).tolist()
    return listed


def _sentence(error: ServerError) -> str:
    if isinstance(error, Unavailable):
        return "Triton does not answer. It may be starting again: ask again in a few seconds."
    if isinstance(error, RequestRefused):
        found = error.found.replace("text 0", "the text").replace("text_b 0", "the second text")  # its request has no other
        return f"Triton refused it: {found}"
    return f"{error.summary}: {error.found}"
