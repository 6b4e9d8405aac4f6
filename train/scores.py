"""How well answers agree with labels: confusion, and precision, recall and F1 of each class. Framework-free.

An answer is a row; of a tagger a word that was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.bundle import NOT_ASKED
from train.ragged import Logits

Numbers = NDArray[np.int64]


def score(logits: Logits, expected: Numbers, labels: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """What bundle.json says of the test rows. `logits` [answers, labels]; `expected` [answers], NOT_ASKED ones count nothing.

    Raises ValueError when no answer was asked for.
    """
    asked = expected != NOT_ASKED
    if not asked.any():
        raise ValueError("no answer to score")
    matrix = confusion(expected[asked], logits[asked].argmax(axis=1), len(labels))
    classes = per_class(matrix)
    return {
        "test_rows": int(asked.sum()),  # of a tagger: words
        "test_accuracy": float(matrix.trace() / matrix.sum()),
        "macro_f1": float(np.mean([one["f1"] for one in classes if one["rows"]])),  # over the classes that there are rows of
        "confusion": matrix.tolist(),  # [true label][predicted label]
        "per_class": dict(zip(labels, classes, strict=True)),
    }


def confusion(expected: Numbers, predicted: Numbers, labels: int) -> Numbers:
    """How often each label [true label] was answered with each [predicted label]."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (expected, predicted), 1)
    return matrix


def per_class(matrix: Numbers) -> list[dict[str, Any]]:
    """Of each class precision, recall, F1 and its true rows. A share of nothing is 0, as in scikit-learn's report."""
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
