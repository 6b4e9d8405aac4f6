"""The rounds of each load → a row of the record; and how the rows compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving import busy_machine, intervals, stages
from serving.bench_journal import Journal, LoadRound
from serving.bench_plan import Planned
from serving.benchmark_record import FIGURES, Comparison, Figure, GpuUse, LatencyBreakdown, Round, Row
from serving.intervals import Floats
from serving.records import TEXT_MODEL
from serving.usual_models import BASELINES

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
    disturbed = busy_machine.disturbed([vars(measured) for measured in rounds])
    why = []
    for measured, reasons in zip(rounds, disturbed, strict=True):
        failure, errors = measured.result.failure, measured.result.errors
        failed = [failure] if failure else []
        unanswered = [f"{errors} requests without an answer"] if errors else []
        why.append([*failed, *unanswered, *reasons])
    return LoadRounds(planned, rounds, why)


def capacity(loads: Sequence[LoadRounds], subject: str) -> float:
    """Return the highest throughput of the subject's closed loops on texts of their own lengths.

    A loop's throughput is the median of its rounds that count; 0 where there is none.
    """
    closed = [load for load in loads if (load.planned.subject, load.planned.lengths, load.planned.share) == (subject, "own", None)]
    return max((float(np.median(load.rates(load.counting))) for load in closed if load.counting), default=0.0)


def result_row(load: LoadRounds, subject_capacity: float) -> Row:
    """Return the load as a row of the record. `subject_capacity`: texts/s, 0 where it is unknown.

    Figures are over the rounds that count; of an invalid row over all that were answered.
    """
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
    p50, p95, p99 = intervals.percentiles(load.latencies(numbers)).values()
    return replace(
        row,
        sent=float(np.median([measured.result.sent for measured in used])) if row.rate else None,
        errors=sum(measured.result.errors for measured in load.rounds),
        stages=_latency_breakdown(used),
        padding_waste=stages.waste(counted),
        gpu=_mean_gpu([measured.gpu for measured in used if measured.gpu]),
        throughput=intervals.throughput(load.rates(numbers)),
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
    p50, p95, p99 = np.percentile(result.latencies, intervals.PERCENTILES).tolist() if answered else [None] * 3
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
    return stages.mean(counted, latency_ms, client_ms)


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
    ratio = intervals.throughput_ratio(a.rates(both), b.rates(both))
    comparisons = [_compared(a, b, "throughput", ratio)]
    fewest = min(sum(latencies.size for latencies in load.latencies(both)) for load in (a, b))
    for percentile, ratio in intervals.percentile_ratios(a.latencies(both), b.latencies(both)).items():
        needed, measure = intervals.needed(percentile), f"p{percentile}_ms"
        too_few = f"p{percentile} needs {needed} requests, there are {fewest}"
        comparisons.append(_invalid(a, b, measure, too_few) if fewest < needed else _compared(a, b, measure, ratio))
    return comparisons


def _compared(a: LoadRounds, b: LoadRounds, measure: str, ratio: Figure) -> Comparison:
    verdict, why = intervals.verdict(ratio.value, ratio.interval, more_is_faster=measure == "throughput")
    return Comparison(a.planned.id, b.planned.id, measure, ratio.value, ratio.interval, verdict, why)


def _invalid(a: LoadRounds, b: LoadRounds, measure: str, why: str) -> Comparison:
    return Comparison(a.planned.id, b.planned.id, measure, None, None, "invalid run", why)


def _not_comparable(a: LoadRounds, b: LoadRounds, both: list[int]) -> str:
    for load in (a, b):
        status, why = judge(load)
        if status != "ok":
            return f"{load.planned.id} {'FAILED' if status == 'FAILED' else 'is invalid'}: {'; '.join(why)}"
    return f"{len(both)} rounds count of both, {_VERDICT_ROUNDS} are needed" if len(both) < _VERDICT_ROUNDS else ""
