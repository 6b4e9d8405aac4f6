"""Bounds on rates and on a paired loss of accuracy, and the rows it takes for them to decide.

One-sided. A rate is a count out of rows; lost and gained are rows that were right before and wrong
now, and the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special  # scipy.stats and scipy.optimize would take 2 s of every command's start

from slipway.contract.variants import Limits

CONFIDENCE = 0.95  # of every one-sided bound
# Flips, loss, classes, lengths, two ways of invariance, neighbours, and two of probabilities: of a
# model that is at every limit all together are wrong in 5 % of the cases at most (Bonferroni).
_CHECKS = 9
CHANCE_EACH = (1 - CONFIDENCE) / _CHECKS
_LIKELY = float(special.ndtri(0.9))  # a right model is decided on that many rows in nine of ten tries
_MOST_ROWS = 1_000_000


def rate_bound(count: float, rows: float, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided upper bound on a rate (Clopper and Pearson 1934)."""
    return 1.0 if count >= rows else float(special.betaincinv(count + 1, rows - count, confidence))


def rate_least(count: float, rows: float, confidence: float = CONFIDENCE) -> float:
    """Return the lower bound that belongs to `rate_bound`."""
    if count > rows:  # counts that contradict each other
        return 1.0
    return 0.0 if count == 0 else float(special.betaincinv(count, rows - count + 1, 1 - confidence))


def loss_bound(lost: float, gained: float, rows: float) -> float:
    """Return the one-sided 95 % upper bound on the paired loss of accuracy (lost − gained) / rows.

    The score bound for paired proportions (Tango 1998), and never less than the exact bound on the
    net loss, because the score is too bold where next to nothing changed. Over all means of lost
    and gained rows it holds in 94.7 % of the cases or more; Bonferroni's, of two exact bounds,
    asks for up to three times as many rows (docs/log/export.md).
    """
    if lost >= rows:
        return 1.0
    z = float(special.ndtri(CONFIDENCE))

    def score(difference: float) -> float:
        middle = -lost - gained + (2 * rows - lost + gained) * difference
        last = -gained * difference * (1 - difference)
        gain = (-middle + math.sqrt(max(middle * middle - 8 * rows * last, 0.0))) / (4 * rows)
        variance = rows * (2 * gain + difference * (1 - difference))
        return (lost - gained - rows * difference) / math.sqrt(variance) + z

    least, most = max((lost - gained) / rows, 0.0) + 1e-12, 1 - 1e-9
    bound = least  # below zero, where so many rows were gained, no limit lies
    if score(least) > 0 > score(most):
        # By bisection: the score falls all the way, and scipy.optimize takes 0.7 s to load.
        while most - least > 1e-15 and least < (middle := (least + most) / 2) < most:
            least, most = (middle, most) if score(middle) > 0 else (least, middle)
        bound = most
    return max(bound, rate_bound(max(lost - gained, 0), rows))


def loss_least(lost: float, gained: float, rows: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound on the same loss, given how many rows changed.

    Exact for the direction of the changes, as McNemar's test is.
    """
    changed = lost + gained
    return (2 * rate_least(lost, changed, confidence) - 1) * changed / rows if changed else 0.0


def least_count(probability: float, rows: int, share: float) -> int:
    """Return the least k with P(X ≤ k) ≥ `probability`, X counting `rows` of that `share`."""
    count = math.ceil(float(special.bdtrik(probability, rows, share)))
    return count - 1 if count > 0 and special.bdtr(count - 1, rows, share) >= probability else count


def sign_test(lost: int, gained: int) -> float:
    """Return the two-sided p of McNemar's exact test: that as many are lost as gained by chance."""
    return min(1.0, 2 * float(special.bdtr(min(lost, gained), lost + gained, 0.5))) if lost + gained else 1.0


def least_rows(limits: Limits) -> int:
    """Return the rows it takes for equal answers to hold the bounds: n with 1 − α^(1/n) ≤ limit."""
    least = min(limits.flip_rate_bound, limits.accuracy_loss_bound)
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-least))


def rows_to_decide(limits: Limits, flips: float, lost: float, gained: float) -> int:
    """Return about how many rows a model of these rates takes to pass, in nine of ten tries.

    `flips`, `lost` and `gained` are shares of the rows. Returns 0 where no number of rows would do.
    """

    def holds(rows: float) -> bool:
        changed = rows * flips + _LIKELY * math.sqrt(rows * flips)
        net = rows * (lost - gained) + _LIKELY * math.sqrt(rows * (lost + gained))
        answered = max(rows * (lost + gained), net)
        return (
            changed / rows <= limits.flip_rate
            and rate_bound(changed, rows) <= limits.flip_rate_bound
            and loss_bound((answered + net) / 2, (answered - net) / 2, rows) <= limits.accuracy_loss_bound
        )

    return _least(holds, least_rows(limits))


def _least(holds: Callable[[float], bool], first: int) -> int:
    """Return the least number from `first` on that holds, to three digits; 0 if none does."""
    rows = float(first)
    while not holds(rows):
        rows *= 1.1
        if rows > _MOST_ROWS:
            return 0
    digits = max(0, math.floor(math.log10(rows)) - 1)
    return math.ceil(rows / 10**digits) * 10**digits if rows > first else first
