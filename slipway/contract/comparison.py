"""Two sets of logits for the same rows: the answers that changed, their cost, and the verdict.

Pure functions of arrays; offline parity and served parity both come through here, with the same
limits.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from slipway.contract.variants import Limits, Variant

Logits = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

CONFIDENCE = 0.95  # of every one-sided bound
LEAST_COVERAGE = 0.9  # of a TF-TRT model's matrix multiplications, inside TensorRT segments
_HALF = 1 - (1 - CONFIDENCE) / 2  # of each part of a bound made of two
# Of an artifact's weights in its declared precision; the rest may be finer where answers need it.
PRECISION_SHARE = 0.95
DEPENDENCE = "max |Δlogit| ÷ deviation of the logits, alone, in a batch, padded longer"
_BUCKETS = (32, 48, 64, 96, 128, 256, 512)  # upper ends of the length buckets, tokens
_LISTED_FLIPS = 1000


@dataclass(frozen=True, slots=True)
class Group:
    """The answers of one class or one length bucket."""

    group: str
    rows: int
    flips: int
    lost: int  # right in the reference, wrong now
    gained: int  # wrong in the reference, right now
    accuracy_loss: float


@dataclass(frozen=True, slots=True)
class Flip:
    """An answer that changed; labels are numbers, −1 where the new logits are not finite."""

    row: int
    label: int
    reference: int
    found: int


@dataclass(frozen=True)
class Comparison:
    """One set of logits measured against the reference."""

    rows: int
    non_finite_rows: int
    flips: int
    lost: int
    gained: int
    flip_rate_bound: float
    accuracy_loss: float
    accuracy_loss_bound: float
    mcnemar_p: float
    accuracy_reference: float
    accuracy: float
    logit_difference_max: float
    logit_difference_p999: float
    by_class: list[Group]
    by_length: list[Group]
    flipped_rows: list[Flip]  # the first 1000


@dataclass(frozen=True, slots=True)
class Way:
    """Another way to run the same rows, measured against each row alone."""

    difference: float  # max |Δlogit|
    flips: int


@dataclass(frozen=True, slots=True)
class Invariance:
    """How far answers depend on what stands beside a row: its batch, its padding."""

    rows: int
    difference_max: float  # max |Δlogit|
    relative: float  # the same ÷ standard deviation of the logits
    ways: dict[str, Way]


@dataclass(frozen=True)
class Precision:
    """The types an artifact really computes in, read out of its file."""

    of: str  # what the shares are of
    weights: dict[str, float]  # type → share
    operators: dict[str, int]  # kind → how often it occurs


@dataclass(frozen=True)
class Coverage(Precision):
    """TF-TRT: also how much of the model runs inside TensorRT segments."""

    segments: int
    segments_without_engine: int
    nodes_inside: int
    nodes_outside: int
    multiplications_inside: dict[str, int]  # by the precision of their segment
    multiplications_outside: int
    coverage: float  # share of the matrix multiplications that are inside


@dataclass(frozen=True)
class Measured(Comparison):
    """Everything the gate measures of an artifact; None where the engine failed before."""

    texts: int
    engine_seconds: float
    engine_error: str  # "": none
    invariance: Invariance | None = None
    cost: dict[str, float] | None = None  # seconds: fixed, per_token
    precision: Coverage | Precision | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what parity.json holds of it; `records.from_json` reads it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Failure:
    """A limit that was not held."""

    what: str
    would_pass: float  # the least limit that would have been held
    limit: float

    def __str__(self) -> str:
        return f"{self.what} is {self.would_pass:.4g}, limit {self.limit:.4g}"


def rate_bound(count: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided upper bound on a rate (Clopper and Pearson 1934)."""
    return 1.0 if count >= rows else float(stats.beta.ppf(confidence, count + 1, rows - count))


