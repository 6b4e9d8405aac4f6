"""Metrics of predicted labels: accuracy, F1 by class, the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import Logits, Numbers
from slipway.contract.scoring import entities


def score(logits: Logits, expected: Numbers, labels: tuple[str, ...] | list[str], text_of: Numbers | None) -> dict[str, Any]:
    """Return the metrics of the test rows, as bundle.json has them.

    `logits` [answers, labels]; `expected` [answers], where NOT_ASKED ones do not count; `text_of`
    [answers] is of a tagger, the number of each word's text: where its labels are tags of entities,
    "entities" has their scores. Raises ValueError when no answer counts.
    """
    asked = expected != NOT_ASKED
    if not asked.any():
        raise ValueError("no answer to score")
    predicted = logits[asked].argmax(axis=1)
    matrix = confusion(expected[asked], predicted, len(labels))
    classes = per_class(matrix)
    found = None
    if text_of is not None and entities.are_tags(labels):
        found = entities.score(expected[asked], predicted, labels, text_of[asked])
    return {
        "test_rows": int(asked.sum()),  # tagger: words
        "test_accuracy": float(matrix.trace() / matrix.sum()),
        "macro_f1": float(np.mean([values["f1"] for values in classes if values["rows"]])),  # of classes with rows
        "confusion": matrix.tolist(),  # [true label][predicted label]
        "per_class": dict(zip(labels, classes, strict=True)),
        **({"entities": found} if found else {}),
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
            **entities.rates(right[i], answered[i], rows[i]),
            "rows": int(rows[i]),
        }
        for i in range(len(matrix))
    ]
