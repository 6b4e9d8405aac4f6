"""Sentences for a person about the fault that a failed parity looks like; no verdict hangs on them.

Each function looks for one known fault (a mask that is not read, labels in another order, …) and
says nothing without a clear sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from slipway.contract.comparison import Invariance, Logits, Mask, Numbers
from slipway.contract.ragged import INPUTS, Feed, unpadded

_CLEAR = 0.9  # share of the changed answers that a sentence has to explain
_ROWS = 500  # looked at where all would take long


def explain(reference: Logits, answers: Logits, lengths: Numbers, names: list[str], limit: float) -> list[str]:
    """Describe how logits [rows, labels] differ, of rows of `lengths` tokens.

    `limit`: the share of answers that the variant's rounding may change.
    """
    finite = np.isfinite(answers).all(axis=1)
    sentences = list(_not_finite(finite, lengths))
    reference, answers = reference[finite], answers[finite]
    changed = (reference.argmax(axis=1) != answers.argmax(axis=1)).mean() if len(answers) else 0.0
    if changed > limit:
        sentences += [*_constant(answers), *_permuted_labels(reference, answers, names), *_shuffled_rows(reference, answers)]
    return sentences


def _not_finite(finite: Mask, lengths: Numbers) -> Iterator[str]:
    if finite.all():
        return
    if finite.any() and lengths[~finite].min() > lengths[finite].max():
        yield f"NaN or Inf in every text of {lengths[~finite].min()} tokens or more, and in none that is shorter"
    else:
        yield f"NaN or Inf in {(~finite).sum()} of {len(finite)} rows"


def _constant(answers: Logits) -> Iterator[str]:
    if np.ptp(answers, axis=0).max() < 1e-6 and len(answers) > 1:
        yield "the same logits for every text: the ids do not reach the answer"


def _permuted_labels(reference: Logits, answers: Logits, names: list[str]) -> Iterator[str]:
    """Match the answers' columns with the reference's; speak if another order explains flips."""
    some = np.linspace(0, len(reference) - 1, min(_ROWS, len(reference))).astype(int)
    cost = np.abs(reference[some, :, None] - answers[some, None, :]).mean(axis=0)
    _, column = linear_sum_assignment(cost)
    moved = [i for i, j in enumerate(column) if i != j]
    if moved and _explains(reference, answers, answers[:, column]):
        where = ", ".join(f"{names[i]} is in the place of {names[column[i]]}" for i in moved)
        yield f"the labels are in another order: {where}"


def _shuffled_rows(reference: Logits, answers: Logits) -> Iterator[str]:
    """Look for each reference row's logits among the answers, at another place."""
    some = np.linspace(0, len(reference) - 1, min(_ROWS, len(reference))).astype(int)
    distance, nearest = KDTree(answers).query(reference[some])
    here = np.linalg.norm(reference[some] - answers[some], axis=1)
    if np.median(distance) < 0.01 * np.median(here) and (nearest != some).mean() > 0.5:
        yield "the rows are in another order: nearly every expected answer is there, at another place"


def _explains(reference: Logits, answers: Logits, fixed: Logits) -> bool:
    expected = reference.argmax(axis=1)
    before, after = (answers.argmax(axis=1) != expected).sum(), (fixed.argmax(axis=1) != expected).sum()
    return bool(after <= (1 - _CLEAR) * before)


def dependence(invariance: Invariance, limit: float) -> list[str]:
    """Name what an answer depends on besides its text, if by more than the (relative) `limit`."""
    if invariance.relative <= limit:
        return []
    causes = {
        "padded": "the answer changes when the same text is padded longer: is input_mask read, and in every layer?"
        " (INT8: it may be the one activation scale that a whole batch has.)",
        "in a batch": "the answer changes with the neighbours in the batch (INT8: they share one activation scale)",
    }
    most = invariance.difference_max
    return [causes[name] for name, way in invariance.ways.items() if not way.difference < most / 2]


def swapped_inputs(infer: Callable[[Feed], Logits], feed: Feed, reference: Logits) -> list[str]:
    """Exchange the inputs' names; speak if only that gives the `reference` [rows, labels]."""

    def difference(order: tuple[str, ...]) -> float:
        renamed = {name: feed[source] for name, source in zip(INPUTS, order, strict=True)}
        try:
            return float(np.abs(unpadded(infer(renamed), feed) - reference).mean())
        except Exception:  # ids out of range of another table, as each runtime says it
            return float("inf")

    differences = {order: difference(order) for order in permutations(INPUTS)}
    best = min(differences, key=lambda order: differences[order])
    if not differences[best] < (1 - _CLEAR) * differences[INPUTS]:
        return []
    moved = ", ".join(f"{name} is read as {source}" for name, source in zip(INPUTS, best, strict=True) if name != source)
    return [f"inputs are swapped: {moved}"]
