"""Two sets of logits for the same rows: how many answers changed, what that costs, and whether it is within limits.

Pure functions of arrays; offline parity and served parity both come through here, with the same limits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from export.variants import Limits, Variant

Logits = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]

CONFIDENCE = 0.95  # of every one-sided bound
LEAST_COVERAGE = 0.9  # of the matrix multiplications of a TF-TRT model, inside TensorRT segments; the rest runs in TensorFlow
_HALF = 1 - (1 - CONFIDENCE) / 2  # of each part of a bound made of two
PRECISION_SHARE = 0.95  # of an artifact's weights in its declared precision; the rest may be finer where answers need it
DEPENDENCE = "max |Δlogit| ÷ deviation of the logits, alone, in a batch, padded longer"
_BUCKETS = (32, 48, 64, 96, 128, 256, 512)  # upper ends of the length buckets, tokens
_LISTED_FLIPS = 50


def rate_bound(count: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound on a rate, `count` having been seen in `rows` (Clopper and Pearson 1934)."""
    return 1.0 if count >= rows else float(stats.beta.ppf(confidence, count + 1, rows - count))


def loss_bound(lost: int, gained: int, rows: int) -> float:
    """One-sided 95 % upper bound on the paired loss of accuracy (lost − gained) / rows; exchanged, minus it is a lower bound.

    Clopper-Pearson for the lost and the gained rows at 97.5 % each (Bonferroni): exact, and conservative.
    """
    least_gained = 0.0 if gained == 0 else float(stats.beta.ppf(1 - _HALF, gained, rows - gained + 1))
    return rate_bound(lost, rows, _HALF) - least_gained


def least_rows(limits: Limits) -> int:
    """How many rows it takes for answers that are all equal to hold the bounds: n with 1 − α^(1/n) ≤ limit."""
    flips = math.log(1 - CONFIDENCE) / math.log1p(-limits.flip_rate_bound)
    loss = math.log(1 - _HALF) / math.log1p(-limits.accuracy_loss_bound)
    return math.ceil(max(flips, loss))


def compare(reference: Logits, found: Logits, labels: Numbers, lengths: Numbers, names: list[str]) -> dict[str, Any]:
    """The measurements. Logits [rows, labels], true labels and token counts [rows], `names` of the labels."""
    if reference.shape != found.shape:
        raise ValueError(f"expected logits {list(reference.shape)}, found {list(found.shape)}")
    finite = np.isfinite(found).all(axis=1)
    expected, predicted = reference.argmax(axis=1), np.where(finite, found.argmax(axis=1), -1)  # NaN answers nothing
    flipped = expected != predicted
    right, still_right = expected == labels, predicted == labels
    lost, gained = int((right & ~still_right).sum()), int((~right & still_right).sum())
    difference = np.abs(found - reference)[finite]
    rows = len(labels)
    return {
        "rows": rows,
        "non_finite_rows": int((~finite).sum()),
        "flips": int(flipped.sum()),
        "flip_rate_bound": rate_bound(int(flipped.sum()), rows),
        "accuracy_reference": float(right.mean()),
        "accuracy": float(still_right.mean()),
        "lost": lost,
        "gained": gained,
        "accuracy_loss": (lost - gained) / rows,
        "accuracy_loss_bound": loss_bound(lost, gained, rows),
        "mcnemar_p": float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
        "logit_difference_max": float(difference.max(initial=0.0)),
        "logit_difference_p999": float(np.quantile(difference, 0.999)) if difference.size else 0.0,
        "by_class": _groups({names[i]: labels == i for i in range(len(names))}, flipped, right, still_right),
        "by_length": _groups(_length_buckets(lengths), flipped, right, still_right),
        "flipped_rows": [
            {"row": int(i), "label": int(labels[i]), "reference": int(expected[i]), "found": int(predicted[i])}
            for i in np.flatnonzero(flipped)[:_LISTED_FLIPS]
        ],
    }


