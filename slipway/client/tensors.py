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


def text_requests(rows: Sequence[tuple[bytes, ...]]) -> list[Tensors]:
    """Return the requests for rows of texts.text_rows: each input is [texts, 1] bytes."""
    if not rows:
        return []
    columns = zip(("text", "text_b"), zip(*rows, strict=True), strict=False)
    return split_batches({name: np.array([[text] for text in column], object) for name, column in columns})


def sentence_requests(sentences: Sequence[Sequence[bytes]]) -> list[Tensors]:
    """Return the requests for rows of texts.sentence_rows: [sentences, words] bytes.

    Sentences are filled up with "" to the longest of their own request.
    """
    requests: list[Tensors] = []
    for start in range(0, len(sentences), MAX_BATCH):
        batch = sentences[start : start + MAX_BATCH]
        words = np.full((len(batch), max(1, *map(len, batch))), b"", object)
        for row, sentence in zip(words, batch, strict=True):
            row[: len(sentence)] = sentence
        requests.append({"words": words})
    return requests


def ids_requests(ids: Any, types: Any) -> list[Tensors]:
    """Return the requests for word pieces, and the types of text pairs: [batch, tokens] int32.

    Raises ServerError for what is no such table of whole numbers.
    """
    inputs = {"input_word_ids": _int32(ids, "ids")} | ({} if types is None else {"input_type_ids": _int32(types, "types")})
    shapes = [values.shape for values in inputs.values()]
    if len(set(shapes)) > 1:
        raise _no_ids(f"types of the shape of ids, {list(shapes[0])}", str(list(shapes[1])), "types")
    return split_batches(inputs)


def _int32(values: Any, name: str) -> NDArray[np.int32]:
    expected = "whole numbers of 32 bits, [batch, tokens], with a row at least"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise _no_ids(expected, "rows that are not equally long", name) from error
    if array.dtype.kind not in "iu" or array.ndim != 2 or not array.size:
        raise _no_ids(expected, f"{array.dtype} of the shape {list(array.shape)}", name)
    limits = np.iinfo(np.int32)
    if array.min() < limits.min or array.max() > limits.max:
        raise _no_ids(expected, f"numbers from {array.min()} to {array.max()}", name)
    return array.astype(np.int32)


def _no_ids(expected: str, found: str, name: str) -> ServerError:
    fix = "pass the tokenizer's word pieces as they are, shorter rows padded with 0; texts go to `classify`"
    return ServerError("these are no word pieces", expected=expected, found=found, where=name, fix=fix)


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


def label_names(ranked: Sequence[bytes]) -> tuple[str, ...]:
    """Return the names in ranked logits, `logit:number:name`, by number; () if one has none."""
    parts = [entry.decode("utf-8", "replace").split(":", 2) for entry in ranked]
    names = {int(part[1]): part[2] for part in parts if len(part) == 3}
    return tuple(names[number] for number in range(len(parts))) if len(names) == len(parts) else ()


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
