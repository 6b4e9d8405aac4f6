"""The verdict on what was measured: passed, shown to be worse, or not decided for want of rows."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.contract.parity.bounds import (
    CHANCE_EACH,
    CONFIDENCE,
    least_rows,
    loss_least,
    rate_bound,
    rate_least,
    rows_to_decide,
)
from slipway.contract.parity.comparison import (
    WAYS,
    BatchSize,
    Comparison,
    Coverage,
    Group,
    Invariance,
    Measured,
    ProbeComparison,
    paired_loss_bound,
)
from slipway.contract.variants import Limits, Variant

PASSED, WORSE, UNDECIDED = "passed", "worse", "undecided"
LEAST_COVERAGE = 0.9  # of a TF-TRT model's matrix multiplications, inside TensorRT segments
DEPENDENCE = "max |Δlogit| ÷ deviation of the reference's logits, alone, in a batch, padded longer"
REPEAT = "max |Δlogit| ÷ deviation of the reference's logits, of the same rows run twice"
# The same kernels add in the same order; a library that splits its sums by the load of its threads
# may differ in the last of 24 bits.
MOST_REPEAT = 1e-5
_MEASURED = ("by_batch", "repeat", "invariance", "neighbours", "probes", "precision")
_CHANCE = 0.001  # of a right model being refused for the answers in batches of some size
_CERTAIN = 1 - CHANCE_EACH
_TEXTS_A_BATCH = 16  # on average, in the gate's batches of random sizes
_COST_FACTOR = 100  # between the cost model's and the measured time of the golden rows


@dataclass(frozen=True, slots=True)
class Failure:
    """A limit that was not held."""

    what: str
    would_pass: float | None  # the least limit that would have been held; None: no limit would
    limit: float | None
    shown: bool = True  # False: these rows do not show that it is beyond the limit
    rows: int = 0  # about so many would decide; 0: unknown
    counts: str = ""  # what a rate was computed from
    kind: str = "rows"  # those that would decide

    def __str__(self) -> str:
        if self.would_pass is None or self.limit is None:
            return self.what
        counts = f" ({self.counts})" if self.counts else ""
        text = f"{self.what} is {self.would_pass:.4g}, limit {self.limit:.4g}{counts}"
        if self.shown:
            return text
        return f"{text}: not decided" + (f", about {self.rows:,} {self.kind} would" if self.rows else "")


def verdict(failures: list[Failure]) -> str:
    """Return PASSED, WORSE or UNDECIDED."""
    if not failures:
        return PASSED
    return WORSE if any(failure.shown for failure in failures) else UNDECIDED


def reason(failures: list[Failure]) -> str:
    """Return in a line why it did not pass: what is shown to be worse, or what is not decided."""
    shown = [failure for failure in failures if failure.shown]
    first = "shown to be worse" if shown else "not decided"
    return f"{first}: " + "; ".join(map(str, shown or failures))


def judge(measured: Comparison, limits: Limits, dependence: Invariance | None = None) -> list[Failure]:
    """Return every limit that was not held; none: passed.

    Rates and bounds are computed anew from the counts, so that a record cannot say one thing and
    count another.
    """
    failures = _beyond([("rows with NaN or Inf", measured.non_finite_rows, 0)])
    failures += _rates(measured, limits) + _groups(measured, limits) + _probabilities(measured, limits)
    if limits.logit_difference is not None:
        failures += _beyond([("max |Δlogit|", measured.logit_difference_max, limits.logit_difference)])
    if dependence:
        failures += _beyond([(DEPENDENCE, dependence.relative, limits.invariance)])
        for name, way in dependence.ways.items():
            failures += _flip_rate(name, way.flips, dependence.rows, limits)
    return failures


def _flip_rate(where: str, flips: int, rows: int, limits: Limits) -> list[Failure]:
    """Judge the flips that some other way to run rows makes; few can be chance."""
    least = rate_least(flips, rows)
    if least <= limits.flip_rate:
        return []
    shown = rate_least(flips, rows, _CERTAIN) > limits.flip_rate
    return [Failure(f"flip rate {where}, at least", least, limits.flip_rate, shown, counts=f"{flips} of {rows:,}")]


def judge_probes(probes: ProbeComparison, limits: Limits) -> list[Failure]:
    """Return every limit that the answers to probe rows do not hold."""
    return _beyond(
        [
            ("probe rows with NaN or Inf", probes.non_finite_rows, 0),
            ("max |Δlogit| of probe rows ÷ their deviation", probes.difference_max, limits.probe_difference),
            ("1 − correlation of the logits of probe rows", 1 - probes.correlation, limits.probe_decorrelation),
        ]
    )


def judge_artifact(measured: Measured, variant: Variant) -> list[Failure]:
    """Judge the answers, and an artifact's own facts: its invariance and its file's precision."""
    limits = variant.limits
    failures = judge(measured, limits, measured.invariance)
    if measured.engine_error:
        return [*failures, Failure(f"the engine failed: {measured.engine_error}", None, None)]
    failures += [Failure(f"{name} was not measured", None, None) for name in _MEASURED if getattr(measured, name) is None]
    probes, beside, precision, batches = measured.probes, measured.neighbours, measured.precision, measured.by_batch
    invariance = measured.invariance
    if invariance is None or probes is None or beside is None or precision is None or batches is None or measured.repeat is None:
        return failures
    failures += judge_probes(probes, limits) + _batches(batches, measured.rows, limits)
    failures += _flip_rate("beside the worst neighbour", beside.flips, measured.rows, limits)
    failures += _beyond([("measurements without a row", [probes.rows, beside.rows, invariance.rows].count(0), 0)])
    failures += _beyond([("ways to run rows that were not tried", len(WAYS - invariance.ways.keys()), 0)])
    checks: list[tuple[str, float, float]] = [
        (REPEAT, measured.repeat / measured.logit_spread, MOST_REPEAT),
        ("time that the cost model gives the golden rows ÷ measured", _cost_factor(measured), _COST_FACTOR),
    ]
    outside = 1 - precision.weights.get(variant.precision, 0.0)
    checks.append((f"share of {precision.of} not {variant.precision}", outside, 1 - limits.precision_share))
    if variant.runtime == "tf-trt":
        uncovered = 1 - (precision.coverage if isinstance(precision, Coverage) else 0.0)
        checks.append(("share of multiplications outside TensorRT", uncovered, 1 - LEAST_COVERAGE))
    return failures + _beyond(checks)


def _rates(measured: Comparison, limits: Limits) -> list[Failure]:
    """Judge flips and accuracy: beyond a limit for certain, or for want of rows."""
    rows, flips = measured.rows, measured.flips
    lost, gained, labelled = measured.lost, measured.gained, measured.labelled
    needed = _rows_to_decide(measured, limits)
    shown = rate_least(flips, rows, _CERTAIN) > limits.flip_rate
    bound = paired_loss_bound(flips, rows, lost, gained, labelled)
    lost_for_certain = bool(labelled) and loss_least(lost, gained, labelled, _CERTAIN) > limits.accuracy_loss_bound
    changed, paid = f"{flips} of {rows:,}", f"{lost} lost, {gained} gained of {labelled:,}"
    kind = "rows with a label" if labelled < rows else "rows"  # those without one bound a loss by all that changed
    checks = [
        ("flip rate", flips / max(rows, 1), limits.flip_rate, shown, changed, "rows"),
        ("upper bound on the flip rate", rate_bound(flips, rows), limits.flip_rate_bound, shown, changed, "rows"),
        ("upper bound on the accuracy loss", bound, limits.accuracy_loss_bound, lost_for_certain, paid, kind),
    ]
    return [
        Failure(what, value, limit, sure, needed, counts, wanted)
        for what, value, limit, sure, counts, wanted in checks
        if not value <= limit
    ]


def _rows_to_decide(measured: Comparison, limits: Limits) -> int:
    """Return how many rows a right model would take: by the variant's usual rates, unless more
    changed than those explain or so many rows are there.
    """
    more = rate_least(measured.flips, measured.rows) > limits.usual_flips
    if measured.rows and (more or usual_rows(limits) <= measured.rows):
        rows, labelled = measured.rows, max(measured.labelled, 1)
        return rows_to_decide(limits, measured.flips / rows, measured.lost / labelled, measured.gained / labelled)
    return usual_rows(limits)


def usual_rows(limits: Limits) -> int:
    """Return how many rows a right model of the variant takes to pass, in nine of ten tries.

    Of its usual flips half are lost answers and three eighths gained ones; the others were wrong
    before, too (AG News, 4,000 rows).
    """
    usual = limits.usual_flips
    return rows_to_decide(limits, usual, usual / 2, usual * 3 / 8) or least_rows(limits)


def _groups(measured: Comparison, limits: Limits) -> list[Failure]:
    """Judge each class and length bucket: its loss beyond chance.

    The more groups there are, the likelier is chance in one of them: a loss is shown where it is
    certain for all of them together (Bonferroni), else it is not decided.
    """
    failures = []
    for groups, rows in ((measured.by_class, measured.labelled), (measured.by_length, measured.rows)):
        failures += _beyond([("answers in no group", rows - sum(group.rows for group in groups), 0)])
        certain = 1 - (1 - _CERTAIN) / max(len(groups), 1)
        for group in groups:
            least = _least_loss(group, CONFIDENCE)
            if not least <= limits.group_loss:
                shown = _least_loss(group, certain) > limits.group_loss
                failures.append(Failure(f"accuracy loss in {group.group}, at least", least, limits.group_loss, shown))
    return failures


def _batches(batches: list[BatchSize], rows: int, limits: Limits) -> list[Failure]:
    """Judge each batch size, by what is certain for all of them together: they are many."""
    certain = 1 - _CHANCE / max(len(batches), 1)
    least = {batch.size: rate_least(batch.flips, batch.rows, certain) for batch in batches}
    beyond = [size for size, rate in least.items() if not rate <= limits.flip_rate]
    failures = _beyond([("answers of no batch size", rows - sum(batch.rows for batch in batches), 0)])
    if beyond:
        adjacent = len(beyond) > 1 and beyond[-1] - beyond[0] == len(beyond) - 1
        sizes = f"{beyond[0]} to {beyond[-1]}" if adjacent else ", ".join(map(str, beyond))
        worst = max(least[size] for size in beyond)
        failures.append(Failure(f"flip rate in batches of {sizes} rows, at least", worst, limits.flip_rate))
    return failures


def _least_loss(group: Group, confidence: float) -> float:
    return loss_least(group.lost, group.gained, group.labelled, confidence) if group.labelled else 0.0


def _probabilities(measured: Comparison, limits: Limits) -> list[Failure]:
    if measured.probabilities is None:
        return [] if measured.non_finite_rows else [Failure("probabilities were not measured", None, None)]
    these = measured.probabilities
    checks = (
        ("mean |Δp| of the rows", these.difference_mean, limits.probability_mean, these.difference_mean_least),
        ("99th percentile of |Δp|", these.difference_p99, limits.probability_p99, these.difference_p99_least),
    )
    return [
        *_beyond([("|slope − 1| of the logits on the reference's", abs(these.slope - 1), limits.slope)]),
        *(Failure(what, value, limit, not least <= limit) for what, value, limit, least in checks if not value <= limit),
    ]


def _cost_factor(measured: Measured) -> float:
    """Return how far the cost model is from the time the golden rows took, as a factor ≥ 1.

    Below a second, what surrounds the engine takes longer than the engine.
    """
    cost = measured.cost or {}
    if not {"fixed", "per_token"} <= cost.keys():
        return float("inf")
    predicted = max(cost["fixed"] * measured.texts / _TEXTS_A_BATCH + cost["per_token"] * measured.tokens, 1.0)
    taken = max(measured.engine_seconds, 1.0)
    return max(predicted / taken, taken / predicted)


def _beyond(checks: list[tuple[str, float, float]]) -> list[Failure]:
    return [Failure(*check) for check in checks if not check[1] <= check[2]]  # so that NaN fails
