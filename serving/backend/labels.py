"""Logits → labels and their probabilities. Copied into every served version that answers with labels; imports numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOT_READ = -1  # instead of a first piece: cut off, filled up, or of characters that the tokenizer drops


def best(logits: np.ndarray, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The label, as bytes, and its probability of each row [answers, labels]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    chosen = logits.argmax(axis=1)
    names = np.array([labels[i].encode() for i in chosen], object)
    return names, probabilities[np.arange(len(chosen)), chosen].astype(np.float32)


def first_pieces(words: Sequence[int | None], count: int) -> np.ndarray:
    """Where the first piece of each of a sentence's `count` words is, int32 [count], or NOT_READ. `words`: each piece's word."""
    first = np.full(count, NOT_READ, np.int32)
    for at, word in enumerate(words):
        if word is not None and first[word] == NOT_READ:
            first[word] = at
    return first


def of_words(logits: np.ndarray, first: np.ndarray, labels: list[str]) -> dict[str, np.ndarray]:
    """A sentence's answers out of its pieces' logits [pieces, labels]: a word's are its first piece's, none where NOT_READ."""
    read = np.flatnonzero(first != NOT_READ)
    found = np.zeros((len(first), len(labels)), np.float32)
    found[read] = logits[first[read]]
    names, probabilities = np.full(len(first), b"", object), np.zeros(len(first), np.float32)
    if len(read):
        names[read], probabilities[read] = best(found[read], labels)
    return {"label": names, "probability": probabilities, "logits": found}
