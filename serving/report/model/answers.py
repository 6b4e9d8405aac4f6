"""Answers of the FP32 SavedModel to held-out rows: its most confident errors, and some examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.report.model.training_text import text_reader
from slipway.contract.bundle import NOT_ASKED, Golden
from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import Numbers

_ERRORS = 10
_EXAMPLES = 5
_LONGEST = 300  # characters shown of a text


@dataclass(frozen=True, slots=True)
class Answer:
    """A held-out row with its label, and what the model says."""

    parts: list[str]  # a text, both of a pair, or the words before, at and after a tagger's
    label: str
    answer: str
    probability: str  # of the answer

    @property
    def is_right(self) -> bool:
        return self.answer == self.label


def confident_errors(golden: Golden, labels: list[str]) -> list[Answer]:
    """Return the wrong answers with the highest probabilities, the highest first."""
    expected, logits = golden.labels[golden.compared], golden.logits[golden.compared]
    wrong = np.flatnonzero((expected != NOT_ASKED) & (logits.argmax(axis=1) != expected))
    highest = softmax(logits[wrong].astype(np.float64)).max(axis=1) if len(wrong) else np.empty(0)
    return _answers(golden, labels, wrong[np.argsort(-highest, kind="stable")[:_ERRORS]])


def example_answers(golden: Golden, labels: list[str]) -> list[Answer]:
    """Return the answers to rows of as many labels as there are examples, or of all labels."""
    expected = golden.labels[golden.compared]
    rows_of = {label: rows for label in range(len(labels)) if len(rows := np.flatnonzero(expected == label))}
    if not rows_of:
        return []
    spread = np.linspace(0, len(rows_of) - 1, _EXAMPLES).astype(int) if len(rows_of) > _EXAMPLES else range(len(rows_of))
    chosen = [list(rows_of.values())[number] for number in spread]
    rounds = [rows[turn * len(rows) // _EXAMPLES] for turn in range(_EXAMPLES) for rows in chosen]
    return _answers(golden, labels, np.array(list(dict.fromkeys(rounds))[:_EXAMPLES]))


def _answers(golden: Golden, labels: list[str], rows: Numbers) -> list[Answer]:
    """Return the answers of `rows`, which count those that are compared."""
    parts_of = text_reader(golden)
    expected, logits = golden.labels[golden.compared][rows], golden.logits[golden.compared][rows]
    return [
        Answer(
            _cut(parts_of(int(row)), golden.per_row),
            labels[label],
            labels[int(scores.argmax())],
            _probability(float(softmax(scores[np.newaxis].astype(np.float64)).max())),
        )
        for row, label, scores in zip(rows, expected, logits, strict=True)
    ]


def _cut(parts: list[str], per_row: bool) -> list[str]:
    """Return texts without what is too long; of a tagger's sentence what stands by the word."""
    if per_row:
        return [_beginning(text, _LONGEST) for text in parts]
    before, word, after = parts
    room = _LONGEST // 2
    before = before if len(before) <= room else f"…{before[-room:]}"
    return [before, _beginning(word, room), _beginning(after, room)]


def _beginning(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _probability(probability: float) -> str:
    """Return a probability in percent; none is rounded to certainty."""
    return "> 99.9\u00a0%" if probability > 0.9995 else f"{100 * probability:.1f}\u00a0%"
