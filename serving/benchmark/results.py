"""A benchmark's results: its rows, their comparisons, and the choice among them under an SLO.

Whether a round counts, a load is ok and two loads differ is judged here, from the journal alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.benchmark.journal import Journal, LoadRound
from serving.benchmark.plan import Planned
from serving.benchmark.record import FIGURES, Choice, Comparison, MeasuredModel, Offer, Round, Row
from serving.benchmark.subjects import BASELINES
from serving.load import interference, latency_breakdown
from serving.load.interference import GpuUse
from serving.load.latency_breakdown import LatencyBreakdown
from slipway import statistics
from slipway.contract.records import TEXT_MODEL
from slipway.statistics import Figure, Floats

_FEWEST_ROUNDS = 3  # that count for figures, or fewer where fewer were asked for
# Rounds that count of both for a verdict: the interval of a median of three holds the truth in
# 75 % of cases, of five in 94 %.
_VERDICT_ROUNDS = 5
_STABLE = 0.35  # (most − least) ÷ median of the rounds' throughput, of a closed loop


@dataclass(frozen=True)
class LoadRounds:
    """A load with all its rounds, and for each why it does not count."""

    planned: Planned
    rounds: list[LoadRound]
    why: list[list[str]]

    @property
    def counting(self) -> list[int]:
        """Numbers of the rounds that count."""
        return [number for number, why in enumerate(self.why) if not why]

    def latencies(self, numbers: Sequence[int]) -> list[Floats]:
        return [self.rounds[number].result.latencies for number in numbers]

    def rates(self, numbers: Sequence[int]) -> list[float]:
        return [self.rounds[number].result.throughput for number in numbers]


def load_rounds(planned: Planned, journal: Journal) -> LoadRounds:
    """Return the load's rounds in the journal. One that failed or was disturbed does not count."""
    rounds = journal.rounds(LoadRound, planned.id)
    return counted(planned, rounds, interference.disturbed(rounds))


def counted(planned: Planned, rounds: list[LoadRound], disturbed: list[list[str]]) -> LoadRounds:
    """Return the load's rounds; `disturbed`: why each of them does not count, if so, though it
    ended well.
    """
    why = []
    for measured, reasons in zip(rounds, disturbed, strict=True):
        failure, errors = measured.result.failure, measured.result.errors
        failed = [failure] if failure else []
        unanswered = [f"{errors} requests without an answer"] if errors else []
        why.append([*failed, *unanswered, *reasons])
    return LoadRounds(planned, rounds, why)


def capacity(loads: Sequence[LoadRounds], subject: str) -> float:
    """Return the subject's highest median throughput in closed loops, or 0 if unknown."""
    closed = [load for load in loads if (load.planned.subject, load.planned.lengths, load.planned.share) == (subject, "own", None)]
    return max((float(np.median(load.rates(load.counting))) for load in closed if load.counting), default=0.0)


def result_row(load: LoadRounds, subject_capacity: float) -> Row:
    """Return the load as a row of the record; figures are over the rounds that count."""
    status, why = judge(load)
    plan, results = load.planned, [measured.result for measured in load.rounds]
    rate = next((measured.rate for measured in load.rounds if measured.rate), None)
    shown = next((result for result in results if result.failure), results[0])
    row = Row(
        id=plan.id,
        subject=plan.subject,
        protocol=plan.protocol,
        transport=plan.transport,
        lengths=plan.lengths,
        load="poisson" if plan.share else "closed",
        concurrency=plan.concurrency,
        rate=rate,
        offered_share=rate / subject_capacity if rate and subject_capacity else None,
        status=status,
        why=tuple(why),
        command=shown.command,
        exit_status=shown.exit_status,
        requests=sum(result.latencies.size + result.errors for result in results),
        rejected=sum(result.rejected for result in results),
        rounds=tuple(_round(measured, reasons) for measured, reasons in zip(load.rounds, load.why, strict=True)),
    )
    return row if status == "FAILED" else _with_figures(row, load)


