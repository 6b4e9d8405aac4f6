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
_LISTED_FLIPS = 1000


def rate_bound(count: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound on a rate, `count` having been seen in `rows` (Clopper and Pearson 1934)."""
    return 1.0 if count >= rows else float(stats.beta.ppf(confidence, count + 1, rows - count))


def rate_least(count: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """The lower bound that belongs to `rate_bound`."""
    return 0.0 if count == 0 else float(stats.beta.ppf(1 - confidence, count, rows - count + 1))


def loss_bound(lost: int, gained: int, rows: int) -> float:
    """One-sided 95 % upper bound on the paired loss of accuracy (lost − gained) / rows.

    Clopper-Pearson for the lost and the gained rows at 97.5 % each (Bonferroni): exact, and conservative.
    """
    return rate_bound(lost, rows, _HALF) - rate_least(gained, rows, _HALF)


def loss_least(lost: int, gained: int, rows: int) -> float:
    """One-sided 95 % lower bound on the same loss, given how many rows changed: exact for their direction, as McNemar's test."""
    changed = lost + gained
    return (2 * rate_least(lost, changed) - 1) * changed / rows if changed else 0.0


def least_rows(limits: Limits) -> int:
    """How many rows it takes for answers that are all equal to hold the bounds: n with 1 − α^(1/n) ≤ limit."""
    flips = math.log(1 - CONFIDENCE) / math.log1p(-limits.flip_rate_bound)
    loss = math.log(1 - _HALF) / math.log1p(-limits.accuracy_loss_bound)
    return math.ceil(max(flips, loss))


def compare(reference: Logits, found: Logits, labels: Numbers, lengths: Numbers, names: list[str]) -> dict[str, Any]:
    """The measurements. Logits [rows, labels], true labels and token counts [rows], `names` of the labels.

    A row is one answer: a text's, or a tagged word's. Bounds take rows as independent; words of one sentence are not quite.
    """
    if reference.shape != found.shape:
        raise ValueError(f"expected logits {list(reference.shape)}, found {list(found.shape)}")
    finite = np.isfinite(found).all(axis=1)
    expected, predicted = reference.argmax(axis=1), np.where(finite, found.argmax(axis=1), -1)  # NaN answers nothing
    flipped = expected != predicted
    change = (predicted == labels).astype(np.int64) - (expected == labels)  # −1 where a right answer was lost
    difference = np.abs(found - reference)[finite]
    counts = {
        "rows": len(labels),
        "non_finite_rows": int((~finite).sum()),
        "flips": int(flipped.sum()),
        "lost": int((change < 0).sum()),
        "gained": int((change > 0).sum()),
    }
    return {
        **counts,
        **_rates(counts),
        "accuracy_reference": float((expected == labels).mean()),
        "accuracy": float((predicted == labels).mean()),
        "logit_difference_max": float(difference.max(initial=0.0)),
        "logit_difference_p999": float(np.quantile(difference, 0.999)) if difference.size else 0.0,
        "by_class": _groups({names[i]: labels == i for i in range(len(names))}, flipped, change),
        "by_length": _groups(_length_buckets(lengths), flipped, change),
        "flipped_rows": [
            {"row": int(i), "label": int(labels[i]), "reference": int(expected[i]), "found": int(predicted[i])}
            for i in np.flatnonzero(flipped)[:_LISTED_FLIPS]
        ],
    }


def _rates(counts: dict[str, Any]) -> dict[str, float]:
    """What follows from the counts; `judge` computes it anew."""
    rows, lost, gained = counts["rows"], counts["lost"], counts["gained"]
    return {
        "flip_rate_bound": rate_bound(counts["flips"], rows),
        "accuracy_loss": (lost - gained) / max(rows, 1),
        "accuracy_loss_bound": loss_bound(lost, gained, rows),
        "mcnemar_p": float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
    }


def _groups(masks: dict[str, Any], flipped: Any, change: Any) -> list[dict[str, Any]]:
    """Flips and accuracy loss within each group of answers, so that a loss in one of them cannot hide in the total."""
    groups = []
    for name, mask in masks.items():
        answers, lost, gained = int(mask.sum()), int((change[mask] < 0).sum()), int((change[mask] > 0).sum())
        if answers:
            loss = {"lost": lost, "gained": gained, "accuracy_loss": (lost - gained) / answers}
            groups.append({"group": name, "rows": answers, "flips": int(flipped[mask].sum()), **loss})
    return groups


def _length_buckets(lengths: Numbers) -> dict[str, Any]:
    starts = (0, *_BUCKETS)
    buckets = {f"{a + 1}-{b} tokens": (lengths > a) & (lengths <= b) for a, b in zip(starts, _BUCKETS, strict=False)}
    return buckets | {f"over {_BUCKETS[-1]} tokens": lengths > _BUCKETS[-1]}


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
    """Every limit that was not held: what, the value that would have passed, the limit. Empty: passed.

    Rates and bounds are computed anew from the counts, so that a record cannot say one thing and count another.
    """
    rates, rows = _rates(measured), measured["rows"]
    checks: list[tuple[str, float, float]] = [
        ("golden rows that are missing", max(0, least_rows(limits) - rows), 0),
        ("rows with NaN or Inf", measured["non_finite_rows"], 0),
        ("flip rate", measured["flips"] / max(rows, 1), limits.flip_rate),
        ("upper bound on the flip rate", rates["flip_rate_bound"], limits.flip_rate_bound),
        ("upper bound on the accuracy loss", rates["accuracy_loss_bound"], limits.accuracy_loss_bound),
    ]
    for groups in (measured["by_class"], measured["by_length"]):
        checks.append(("answers in no group", measured["rows"] - sum(group["rows"] for group in groups), 0))
        for group in groups:
            least = loss_least(group["lost"], group["gained"], group["rows"])
            checks.append((f"accuracy loss in {group['group']}, at least", least, limits.group_loss))
    if limits.logit_difference is not None:
        checks.append(("max |Δlogit|", measured["logit_difference_max"], limits.logit_difference))
    if "invariance" in measured:
        checks.append((DEPENDENCE, measured["invariance"]["relative"], limits.invariance))
        for way, found in measured["invariance"]["ways"].items():
            least = rate_least(found["flips"], measured["invariance"]["rows"])
            checks.append((f"flip rate {way}, at least", least, limits.flip_rate))
    return [{"what": what, "would_pass": found, "limit": limit} for what, found, limit in checks if not found <= limit]


def judge_artifact(measured: dict[str, Any], variant: Variant) -> list[dict[str, Any]]:
    """What `judge` finds, and what only an artifact has: its invariance, and the precision read out of its file."""
    failures = judge(measured, variant.limits)
    if measured["engine_error"]:
        return [*failures, {"what": f"the engine failed ({measured['engine_error']}); failures", "would_pass": 1, "limit": 0}]
    if "invariance" not in measured:
        failures.append({"what": "invariance was not measured", "would_pass": 1, "limit": 0})
    precision = measured["precision"]
    outside = 1 - precision["weights"].get(variant.precision, 0.0)
    checks = [(f"share of {precision['of']} not {variant.precision}", outside, 1 - PRECISION_SHARE)]
    if variant.runtime == "tf-trt":
        checks.append(("share of multiplications outside TensorRT", 1 - precision["coverage"], 1 - LEAST_COVERAGE))
    found = [{"what": what, "would_pass": share, "limit": limit} for what, share, limit in checks if not share <= limit]
    return failures + found
