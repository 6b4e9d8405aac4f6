"""Labels as numbers, texts as word pieces with their labels, and the metrics of predicted labels.

Training and imported models share this file, so that both align tags with word pieces alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Logits, Numbers, Ragged
from slipway.contract.readers import BadRow, Row
from slipway.contract.tokenizer import Tokenizer, Tokens

_SHOWN = 40  # characters of a label


class Encoded(NamedTuple):
    """Word pieces and label numbers of a list of examples."""

    rows: Ragged
    labels: Numbers  # [rows]; tagger: [tokens], with NOT_ASKED


def encode(examples: Sequence[tuple[Any, Any]], task: str, tokenize: Tokenizer) -> Encoded:
    """Tokenize examples and align their labels; no examples give no rows.

    `examples` are (text, label) as training has them; `task` is one of bundle.TASKS. A pair may
    be a tuple or, as JSON has it, a list.
    """
    texts, labels = [text for text, _ in examples], [label for _, label in examples]
    if task == "tagging":
        tokens = tokenize.of_words(texts)
        labels = [label for sentence, tags in zip(tokens, labels, strict=True) for label in token_labels(sentence, tags)]
    else:
        tokens = tokenize([tuple(text) for text in texts] if task == "text_pair" else texts)
    rows = Ragged.of([row.ids for row in tokens], [row.types for row in tokens] or None)
    return Encoded(rows, np.array(labels, np.int64))


def token_labels(tokens: Tokens, tags: Sequence[int]) -> list[int]:
    """Return [tokens] labels: a word's tag at its first piece, NOT_ASKED at any other token."""
    before = [None, *tokens.words[:-1]]
    return [
        tags[word] if word is not None and word != earlier else NOT_ASKED
        for word, earlier in zip(tokens.words, before, strict=True)
    ]


def are_labels(names: Sequence[str]) -> bool:
    """Return whether these can be a model's labels: two or more, all different, a line each."""
    return len(set(names)) == len(names) >= 2 and all(len(name.splitlines()) == 1 and name.strip() == name for name in names)


def discovered(names: Iterable[str]) -> tuple[str, ...]:
    """Return the labels sorted: by value if all are numbers, else by name."""
    labels = sorted(set(names))
    return tuple(sorted(labels, key=int) if all(map(is_number, labels)) else labels)


def is_number(name: str) -> bool:
    return re.fullmatch("-?[0-9]+", name) is not None


def numbers(names: Sequence[str]) -> dict[str, int]:
    """Return each label's number by its name and, unless names are numbers, by its number."""
    by_name = {name: i for i, name in enumerate(names)}
    if any(map(is_number, names)):  # 1 would be a name and a number
        return by_name
    return {str(i): i for i in range(len(names))} | by_name


def numbered(row: Row, number: Mapping[str, int], rule: str) -> int | list[int] | BadRow:
    """Return the row's label as a number (tagger: one a word), or a BadRow without one."""
    for word, label in enumerate(row.labels):
        if label not in number:
            return row.broken(rule, repr(label[:_SHOWN]), word)
    tags = [number[label] for label in row.labels]
    return tags if isinstance(row.label, list) else tags[0]


def score(logits: Logits, expected: Numbers, labels: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Return the metrics of the test rows, as bundle.json has them.

    `logits` [answers, labels]; `expected` [answers], where NOT_ASKED ones do not count. Raises
    ValueError when no answer counts.
    """
    asked = expected != NOT_ASKED
    if not asked.any():
        raise ValueError("no answer to score")
    matrix = confusion(expected[asked], logits[asked].argmax(axis=1), len(labels))
    classes = per_class(matrix)
    return {
        "test_rows": int(asked.sum()),  # tagger: words
        "test_accuracy": float(matrix.trace() / matrix.sum()),
        "macro_f1": float(np.mean([values["f1"] for values in classes if values["rows"]])),  # of classes with rows
        "confusion": matrix.tolist(),  # [true label][predicted label]
        "per_class": dict(zip(labels, classes, strict=True)),
    }


def confusion(expected: Numbers, predicted: Numbers, labels: int) -> Numbers:
    """Count how often each label was answered with each, [true label, predicted label]."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (expected, predicted), 1)
    return matrix


def per_class(matrix: Numbers) -> list[dict[str, float]]:
    """Return precision, recall, F1 (0 where undefined) and the true rows of each class."""
    right, answered, rows = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return [
        {
            "precision": _share(right[i], answered[i]),
            "recall": _share(right[i], rows[i]),
            "f1": _share(2 * right[i], answered[i] + rows[i]),
            "rows": int(rows[i]),
        }
        for i in range(len(matrix))
    ]


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