def _with_figures(row: Row, load: LoadRounds) -> Row:
    """Add what only a load has that did not fail."""
    numbers = load.counting if row.status == "ok" else list(range(len(load.rounds)))
    used = [load.rounds[number] for number in numbers]
    counted = [measured.counted for measured in used if measured.counted]
    p50, p95, p99 = statistics.percentiles(load.latencies(numbers)).values()
    return replace(
        row,
        sent=float(np.median([measured.result.sent for measured in used])) if row.rate else None,
        errors=sum(measured.result.errors for measured in load.rounds),
        stages=_latency_breakdown(used),
        padding_waste=latency_breakdown.waste(counted),
        gpu=_mean_gpu([measured.gpu for measured in used if measured.gpu]),
        throughput=statistics.throughput(load.rates(numbers)),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def judge(load: LoadRounds) -> tuple[str, list[str]]:
    """Return whether a load is ok, FAILED or invalid, and why."""
    results = [measured.result for measured in load.rounds]
    if failures := [result.failure for result in results if result.failure]:
        return "FAILED", list(dict.fromkeys(failures))
    if errors := sum(result.errors for result in results):
        return "invalid", [f"{errors} requests without an answer"]
    needed = min(_FEWEST_ROUNDS, len(load.rounds))
    if len(load.counting) < needed:
        last_of_kind = {reason.partition(":")[0]: reason for why in load.why for reason in why}
        few = f"{len(load.counting)} of {len(load.rounds)} rounds count, {needed} are needed"
        return "invalid", [few, *last_of_kind.values()]
    rates = load.rates(load.counting)
    least, most = min(rates), max(rates)
    spread = (most - least) / float(np.median(rates))
    if not load.planned.share and spread > _STABLE:
        return "invalid", [f"unstable: {least:.0f} to {most:.0f} texts/s from round to round, {spread:.0%} of the median"]
    return "ok", []


def _round(measured: LoadRound, why: list[str]) -> Round:
    result = measured.result
    answered = result.latencies.size
    p50, p95, p99 = np.percentile(result.latencies, statistics.PERCENTILES).tolist() if answered else [None] * 3
    return Round(
        throughput=None if result.failure else result.throughput,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        requests=answered + result.errors,
        errors=result.errors,
        others_share=measured.others_share,
        steal_share=measured.steal_share,
        mhz=measured.mhz,
        tries=measured.tries,
        why=tuple(why),
    )


def _latency_breakdown(rounds: list[LoadRound]) -> LatencyBreakdown | None:
    counted = [measured.counted for measured in rounds if measured.counted]
    if not counted:
        return None
    requests = [measured.result.latencies.size for measured in rounds]
    client_ms = float(np.average([measured.result.client_ms for measured in rounds], weights=requests))
    latency_ms = float(np.concatenate([measured.result.latencies for measured in rounds]).mean())
    return latency_breakdown.mean(counted, latency_ms, client_ms)


def _mean_gpu(uses: list[GpuUse]) -> GpuUse | None:
    if not uses:
        return None
    columns = zip(*((use.utilisation, use.memory_mib, use.watts) for use in uses), strict=True)
    known = ([value for value in column if value is not None] for column in columns)
    return GpuUse(*(float(np.mean(values)) if values else None for values in known))


def compare_loads(loads: Sequence[LoadRounds]) -> list[Comparison]:
    """Compare loads in each of FIGURES.

    text_classifier is compared with the same load on the other subjects, other variants with it
    on the baselines, and each way in with gRPC over the network. Open loops are not compared:
    their rates are shares of different capacities.
    """
    by_id = {load.planned.id: load for load in loads}
    kinds = {load.planned.subject: load.planned.kind for load in loads}
    ours = [subject for subject, kind in kinds.items() if kind == "text" and subject not in BASELINES]
    comparisons: list[Comparison] = []
    for load in loads:
        plan = load.planned
        if plan.share:
            continue
        against = ours if plan.subject in BASELINES else [TEXT_MODEL] if plan.subject != TEXT_MODEL else []
        for first in _others(by_id, [replace(plan, subject=subject) for subject in against]):
            comparisons += compare(first, load)
        if (plan.protocol, plan.transport) != ("grpc", "network"):
            for second in _others(by_id, [replace(plan, protocol="grpc", transport="network")]):
                comparisons += compare(load, second)
    return comparisons


def _others(by_id: dict[str, LoadRounds], plans: list[Planned]) -> Iterator[LoadRounds]:
    return (by_id[plan.id] for plan in plans if plan.id in by_id)


def compare(a: LoadRounds, b: LoadRounds) -> list[Comparison]:
    """Compare a with b in the rounds that count of both, in each of FIGURES."""
    both = sorted({*a.counting} & {*b.counting})
    if why := _not_comparable(a, b, both):
        return [_invalid(a, b, measure, why) for measure in FIGURES]
    ratio = statistics.throughput_ratio(a.rates(both), b.rates(both))
    comparisons = [_compared(a, b, "throughput", ratio)]
    fewest = min(sum(latencies.size for latencies in load.latencies(both)) for load in (a, b))
    for percentile, ratio in statistics.percentile_ratios(a.latencies(both), b.latencies(both)).items():
        needed, measure = statistics.needed(percentile), f"p{percentile}_ms"
        too_few = f"p{percentile} needs {needed} requests, there are {fewest}"
        comparisons.append(_invalid(a, b, measure, too_few) if fewest < needed else _compared(a, b, measure, ratio))
    return comparisons


def _compared(a: LoadRounds, b: LoadRounds, measure: str, ratio: Figure) -> Comparison:
    verdict, why = statistics.verdict(ratio.value, ratio.interval, more_is_faster=measure == "throughput")
    return Comparison(a.planned.id, b.planned.id, measure, ratio.value, ratio.interval, verdict, why)


def _invalid(a: LoadRounds, b: LoadRounds, measure: str, why: str) -> Comparison:
    return Comparison(a.planned.id, b.planned.id, measure, None, None, "invalid run", why)


def _not_comparable(a: LoadRounds, b: LoadRounds, both: list[int]) -> str:
    for load in (a, b):
        status, why = judge(load)
        if status != "ok":
            return f"{load.planned.id} {'FAILED' if status == 'FAILED' else 'is invalid'}: {'; '.join(why)}"
    return f"{len(both)} rounds count of both, {_VERDICT_ROUNDS} are needed" if len(both) < _VERDICT_ROUNDS else ""


def choose_row(
    rows: Sequence[Row],
    subjects: Mapping[str, MeasuredModel],
    losses: Mapping[str, float],
    p99_ms: float,
    price_per_hour: float | None,
    currency: str,
) -> Choice:
    """Return the offers of a benchmark and the one to take.

    `losses`: subject → upper bound of the accuracy it loses. A row holds the SLO when even the
    upper end of its p99 does. Every row is of the same machine, so the one of highest throughput
    is the cheapest. Baselines are offers, but are not chosen: nothing publishes them.
    """
    every = [_offer(row, subjects[row.subject], losses, p99_ms, price_per_hour) for row in rows]
    offers = [offer for offer in every if offer]
    offers = [replace(offer, on_front=_on_front(offer, offers)) for offer in offers]
    holding = [offer for offer in offers if offer.holds and not subjects[offer.subject].baseline]
    best = max(holding, key=lambda offer: offer.texts_per_second, default=None)
    reason = _reason(best, offers, p99_ms, currency)
    return Choice(p99_ms, price_per_hour, currency, tuple(offers), best.row if best else None, reason)


def _offer(row: Row, subject: MeasuredModel, losses: Mapping[str, float], slo: float, price: float | None) -> Offer | None:
    """Return the row as an offer; None unless it is ok, on texts of their own lengths."""
    if row.status != "ok" or row.lengths != "own" or subject.kind != "text" or not row.throughput:
        return None
    if row.load == "poisson" and not (row.offered_share and row.offered_share <= 1):
        return None  # its queue grows: its latencies depend on how long it was measured
    if not (row.p99_ms and row.p99_ms.enough):
        return None
    rate, highest = row.throughput.value, row.p99_ms.interval[1]
    return Offer(
        row=row.id,
        subject=row.subject,
        texts_per_second=rate,
        p99_ms=highest,
        holds=highest <= slo,
        cost_per_million=price / 3600 / rate * 1e6 if price is not None else None,
        accuracy_loss_bound=losses.get(row.subject),
        on_front=False,
    )


def _on_front(offer: Offer, offers: Sequence[Offer]) -> bool:
    """Return whether no other offer is as good in accuracy and speed, and better in one."""
    if offer.accuracy_loss_bound is None:
        return False
    own = (offer.texts_per_second, -offer.accuracy_loss_bound)
    others = [(other.texts_per_second, -other.accuracy_loss_bound) for other in offers if other.accuracy_loss_bound is not None]
    return not any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in others)


def _reason(best: Offer | None, offers: Sequence[Offer], p99_ms: float, currency: str) -> str:
    if best is None:
        least = min((offer.p99_ms for offer in offers), default=None)
        lowest = f"the lowest is {least:.0f} ms" if least is not None else "nothing was measured well enough to say"
        return f"nothing that is served holds a p99 of {p99_ms:g} ms; {lowest}"
    cost = f", {best.cost_per_million:.2f} {currency} a million texts" if best.cost_per_million is not None else ""
    figures = f"{best.texts_per_second:.0f}, with a p99 below {best.p99_ms:.0f} ms"
    return f"the most texts a second whose p99 is {p99_ms:g} ms at most: {figures}{cost}"