def rate_least(count: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """Return the lower bound that belongs to `rate_bound`."""
    return 0.0 if count == 0 else float(stats.beta.ppf(1 - confidence, count, rows - count + 1))


def loss_bound(lost: int, gained: int, rows: int) -> float:
    """Return the one-sided 95 % upper bound on the paired loss of accuracy (lost − gained) / rows.

    Clopper-Pearson for the lost and the gained rows at 97.5 % each (Bonferroni): exact, and
    conservative.
    """
    return rate_bound(lost, rows, _HALF) - rate_least(gained, rows, _HALF)


def loss_least(lost: int, gained: int, rows: int) -> float:
    """Return the one-sided 95 % lower bound on the same loss, given how many rows changed.

    Exact for the direction of the changes, as McNemar's test is.
    """
    changed = lost + gained
    return (2 * rate_least(lost, changed) - 1) * changed / rows if changed else 0.0


def least_rows(limits: Limits) -> int:
    """Return the rows it takes for equal answers to hold the bounds: n with 1 − α^(1/n) ≤ limit."""
    flips = math.log(1 - CONFIDENCE) / math.log1p(-limits.flip_rate_bound)
    loss = math.log(1 - _HALF) / math.log1p(-limits.accuracy_loss_bound)
    return math.ceil(max(flips, loss))


def compare(reference: Logits, answers: Logits, labels: Numbers, lengths: Numbers, names: list[str]) -> Comparison:
    """Measure `answers` against `reference`, logits [rows, labels].

    `labels` and `lengths` are the rows' true labels and token counts, `names` the labels' names.

    A row is one answer: a text's, or a tagged word's. Bounds take rows as independent; words of one
    sentence are not quite. Raises ValueError when the shapes differ.
    """
    if reference.shape != answers.shape:
        raise ValueError(f"expected logits {list(reference.shape)}, found {list(answers.shape)}")
    finite = np.isfinite(answers).all(axis=1)
    expected = reference.argmax(axis=1)
    predicted = np.where(finite, answers.argmax(axis=1), -1)  # NaN answers nothing
    flipped = expected != predicted
    change = (predicted == labels).astype(np.int64) - (expected == labels)  # −1 where a right answer was lost
    difference = np.abs(answers - reference)[finite]
    flips, lost, gained = int(flipped.sum()), int((change < 0).sum()), int((change > 0).sum())
    rows = len(labels)
    return Comparison(
        rows=rows,
        non_finite_rows=int((~finite).sum()),
        flips=flips,
        lost=lost,
        gained=gained,
        flip_rate_bound=rate_bound(flips, rows),
        accuracy_loss=(lost - gained) / max(rows, 1),
        accuracy_loss_bound=loss_bound(lost, gained, rows),
        mcnemar_p=float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
        accuracy_reference=float((expected == labels).mean()),
        accuracy=float((predicted == labels).mean()),
        logit_difference_max=float(difference.max(initial=0.0)),
        logit_difference_p999=float(np.quantile(difference, 0.999)) if difference.size else 0.0,
        by_class=_groups({name: labels == i for i, name in enumerate(names)}, flipped, change),
        by_length=_groups(_length_buckets(lengths), flipped, change),
        flipped_rows=[
            Flip(int(i), int(labels[i]), int(expected[i]), int(predicted[i])) for i in np.flatnonzero(flipped)[:_LISTED_FLIPS]
        ],
    )


def _groups(masks: dict[str, Mask], flipped: Mask, change: Numbers) -> list[Group]:
    """Measure each group of answers, so that a loss in one of them cannot hide in the total."""
    groups = []
    for name, mask in masks.items():
        rows, lost, gained = int(mask.sum()), int((change[mask] < 0).sum()), int((change[mask] > 0).sum())
        if rows:
            groups.append(Group(name, rows, int(flipped[mask].sum()), lost, gained, (lost - gained) / rows))
    return groups


def _length_buckets(lengths: Numbers) -> dict[str, Mask]:
    starts = (0, *_BUCKETS)
    buckets = {f"{a + 1}-{b} tokens": (lengths > a) & (lengths <= b) for a, b in zip(starts, _BUCKETS, strict=False)}
    return buckets | {f"over {_BUCKETS[-1]} tokens": lengths > _BUCKETS[-1]}


def invariance(alone: Logits, others: dict[str, Logits]) -> Invariance:
    """Compare logits [rows, labels] of rows run alone with those of the same rows run otherwise."""
    ways = {
        name: Way(_largest(np.abs(logits - alone)), int((logits.argmax(axis=1) != alone.argmax(axis=1)).sum()))
        for name, logits in others.items()
    }
    most = max(way.difference for way in ways.values())
    spread = float(alone.std()) if np.isfinite(alone).all() else 0.0
    return Invariance(len(alone), most, most / (spread or 1.0), ways)


def _largest(difference: Logits) -> float:
    """Return the maximum; what is not finite counts as the largest number JSON can hold."""
    return float(np.where(np.isfinite(difference), difference, np.finfo(np.float32).max).max())


def _beyond(checks: list[tuple[str, float, float]]) -> list[Failure]:
    return [Failure(*check) for check in checks if not check[1] <= check[2]]  # so that NaN fails


def judge(measured: Comparison, limits: Limits, dependence: Invariance | None = None) -> list[Failure]:
    """Return every limit that was not held; none: passed.

    Rates and bounds are computed anew from the counts, so that a record cannot say one thing and
    count another.
    """
    rows, lost, gained = measured.rows, measured.lost, measured.gained
    checks: list[tuple[str, float, float]] = [
        ("golden rows that are missing", max(0, least_rows(limits) - rows), 0),
        ("rows with NaN or Inf", measured.non_finite_rows, 0),
        ("flip rate", measured.flips / max(rows, 1), limits.flip_rate),
        ("upper bound on the flip rate", rate_bound(measured.flips, rows), limits.flip_rate_bound),
        ("upper bound on the accuracy loss", loss_bound(lost, gained, rows), limits.accuracy_loss_bound),
    ]
    for groups in (measured.by_class, measured.by_length):
        checks.append(("answers in no group", rows - sum(group.rows for group in groups), 0))
        for group in groups:
            least = loss_least(group.lost, group.gained, group.rows)
            checks.append((f"accuracy loss in {group.group}, at least", least, limits.group_loss))
    if limits.logit_difference is not None:
        checks.append(("max |Δlogit|", measured.logit_difference_max, limits.logit_difference))
    if dependence:
        checks.append((DEPENDENCE, dependence.relative, limits.invariance))
        for name, way in dependence.ways.items():
            checks.append((f"flip rate {name}, at least", rate_least(way.flips, dependence.rows), limits.flip_rate))
    return _beyond(checks)


def judge_artifact(measured: Measured, variant: Variant) -> list[Failure]:
    """Judge the answers, and an artifact's own facts: its invariance and its file's precision."""
    failures = judge(measured, variant.limits, measured.invariance)
    if measured.engine_error:
        return [*failures, Failure(f"the engine failed ({measured.engine_error}); failures", 1, 0)]
    if measured.invariance is None:
        failures.append(Failure("invariance was not measured", 1, 0))
    precision = measured.precision
    if precision is None:
        return [*failures, Failure("the precision was not read", 1, 0)]
    outside = 1 - precision.weights.get(variant.precision, 0.0)
    checks = [(f"share of {precision.of} not {variant.precision}", outside, 1 - PRECISION_SHARE)]
    if variant.runtime == "tf-trt":
        uncovered = 1 - (precision.coverage if isinstance(precision, Coverage) else 0.0)
        checks.append(("share of multiplications outside TensorRT", uncovered, 1 - LEAST_COVERAGE))
    return failures + _beyond(checks)
