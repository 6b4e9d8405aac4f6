"""Two sets of logits for the same rows: the answers that changed, and what that costs.

Pure functions of arrays; offline parity and served parity both come through here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract.bundle import Golden
from slipway.contract.parity import probabilities
from slipway.contract.parity.bounds import loss_bound, loss_least, rate_bound, sign_test
from slipway.contract.parity.probabilities import Logits, Numbers, Probabilities

Mask = NDArray[np.bool_]

WAYS = frozenset(("in a batch", "padded"))  # to run rows that were run alone
UNLABELLED = -1  # label of a row without one
_BUCKETS = (32, 48, 64, 96, 128, 256, 512)  # upper ends of the length buckets, tokens
_LISTED_FLIPS = 1000
_UNSEEN_LOSS = 0.1  # a class is named where so much could be lost and stay unseen


@dataclass(frozen=True, slots=True)
class Group:
    """The answers of one class or one length bucket."""

    group: str
    rows: int
    labelled: int  # rows that have a label
    flips: int
    lost: int  # right in the reference, wrong now
    gained: int  # wrong in the reference, right now
    accuracy_loss: float


@dataclass(frozen=True, slots=True)
class Unseen:
    """A class that these rows cannot judge."""

    label: str
    rows: int  # that have this label
    answered: int  # rows that the reference answers so
    loss: float  # of the class's answers that could be lost before it would be noticed


@dataclass(frozen=True, slots=True)
class Flip:
    """An answer that changed; labels are numbers, −1 where the new logits are not finite."""

    row: int
    label: int  # −1: the row has none
    reference: int
    found: int


@dataclass(frozen=True)
class Comparison:
    """One set of logits measured against the reference."""

    rows: int
    labelled: int  # rows that have a label: they alone count for accuracy
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
    logit_spread: float  # standard deviation of the reference's logits, centred by row
    by_class: list[Group]
    by_length: list[Group]
    unseen: list[Unseen]
    flipped_rows: list[Flip]  # the first 1000
    probabilities: Probabilities | None  # None: no row has finite logits


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
    relative: float  # the same ÷ standard deviation of the reference's logits
    ways: dict[str, Way]


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The answers of the rows that were run in batches of one size: a fault may be of one."""

    size: int  # rows
    rows: int  # answers that are compared
    flips: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the neighbour that disturbs most can change, of all that were tried."""

    neighbour: str  # which one, in words
    rows: int  # tried beside it: those of the smallest margins
    flips: int
    difference_max: float  # max |Δlogit|


@dataclass(frozen=True, slots=True)
class ProbeComparison:
    """Rows that hold every word piece and position, and texts of other scripts; no flips."""

    rows: int
    non_finite_rows: int
    difference_max: float  # max |Δlogit|, centred by row ÷ standard deviation of the reference's
    difference_mean: float  # root of the mean square of the same
    correlation: float  # of centred logits


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
    tokens: int  # of the texts
    engine_seconds: float
    engine_error: str  # "": none
    by_batch: list[BatchSize] | None = None
    repeat: float | None = None  # max |Δlogit| of the same rows run twice
    invariance: Invariance | None = None
    neighbours: Neighbours | None = None
    probes: ProbeComparison | None = None
    cost: dict[str, float] | None = None  # seconds: fixed, per_token
    precision: Coverage | Precision | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what parity.json holds of it; `records.from_json` reads it."""
        return asdict(self)


def compare(reference: Logits, answers: Logits, labels: Numbers, lengths: Numbers, names: list[str]) -> Comparison:
    """Measure `answers` against `reference`, logits [rows, labels].

    `labels` and `lengths` are the rows' true labels (−1: none) and token counts, `names` the
    labels' names.

    A row is one answer: a text's, or a tagged word's. Bounds take rows as independent; words of one
    sentence are not quite. Raises ValueError when the shapes differ.
    """
    if reference.shape != answers.shape:
        raise ValueError(f"expected logits {list(reference.shape)}, found {list(answers.shape)}")
    finite = np.isfinite(answers).all(axis=1)
    expected = reference.argmax(axis=1)
    predicted = np.where(finite, answers.argmax(axis=1), -2)  # NaN answers nothing
    flipped, labelled = expected != predicted, labels != UNLABELLED
    change = (predicted == labels).astype(np.int64) - (expected == labels)  # −1 where a right answer was lost
    change[~labelled] = 0
    difference = np.abs(answers - reference)[finite]
    flips, lost, gained = int(flipped.sum()), int((change < 0).sum()), int((change > 0).sum())
    rows, count = len(labels), int(labelled.sum())
    return Comparison(
        rows=rows,
        labelled=count,
        non_finite_rows=int((~finite).sum()),
        flips=flips,
        lost=lost,
        gained=gained,
        flip_rate_bound=rate_bound(flips, rows),
        accuracy_loss=(lost - gained) / max(count, 1),
        accuracy_loss_bound=paired_loss_bound(flips, rows, lost, gained, count),
        mcnemar_p=sign_test(lost, gained),
        accuracy_reference=float((expected == labels).sum() / max(count, 1)),
        accuracy=float((predicted == labels).sum() / max(count, 1)),
        logit_difference_max=float(difference.max(initial=0.0)),
        logit_difference_p999=float(np.quantile(difference, 0.999)) if difference.size else 0.0,
        logit_spread=probabilities.spread(reference),
        by_class=_groups({name: labels == i for i, name in enumerate(names)}, flipped, change, labelled),
        by_length=_groups(_length_buckets(lengths), flipped, change, labelled),
        unseen=_unseen(expected, labels, names),
        flipped_rows=[
            Flip(int(i), int(labels[i]), int(expected[i]), max(int(predicted[i]), -1))
            for i in np.flatnonzero(flipped)[:_LISTED_FLIPS]
        ],
        probabilities=probabilities.probabilities(reference[finite], answers[finite], labels[finite]),
    )