def _groups(masks: dict[str, Any], flipped: Any, right: Any, still_right: Any) -> list[dict[str, Any]]:
    """Flips and accuracy loss within each group of rows, so that a loss in one of them cannot hide in the total."""
    groups = []
    for name, mask in masks.items():
        rows, lost, gained = int(mask.sum()), int((right & ~still_right)[mask].sum()), int((~right & still_right)[mask].sum())
        if rows:
            loss = {"accuracy_loss": (lost - gained) / rows, "accuracy_loss_least": -loss_bound(gained, lost, rows)}
            groups.append({"group": name, "rows": rows, "flips": int(flipped[mask].sum()), **loss})
    return groups


def _length_buckets(lengths: Numbers) -> dict[str, Any]:
    starts = (0, *_BUCKETS[:-1])
    return {f"{a + 1}-{b} tokens": (lengths > a) & (lengths <= b) for a, b in zip(starts, _BUCKETS, strict=True)}


def invariance(alone: Logits, others: dict[str, Logits]) -> dict[str, Any]:
    """The same rows run alone and otherwise (in a batch, padded longer): the largest difference that made, [rows, labels]."""
    ways = {
        name: {
            "difference": _largest(np.abs(logits - alone)),
            "flips": int((logits.argmax(axis=1) != alone.argmax(axis=1)).sum()),
        }
        for name, logits in others.items()
    }
    most = max(way["difference"] for way in ways.values())
    spread = float(alone.std()) if np.isfinite(alone).all() else 0.0
    return {"rows": len(alone), "difference_max": most, "relative": most / (spread or 1.0), "ways": ways}


def _largest(difference: Logits) -> float:
    """Maximum; what is not finite counts as the largest number JSON can hold."""
    return float(np.where(np.isfinite(difference), difference, np.finfo(np.float32).max).max())


def judge(measured: dict[str, Any], limits: Limits) -> list[dict[str, Any]]:
    """Every limit that was not held: what, the value that would have passed, the limit. Empty: passed."""
    checks: list[tuple[str, float, float]] = [
        ("rows with NaN or Inf", measured["non_finite_rows"], 0),
        ("flip rate", measured["flips"] / measured["rows"], limits.flip_rate),
        ("upper bound on the flip rate", measured["flip_rate_bound"], limits.flip_rate_bound),
        ("upper bound on the accuracy loss", measured["accuracy_loss_bound"], limits.accuracy_loss_bound),
    ]
    for group in measured["by_class"] + measured["by_length"]:
        checks.append((f"accuracy loss in {group['group']}, at least", group["accuracy_loss_least"], limits.group_loss))
    if limits.logit_difference is not None:
        checks.append(("max |Δlogit|", measured["logit_difference_max"], limits.logit_difference))
    if "invariance" in measured:
        checks.append((DEPENDENCE, measured["invariance"]["relative"], limits.invariance))
    return [{"what": what, "would_pass": found, "limit": limit} for what, found, limit in checks if not found <= limit]


def judge_artifact(measured: dict[str, Any], variant: Variant) -> list[dict[str, Any]]:
    """What `judge` finds, and what only an artifact has: its invariance, and the precision read out of its file."""
    failures = judge(measured, variant.limits)
    if measured["engine_error"]:
        failures.append({"what": f"the engine failed ({measured['engine_error']}); failures", "would_pass": 1, "limit": 0})
    if "invariance" not in measured:
        failures.append({"what": "invariance was not measured", "would_pass": 1, "limit": 0})
    share = measured["precision"]["weights"].get(variant.precision, 0.0)
    if not share >= PRECISION_SHARE:
        failures.append(
            {"what": f"share of weights not {variant.precision}", "would_pass": 1 - share, "limit": 1 - PRECISION_SHARE}
        )
    if variant.runtime == "tf-trt" and not measured["precision"]["coverage"] >= LEAST_COVERAGE:
        outside = 1 - measured["precision"]["coverage"]
        failures.append({"what": "share of multiplications outside TensorRT", "would_pass": outside, "limit": 1 - LEAST_COVERAGE})
    return failures
