"""The tensors that travel: texts → a served model's inputs, and its outputs → answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway import errors
from slipway.contract.records import MAX_BATCH
from slipway.errors import ServerError

Texts = Sequence[str] | Sequence[Sequence[str]]  # single texts, or pairs of them
Tensors = dict[str, NDArray[Any]]  # of one request, by name; object arrays hold bytes
_OUTPUTS = ("label", "probability", "logits", "truncated", "tokens")


@dataclass(frozen=True)
class Classification:
    """The answer to one text or pair."""

    label: str
    probability: float  # of the label, 0 to 1
    logits: tuple[float, ...]  # one for each label
    truncated: bool  # the text was longer than the model can read; its beginning was classified
    tokens: int  # word pieces the model read


@dataclass(frozen=True)
class Tagging:
    """The answer to one sentence: a label for each word; "" and zeros where it was not read."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]  # of the labels, 0 to 1
    logits: NDArray[np.float32]  # [words, labels]
    truncated: bool  # the sentence was longer than the model can read; its first words were tagged
    tokens: int  # word pieces the model read


def split_batches(inputs: Tensors) -> list[Tensors]:
    """Split the rows of these inputs into requests that every target takes."""
    rows = len(next(iter(inputs.values())))
    return [{name: values[at : at + MAX_BATCH] for name, values in inputs.items()} for at in range(0, rows, MAX_BATCH)]


def text_requests(texts: Texts) -> list[Tensors]:
    """Return the requests for texts or pairs: each input is [texts, 1] bytes.

    Raises ServerError for anything else, and for text that UTF-8 cannot hold.
    """
    if not texts:
        return []
    columns = _columns(texts).items()
    return split_batches({name: np.array([[utf8(text)] for text in column], object) for name, column in columns})


def sentence_requests(sentences: Sequence[Sequence[str]]) -> list[Tensors]:
    """Return the requests for sentences split into words: [sentences, words] bytes.

    Sentences are filled up with "" to the longest of their own request.
    """
    requests: list[Tensors] = []
    for start in range(0, len(sentences), MAX_BATCH):
        batch = sentences[start : start + MAX_BATCH]
        words = np.full((len(batch), max(1, *map(len, batch))), b"", object)
        for row, sentence in zip(words, batch, strict=True):
            row[: len(sentence)] = [utf8(word) for word in sentence]
        requests.append({"words": words})
    return requests


def refuse_other_rows(inputs: Tensors, outputs: Tensors, model: str) -> None:
    """Raise ServerError for an output of a request that has not a row for each of its own."""
    asked = len(next(iter(inputs.values())))
    for name, values in outputs.items():
        if len(values) != asked:
            raise ServerError(
                f"{model} does not answer what it was asked",
                expected=f"{asked} rows of {name}",
                found=str(len(values)),
                where=f"the answer of {model}",
                fix=f"where it runs: {errors.command('verify', 'RUN')} asks it for every golden row",
            )


def classifications(outputs: Tensors) -> list[Classification]:
    """Return the answers of one request, in its order."""
    columns = [outputs[name] for name in _OUTPUTS]
    return [
        Classification(label[0].decode(), float(probability[0]), tuple(logits.tolist()), bool(cut[0]), int(tokens[0]))
        for label, probability, logits, cut, tokens in zip(*columns, strict=True)
    ]


def taggings(outputs: Tensors, lengths: Sequence[int]) -> list[Tagging]:
    """Return the answers of one request, in its order; `lengths` are the sentences' words."""
    columns = [outputs[name] for name in _OUTPUTS]
    return [
        Tagging(
            tuple(label.decode() for label in labels[:length]),
            tuple(probabilities[:length].tolist()),
            logits[:length],
            bool(cut[0]),
            int(tokens[0]),
        )
        for length, labels, probabilities, logits, cut, tokens in zip(lengths, *columns, strict=True)
    ]


def utf8(text: str) -> bytes:
    """Return the text's bytes. Raise ServerError for half of a surrogate pair, which is no text."""
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


def _columns(texts: Texts) -> dict[str, Sequence[str]]:
    """Return input of text_classifier → its strings, one for each text."""
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
