"""What is asked of a served model and what comes back, as the tensors that travel: texts → inputs, outputs → answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.records import MAX_BATCH
from train.errors import ServerError

Tensors = dict[str, NDArray[Any]]  # of one request, by name; object arrays hold bytes
_OUTPUTS = ("label", "probability", "logits", "truncated", "tokens")


@dataclass(frozen=True)
class Answer:
    label: str
    probability: float
    logits: tuple[float, ...]
    truncated: bool  # the text was longer than the model can read; its beginning was classified
    tokens: int  # word pieces the model read


@dataclass(frozen=True)
class Tagged:
    """Of one sentence, one answer a word. A word that was not read has the label "" and zeros."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    logits: NDArray[np.float32]  # [words, labels]
    truncated: bool  # the sentence was longer than the model can read; the words at its beginning were tagged
    tokens: int  # word pieces the model read


def batches(inputs: Tensors) -> list[Tensors]:
    """The rows of these inputs, in requests that every target takes."""
    rows = len(next(iter(inputs.values())))
    return [{name: values[at : at + MAX_BATCH] for name, values in inputs.items()} for at in range(0, rows, MAX_BATCH)]


def of_texts(texts: Sequence[str] | Sequence[Sequence[str]]) -> list[Tensors]:
    """The requests for texts or pairs. Raises ServerError for what is neither, or no Unicode."""
    if not texts:
        return []
    return batches({name: np.array([[utf8(text)] for text in column], object) for name, column in _columns(texts).items()})


def of_sentences(sentences: Sequence[Sequence[str]]) -> list[Tensors]:
    """The requests for sentences split into words: each filled up with "" to the longest of its own request."""
    made = []
    for start in range(0, len(sentences), MAX_BATCH):
        batch = sentences[start : start + MAX_BATCH]
        words = np.full((len(batch), max(1, *map(len, batch))), b"", object)
        for row, sentence in zip(words, batch, strict=True):
            row[: len(sentence)] = [utf8(word) for word in sentence]
        made.append({"words": words})
    return made


def classified(outputs: Tensors) -> list[Answer]:
    rows = [outputs[name] for name in _OUTPUTS]
    return [
        Answer(label[0].decode(), float(probability[0]), tuple(logits.tolist()), bool(cut[0]), int(tokens[0]))
        for label, probability, logits, cut, tokens in zip(*rows, strict=True)
    ]


def tagged(outputs: Tensors, words: Sequence[int]) -> list[Tagged]:
    """The answers of one request's sentences, `words` long each."""
    rows = [outputs[name] for name in _OUTPUTS]
    return [
        Tagged(
            tuple(label.decode() for label in labels[:count]),
            tuple(probabilities[:count].tolist()),
            logits[:count],
            bool(cut[0]),
            int(tokens[0]),
        )
        for count, labels, probabilities, logits, cut, tokens in zip(words, *rows, strict=True)
    ]


def _columns(texts: Sequence[str] | Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    """Input of text_classifier → its strings, one a text."""
    rows = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
    counts = sorted({len(row) for row in rows})
    if counts not in ([1], [2]):
        raise ServerError(
            "these are neither single texts nor pairs",
            expected="every text a string, or every one a pair of strings",
            found=f"texts of {' and '.join(map(str, counts))} strings",
            where="the texts to classify",
            fix="classify texts or pairs; words go to `tag`",
        )
    return dict(zip(("text", "text_b"), zip(*rows, strict=True), strict=False))


def utf8(text: str) -> bytes:
    """The text's bytes. Raises ServerError for what no UTF-8 can hold, such as half of a surrogate pair."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ServerError(
            "the text is not Unicode",
            expected="text that can be written as UTF-8",
            found=f"{text[error.start : error.end]!r} at character {error.start}",
            where="the text to classify",
            fix="convert it to UTF-8, for example with iconv",
        ) from error