def compare_golden(golden: Golden, answers: Logits, names: list[str]) -> Comparison:
    """Measure `answers`, shaped as golden.logits, on what is compared of the golden rows."""
    compared = golden.compared
    return compare(golden.logits[compared], answers[compared], golden.labels[compared], golden.lengths[compared], names)


def paired_loss_bound(flips: int, rows: int, lost: int, gained: int, labelled: int) -> float:
    """Return the upper bound on the loss of accuracy: no more answers are lost than change."""
    of_labelled = loss_bound(lost, gained, labelled) if labelled else 1.0
    return min(of_labelled, rate_bound(flips, rows))


def _groups(masks: dict[str, Mask], flipped: Mask, change: Numbers, labelled: Mask) -> list[Group]:
    """Measure each group of answers, so that a loss in one of them cannot hide in the total."""
    groups = []
    for name, mask in masks.items():
        rows, lost, gained = int(mask.sum()), int((change[mask] < 0).sum()), int((change[mask] > 0).sum())
        count = int(labelled[mask].sum())
        if rows:
            groups.append(Group(name, rows, count, int(flipped[mask].sum()), lost, gained, (lost - gained) / max(count, 1)))
    return groups


def _unseen(expected: Numbers, labels: Numbers, names: list[str]) -> list[Unseen]:
    """Return the classes of which many answers could be lost unseen, or that no row is answered."""
    classes = []
    for number, name in enumerate(names):
        rows, answered = int((labels == number).sum()), int((expected == number).sum())
        lost = next((lost for lost in range(1, rows + 1) if loss_least(lost, 0, rows) > 0), rows + 1) - 1
        loss = lost / rows if rows else 1.0
        if loss >= _UNSEEN_LOSS or not answered:
            classes.append(Unseen(name, rows, answered, loss))
    return classes


def _length_buckets(lengths: Numbers) -> dict[str, Mask]:
    starts = (0, *_BUCKETS)
    buckets = {f"{a + 1}-{b} tokens": (lengths > a) & (lengths <= b) for a, b in zip(starts, _BUCKETS, strict=False)}
    return buckets | {f"over {_BUCKETS[-1]} tokens": lengths > _BUCKETS[-1]}


def invariance(alone: Logits, others: dict[str, Logits], spread: float) -> Invariance:
    """Compare logits [rows, labels] of rows run alone with those of the same rows run otherwise.

    `spread`: standard deviation of the reference's logits. The candidate's own would forgive a
    model that makes all logits larger.
    """
    ways = {name: Way(largest(logits, alone), _flips(logits, alone)) for name, logits in others.items()}
    most = max(way.difference for way in ways.values())
    return Invariance(len(alone), most, most / spread, ways)


def by_batch(reference: Logits, answers: Logits, sizes: Numbers) -> list[BatchSize]:
    """Count changed answers, logits [rows, labels], by the `sizes` [rows] of the rows' batches."""
    flipped = _flipped(answers, reference)
    return [BatchSize(int(size), int((sizes == size).sum()), int(flipped[sizes == size].sum())) for size in np.unique(sizes)]


def neighbours(name: str, alone: Logits, beside: Logits) -> Neighbours:
    """Compare logits [rows, labels] of rows run alone with those beside that neighbour."""
    return Neighbours(name, len(alone), _flips(beside, alone), largest(beside, alone))


def compare_probes(reference: Logits, answers: Logits) -> ProbeComparison:
    """Measure the `answers` [rows, labels] to probe rows against `reference`."""
    finite = np.isfinite(answers).all(axis=1)
    before = probabilities.centred(reference[finite].astype(np.float64))
    after = probabilities.centred(answers[finite].astype(np.float64))
    error = (after - before) / probabilities.spread(reference)
    power = float(np.sqrt((before * before).sum() * (after * after).sum()))
    return ProbeComparison(
        rows=len(reference),
        non_finite_rows=int((~finite).sum()),
        difference_max=float(np.abs(error).max(initial=0.0)),
        difference_mean=float(np.sqrt((error * error).mean())) if error.size else 0.0,
        correlation=float((before * after).sum() / power) if power else float(not before.any() and not after.any()),
    )


def largest(left: Logits, right: Logits) -> float:
    """Return max |Δ|. What is finite on one side alone differs by the largest number JSON can hold;
    on neither, not at all: there it is no other answer, and is counted as not finite.
    """
    finite = np.isfinite(left), np.isfinite(right)
    sizes = np.abs(np.where(finite[0], left, 0) - np.where(finite[1], right, 0))
    return float(np.where(finite[0] == finite[1], sizes, np.finfo(np.float32).max).max(initial=0.0))


def margins(logits: Logits) -> Logits:
    """Return by how much each answer [rows] is ahead of the next."""
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def by_margin(golden: Golden, logits: Logits) -> Numbers:
    """Return the numbers of the rows, those first whose answer is nearest to another.

    `logits`: as golden.logits.
    """
    compared = golden.compared
    least = np.full(len(golden.ids), np.inf)
    np.minimum.at(least, golden.text_of[compared], margins(logits[compared]))
    return np.argsort(least, kind="stable")


def _flipped(logits: Logits, others: Logits) -> Mask:
    """Return where answers differ; one that is not finite answers nothing."""
    finite = np.isfinite(logits).all(axis=1) & np.isfinite(others).all(axis=1)
    return np.asarray(~finite | (logits.argmax(axis=1) != others.argmax(axis=1)))


def _flips(logits: Logits, others: Logits) -> int:
    return int(_flipped(logits, others).sum())
