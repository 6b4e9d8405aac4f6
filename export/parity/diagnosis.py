"""Sentences for a person about the fault that a failed parity looks like; no verdict hangs on them.

Each function looks for one known fault (a mask that is not read, labels in another order, …) and
says nothing without a clear sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, permutations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from slipway.contract.parity import comparison
from slipway.contract.parity.comparison import Invariance, Mask
from slipway.contract.parity.probabilities import Logits, Numbers, centred
from slipway.contract.ragged import INPUTS, Feed, unpadded

_CLEAR = 0.9  # share of the changed answers that a sentence has to explain
_ROWS = 500  # looked at where all would take long
_SAME = 1e-4  # of the logits' deviation: what an order of additions may change


def random(difference: float, limit: float) -> list[str]:
    """Speak when the same rows, run twice, differ by more than the `limit` (max |Δlogit|).

    Nothing else about such answers can be relied on, neither their order nor what they depend on.
    """
    if difference <= limit:
        return []
    return [
        f"the same rows give other answers each time, by up to {difference:.2g} (max |Δlogit|):"
        " a random operation, or memory that is not initialised"
    ]


def explain(reference: Logits, answers: Logits, lengths: Numbers, names: list[str], limit: float) -> list[str]:
    """Describe how logits [rows, labels] differ, of rows of `lengths` tokens.

    `limit`: the share of answers that the variant's rounding may change. Whether they are scaled or
    moved is looked at also when none changed: probabilities did.
    """
    finite = np.isfinite(answers).all(axis=1)
    sentences = list(_not_finite(finite, lengths))
    reference, answers = reference[finite], answers[finite]
    if len(answers) < 2:
        return sentences
    if cause := next(chain(_constant(answers), _moved(reference, answers, names)), ""):
        return [*sentences, cause]
    if (reference.argmax(axis=1) != answers.argmax(axis=1)).mean() > limit:
        causes = [*_permuted_labels(reference, answers, names), *_shuffled_rows(reference, answers)]
        sentences += causes or _near_ties(reference, answers)
    return sentences


def _not_finite(finite: Mask, lengths: Numbers) -> Iterator[str]:
    if finite.all():
        return
    if finite.any() and lengths[~finite].min() > lengths[finite].max():
        yield f"NaN or Inf in every text of {lengths[~finite].min()} tokens or more, and in none that is shorter"
    else:
        yield f"NaN or Inf in {(~finite).sum()} of {len(finite)} rows"


def _constant(answers: Logits) -> Iterator[str]:
    if np.ptp(answers, axis=0).max() < 1e-6:
        yield "the same logits for every text: the ids do not reach the answer"


def _moved(reference: Logits, answers: Logits, names: list[str]) -> Iterator[str]:
    """Look for logits that are scaled or moved in the same way in every row; name the best fit.

    Both sides are centred by row, since what a whole row is moved by changes no probability.
    """
    expected, answered = centred(reference), centred(answers)
    raw, apart = _squares(answers, reference), _squares(answered, expected)
    if apart <= _SAME**2 * np.square(expected).sum():
        if apart < (1 - _CLEAR) * raw:
            yield "all logits of a row are moved by the same amount, which changes no probability"
        return
    fits = {sentence: _squares(answered, centred(fit)) for sentence, fit in _fits(reference, answers, names)}
    best = min(fits, key=lambda sentence: fits[sentence])
    if fits[best] <= (1 - _CLEAR) * apart:
        yield best


def _fits(reference: Logits, answers: Logits, names: list[str]) -> Iterator[tuple[str, Logits]]:
    """Yield each way to make answers of the reference: its name, and the logits it gives."""
    expected, answered = centred(reference), centred(answers)
    slope = float((expected * answered).sum() / (np.square(expected).sum() or 1.0))
    # Of two labels, the opposite of each logit is the logits in another order.
    if slope > 0 or reference.shape[1] > 2:
        yield f"the logits are {slope:.2f} times the reference's", slope * expected
    by_label = (answered - expected).mean(axis=0)
    shown = by_label - np.median(by_label)
    clear = [i for i, amount in enumerate(shown) if abs(amount) > (1 - _CLEAR) * np.abs(shown).max()]
    moved = ", ".join(f"{names[i]} is {_amount(shown[i])}" for i in clear)
    yield f"in every row, {moved}", expected + by_label
    top = answers.argmax(axis=1)[:, None]
    if (top[:, 0] == reference.argmax(axis=1)).mean() < _CLEAR:
        return
    others = np.arange(reference.shape[1]) != top  # [rows, labels]
    below = (answers - reference) - np.take_along_axis(answers - reference, top, axis=1)
    lowered = float(below[others].mean())
    yield f"in every row, all labels but the answered one are {_amount(lowered)}", reference + lowered * others
    level = float(answers[others].mean())
    yield f"in every row, all labels but the answered one have the logit {level:.1f}", np.where(others, level, reference)


def _amount(logits: float) -> str:
    return f"{'raised' if logits > 0 else 'lowered'} by {abs(logits):.2f}"


def _squares(left: Logits, right: Logits) -> float:
    return float(np.square(left - right).sum())


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
    """Look for each reference row's logits among the answers, at another place: much nearer than
    another row of the reference is, since among many rows a near one is there by chance.
    """
    some = np.linspace(0, len(reference) - 1, min(_ROWS, len(reference))).astype(int)
    distance, nearest = KDTree(answers).query(reference[some])
    by_chance = KDTree(reference).query(reference[some], k=2)[0][:, 1]
    here = np.linalg.norm(reference[some] - answers[some], axis=1)
    near = min(np.median(by_chance), np.median(here))
    if np.median(distance) < (1 - _CLEAR) * near and (nearest != some).mean() > 0.5:
        yield "the rows are in another order: nearly every expected answer is there, at another place"


def _near_ties(reference: Logits, answers: Logits) -> Iterator[str]:
    """Look for answers that changed where two labels were almost equal: there rounding decides."""
    lead, changed = comparison.margins(reference), reference.argmax(axis=1) != answers.argmax(axis=1)
    of_changed, of_all = float(np.median(lead[changed])), float(np.median(lead))
    moved = float(np.quantile(np.abs(centred(answers) - centred(reference)), _CLEAR))
    if of_changed < min(2 * moved, of_all / 4):
        yield (
            f"rounding, of answers that were almost ties: they led by {of_changed:.2g} at the median, all answers by {of_all:.2g}"
        )


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
