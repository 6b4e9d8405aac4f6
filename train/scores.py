"""Agreement of answers with labels: confusion, and precision, recall and F1 of each class.

classifier: an answer is a row; tagger: a word that has a tag. Framework-free.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from train.bundle import NOT_ASKED
from train.ragged import Logits, Numbers


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
