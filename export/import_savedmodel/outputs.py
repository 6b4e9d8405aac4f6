"""What the numbers that a model gives mean, and the logits that give its probabilities again.

A softmax's probabilities that are taken for logits are served as others, and every comparison
passes: each conversion gives the same wrong numbers. So the kind is found out by the answers to the
golden rows, or given, and what is not one choice of the labels is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway.contract.parity.probabilities import softmax
from slipway.contract.ragged import Logits
from slipway.errors import ConversionError

LOGITS, PROBABILITIES, LOG_PROBABILITIES = "logits", "probabilities", "log-probabilities"
SIGMOID, LOGIT, MULTI_LABEL = "sigmoid", "logit", "multi-label"
KINDS = {  # kind → what it is
    LOGITS: "a row of logits, of which a softmax makes probabilities",
    PROBABILITIES: "a row of probabilities, as a softmax gives them",
    LOG_PROBABILITIES: "a row of log-probabilities, as a log-softmax gives them",
    SIGMOID: "the probability of the second label, as a sigmoid gives it",
    LOGIT: "the logit of the second label, of which a sigmoid makes its probability",
    MULTI_LABEL: "a probability for each label by itself: none, or several, may hold",
}
ACTIVATIONS = {PROBABILITIES: "Softmax", SIGMOID: "Sigmoid"}  # kind → TensorFlow's operation that makes it
_ROUNDING = 0.02  # of a sum of probabilities: BF16's have 8 bits, and some models round theirs
_CONSTANT = 1e-3  # of a sum that is the same for all rows, relative to it
# What the numbers look like → what they may be besides, where a person says so.
_ALSO = {
    LOGITS: (),
    PROBABILITIES: (),
    LOG_PROBABILITIES: (LOGITS,),
    MULTI_LABEL: (LOGITS,),
    SIGMOID: (LOGIT,),
    LOGIT: (),
}
_SECOND = (0.0, 1.0)  # a logit times these: the first label's is 0, and a softmax is the sigmoid
# Below it a probability is taken for this one: of 1 - p, as float32 has it, the logarithm would be
# mostly rounding, and every conversion rounds otherwise.
LEAST = 1e-5


@dataclass(frozen=True)
class Meaning:
    """What an output is, and what speaks for it."""

    kind: str  # of KINDS
    why: str


def meaning(raw: Logits, given: str | None) -> Meaning:
    """Return what the numbers [rows, columns] are: as `given`, or as they look."""
    return Meaning(given, "as --output-kind says") if given else _looks(raw)


def _looks(raw: Logits) -> Meaning:
    rows = raw.astype(np.float64)
    within = bool(((rows >= 0) & (rows <= 1)).all())
    if rows.shape[1] == 1:
        low, high = float(rows.min()), float(rows.max())
        return Meaning(SIGMOID if within else LOGIT, f"one number a row, from {low:.3g} to {high:.3g}")
    sums = rows.sum(axis=1)
    off = float(np.abs(sums - 1).max())
    if within and off < _ROUNDING:
        return Meaning(PROBABILITIES, f"no number below 0, and each row's sum is 1 to within {off:.1g}")
    log_off = float(np.abs(np.logaddexp.reduce(rows, axis=1)).max())
    if log_off < _ROUNDING:
        return Meaning(LOG_PROBABILITIES, f"each row's exponentials sum to 1 to within {log_off:.1g}")
    if within:
        return Meaning(MULTI_LABEL, f"all between 0 and 1, and the rows' sums go from {sums.min():.3g} to {sums.max():.3g}")
    return Meaning(LOGITS, f"from {rows.min():.3g} to {rows.max():.3g}")


def check(kind: Meaning, raw: Logits, labels: Sequence[str], where: str, again: str) -> None:
    """Raise ConversionError for several labels at once, and for numbers of another kind."""
    looks = _looks(raw)
    if MULTI_LABEL in (kind.kind, looks.kind) and kind.kind != LOGITS:
        raise ConversionError(
            "the model gives each label a probability of its own (multi-label)",
            expected="one choice out of the labels: Slipway serves one label a text, with probabilities that sum to 1",
            found=looks.why,
            where=where,
            fix="train a model of one choice, or one model a label with the labels no and yes",
        )
    if kind.kind != looks.kind and kind.kind not in _ALSO[looks.kind]:
        raise _not_the_kind(
            kind, KINDS[kind.kind], f"{KINDS[looks.kind]} ({looks.why})", where, f"{again} --output-kind {looks.kind}"
        )
    sums = raw.astype(np.float64).sum(axis=1)
    if kind.kind == LOGITS and raw.min() >= 0 and np.ptp(sums) < _CONSTANT * sums.mean():
        fix = f"save the model with its logits, or with probabilities from 0 to 1, as its output; then {again}"
        raise _not_the_kind(
            kind, "logits, whose sums differ", f"rows that all sum to {sums.mean():.4g}, such as percentages", where, fix
        )
    columns = 1 if kind.kind in (SIGMOID, LOGIT) else len(labels)
    wanted = 2 if columns == 1 else len(labels)
    if raw.shape[1] != columns or len(labels) != wanted:
        fix = f"{again}, with the --labels of this model"
        raise _not_the_kind(
            kind, f"{columns} a row, for {wanted} labels", f"{raw.shape[1]} a row, for {len(labels)} labels", where, fix
        )


def _not_the_kind(kind: Meaning, expected: str, found: str, where: str, fix: str) -> ConversionError:
    summary = f"the model's answers are not what they are taken for: {kind.kind} ({kind.why})"
    return ConversionError(summary, expected=expected, found=found, where=where, fix=fix)


def to_logits(tensor: Any, kind: str) -> Any:
    """Return logits [..., labels] whose softmax is what a TensorFlow tensor [..., columns] says."""
    from slipway.tensorflow import tf

    if kind == PROBABILITIES:
        return tf.math.log(tf.maximum(tensor, LEAST))
    if kind == SIGMOID:
        share = tf.clip_by_value(tensor, LEAST, 1 - LEAST)
        tensor = tf.math.log(share) - tf.math.log1p(-share)
    return tensor * _SECOND if kind in (SIGMOID, LOGIT) else tensor


def activated(logits: Logits, kind: str) -> Logits:
    """Return what the activation of `kind` makes of its input [rows, columns]."""
    if kind == SIGMOID:
        share: Logits = 1 / (1 + np.exp(-logits.astype(np.float64)))
        return share
    return softmax(logits.astype(np.float64))


def before_activation(kind: str) -> str:
    """Return the kind of what went into the activation that made `kind`."""
    return LOGIT if kind == SIGMOID else LOGITS
