"""When parity fails: what it looks like. Sentences for a person; no verdict hangs on them.

Each looks for one known fault (a mask that is not read, labels in another order, …) and says nothing when it finds no clear sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from export.comparison import Logits, Numbers
from train.ragged import INPUTS, Feed, unpadded

_CLEAR = 0.9  # share of the changed answers that a sentence has to explain
_ROWS = 500  # looked at where all would take long


def explain(reference: Logits, found: Logits, lengths: Numbers, names: list[str], limit: float) -> list[str]:
    """What differs between the logits [rows, labels] of rows of `lengths` tokens; `limit`: the variant's own rounding."""
    finite = np.isfinite(found).all(axis=1)
    said = list(_not_finite(finite, lengths))
    reference, found = reference[finite], found[finite]
    changed = (reference.argmax(axis=1) != found.argmax(axis=1)).mean() if len(found) else 0.0
    if changed > limit:
        said += [*_constant(found), *_permuted_labels(reference, found, names), *_shuffled_rows(reference, found)]
    return said


def _not_finite(finite: NDArray[np.bool_], lengths: Numbers) -> Iterator[str]:
    if finite.all():
        return
    if finite.any() and lengths[~finite].min() > lengths[finite].max():
        yield f"NaN or Inf in every text of {lengths[~finite].min()} tokens or more, and in none that is shorter"
    else:
        yield f"NaN or Inf in {(~finite).sum()} of {len(finite)} rows"


def _constant(found: Logits) -> Iterator[str]:
    if np.ptp(found, axis=0).max() < 1e-6 and len(found) > 1:
        yield "the same logits for every text: the ids do not reach the answer"


def _permuted_labels(reference: Logits, found: Logits, names: list[str]) -> Iterator[str]:
    """The assignment of found columns to reference columns with the least difference, if it is another and explains the flips."""
    some = np.linspace(0, len(reference) - 1, min(_ROWS, len(reference))).astype(int)
    cost = np.abs(reference[some, :, None] - found[some, None, :]).mean(axis=0)
    _, column = linear_sum_assignment(cost)
    moved = [i for i, j in enumerate(column) if i != j]
    if moved and _explains(reference, found, found[:, column]):
        where = ", ".join(f"{names[i]} is in the place of {names[column[i]]}" for i in moved)
        yield f"the labels are in another order: {where}"


def _shuffled_rows(reference: Logits, found: Logits) -> Iterator[str]:
    """Each reference row has a found row like it, only elsewhere."""
    some = np.linspace(0, len(reference) - 1, min(_ROWS, len(reference))).astype(int)
    distance, nearest = KDTree(found).query(reference[some])
    here = np.linalg.norm(reference[some] - found[some], axis=1)
    if np.median(distance) < 0.01 * np.median(here) and (nearest != some).mean() > 0.5:
        yield "the rows are in another order: nearly every expected answer is there, at another place"


def _explains(reference: Logits, found: Logits, fixed: Logits) -> bool:
    expected = reference.argmax(axis=1)
    before, after = (found.argmax(axis=1) != expected).sum(), (fixed.argmax(axis=1) != expected).sum()
    return bool(after <= (1 - _CLEAR) * before)


def dependence(invariance: dict[str, Any], limit: float) -> list[str]:
    """From `comparison.invariance`: on what else than its own text an answer depends, if by more than the (relative) `limit`."""
    if invariance["relative"] <= limit:
        return []
    causes = {
        "padded": "the answer changes when the same text is padded longer: is input_mask read, and in every layer?"
        " (Of an INT8 model it may be the one activation scale that a whole batch has.)",
        "in a batch": "the answer changes with the neighbours in the batch (of an INT8 model: they share one activation scale)",
    }
    most = invariance["difference_max"]
    return [causes[way] for way, found in invariance["ways"].items() if not found["difference"] < most / 2]


def swapped_inputs(infer: Callable[[Feed], Logits], feed: Feed, reference: Logits) -> list[str]:
    """Feeds the inputs under each other's names, if only that gives the expected logits: `reference` [rows, labels]."""

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
