"""What was measured of each load → a row of benchmark.json, and how the rows compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import busy_machine, intervals, stages
from serving.bench_journal import Journal
from serving.bench_plan import Planned
from serving.records import TEXT_MODEL
from serving.usual_models import WHAT

Found = dict[str, Any]  # one round of one load, as bench_rounds keeps it
_FEWEST = 3  # rounds that count for figures, or fewer where fewer were asked for
_FOR_A_VERDICT = 5  # of both: the interval of a median of three holds the truth in 75 % of cases, of five in 94 %
_STABLE = 0.35  # (most − least) ÷ median of the rounds' throughput, of a closed loop
MEASURES = ("throughput", *(f"p{one}_ms" for one in intervals.PERCENTILES))


@dataclass(frozen=True)
class Measured:
    """A load with all its rounds."""

    planned: Planned
    rounds: list[Found]
    why: list[list[str]]  # of each round, why it does not count

    @property
    def counts(self) -> list[int]:
        """The rounds that do."""
        return [number for number, why in enumerate(self.why) if not why]

    def latencies(self, numbers: Sequence[int]) -> list[intervals.Floats]:
        return [np.array(self.rounds[number]["latencies"]) for number in numbers]

    def rates(self, numbers: Sequence[int]) -> list[float]:
        return [self.rounds[number]["throughput"] for number in numbers]


def measured(planned: Planned, journal: Journal) -> Measured:
    rounds = journal.rounds("load", planned.id)
    failures = [[one["failure"]] if one["failure"] else [] for one in rounds]
    unanswered = [[f"{one['errors']} requests without an answer"] if one["errors"] else [] for one in rounds]
    reasons = zip(failures, unanswered, busy_machine.disturbed(rounds), strict=True)
    return Measured(planned, rounds, [[*failed, *errors, *busy] for failed, errors, busy in reasons])


def capacity(found: Sequence[Measured], subject: str) -> float:
    """The highest throughput of the subject's closed loops on texts of their own lengths, medians of the rounds; 0 without any."""
    loops = [one for one in found if (one.planned.subject, one.planned.lengths, one.planned.share) == (subject, "own", None)]
    return max((float(np.median(one.rates(one.counts))) for one in loops if one.counts), default=0.0)


def row(one: Measured, subject_capacity: float) -> dict[str, Any]:
    status, why = judged(one)
    answered = [number for number, found in enumerate(one.rounds) if not found["failure"]]
    used, known = one.counts if status == "ok" else answered, status != "FAILED"
    rate = next((found["rate"] for found in one.rounds if found["rate"]), None)
    failed = next((found for found in one.rounds if found["failure"]), one.rounds[0])
    return {
        "id": one.planned.id,
        "subject": one.planned.subject,
        "protocol": one.planned.protocol,
        "transport": one.planned.transport,
        "lengths": one.planned.lengths,
        "load": "poisson" if one.planned.share else "closed",
        "concurrency": one.planned.concurrency,
        "rate": rate,
        "sent": float(np.median([one.rounds[number]["sent"] for number in used])) if rate and known else None,
        "offered_share": rate / subject_capacity if rate and subject_capacity else None,
        "status": status,
        "why": why,
        "command": failed["command"],
        "exit_status": failed["exit_status"],
        "requests": sum(len(found["latencies"]) + found["errors"] for found in one.rounds),
        "errors": sum(found["errors"] for found in one.rounds) if known else None,
        "rejected": sum(found["rejected"] for found in one.rounds),
        "rounds": [_round(found, why) for found, why in zip(one.rounds, one.why, strict=True)],
        **({"throughput": intervals.throughput(one.rates(used)), **intervals.percentiles(one.latencies(used))} if known else {}),
        **_spent(one, used if known else []),
    }


def judged(one: Measured) -> tuple[str, list[str]]:
    """ok, FAILED or invalid, and why."""
    if failures := [found["failure"] for found in one.rounds if found["failure"]]:
        return "FAILED", list(dict.fromkeys(failures))
    if errors := sum(found["errors"] for found in one.rounds):
        return "invalid", [f"{errors} requests without an answer"]
    needed = min(_FEWEST, len(one.rounds))
    if len(one.counts) < needed:
        kinds = {reason.partition(":")[0]: reason for why in one.why for reason in why}  # of each the last
        return "invalid", [f"{len(one.counts)} of {len(one.rounds)} rounds count, {needed} are needed", *kinds.values()]
    rates = one.rates(one.counts)
    spread = (max(rates) - min(rates)) / float(np.median(rates))
    if not one.planned.share and spread > _STABLE:
        return "invalid", [
            f"unstable: {min(rates):.0f} to {max(rates):.0f} texts/s from round to round, {spread:.0%} of the median"
        ]
    return "ok", []


def _round(found: Found, why: list[str]) -> dict[str, Any]:
    latencies = np.array(found["latencies"])
    percentiles = np.percentile(latencies, intervals.PERCENTILES) if latencies.size else [None] * len(intervals.PERCENTILES)
    return {
        "throughput": found["throughput"],
        **{f"p{name}_ms": value for name, value in zip(intervals.PERCENTILES, percentiles, strict=True)},
        "requests": len(found["latencies"]) + found["errors"],
        "errors": found["errors"],
        **{name: found[name] for name in ("others_share", "steal_share", "mhz", "tries")},
        "why": why,
    }


def _spent(one: Measured, used: list[int]) -> dict[str, Any]:
    """Where the time of these rounds went, and the energy."""
    told = [one.rounds[number] for number in used if one.rounds[number]["counted"]]
    counted = [found["counted"] for found in told]
    requests = sum(part["requests"] for part in counted)
    joules = [one.rounds[number]["joules"] for number in used]
    gpus = [one.rounds[number]["gpu"] for number in used if one.rounds[number]["gpu"]]
    return {
        "stages": stages.mean(counted, float(np.concatenate(one.latencies(used)).mean()), _client_ms(told)) if told else None,
        "padding_waste": stages.waste(counted) if counted else None,
        "joules_per_request": sum(joules) / requests if requests and None not in joules else None,
        "gpu": {name: _mean([part[name] for part in gpus]) for name in gpus[0]} if gpus else None,
    }


def _client_ms(rounds: list[Found]) -> float:
    """Of one request."""
    return float(np.average([one["client_ms"] for one in rounds], weights=[len(one["latencies"]) for one in rounds]))


def _mean(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known else None


def comparisons(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """text_classifier's loads against the other subjects' same loads, other variants' against the baselines', and each way in
    against gRPC over the network."""
    by_id = {one.planned.id: one for one in found}
    texts = dict.fromkeys(one.planned.subject for one in found if one.planned.kind == "text" and one.planned.subject not in WHAT)
    made = []
    for one in found:
        plan = one.planned
        if plan.share:  # of another capacity: another load
            continue
        asked = texts if plan.subject in WHAT else [TEXT_MODEL] if plan.subject != TEXT_MODEL else []
        others = [plan_as(plan, subject=name) for name in asked]
        others += (
            [plan_as(plan, protocol="grpc", transport="network")] if (plan.protocol, plan.transport) != ("grpc", "network") else []
        )
        for other in (by_id[name] for name in others if name in by_id):
            a, b = (other, one) if plan.subject != other.planned.subject else (one, other)
            made += compared(a, b)
    return made


def plan_as(plan: Planned, **other: Any) -> str:
    """The id of the same load on another subject, or in another way."""
    return Planned(**{**vars(plan), **other}).id


def compared(a: Measured, b: Measured) -> list[dict[str, Any]]:
    """a against b in the rounds that count of both, in each of MEASURES."""
    both = sorted({*a.counts} & {*b.counts})
    if why := _not_comparable(a, b, both):
        return [_invalid(a, b, measure, why) for measure in MEASURES]
    percentiles = intervals.percentile_ratios(a.latencies(both), b.latencies(both))
    found = [_said(a, b, "throughput", intervals.throughput_ratio(a.rates(both), b.rates(both)))]
    fewest = min(sum(len(part) for part in one.latencies(both)) for one in (a, b))
    for percentile, ratio in percentiles.items():
        needed, measure = intervals.needed(percentile), f"p{percentile}_ms"
        too_few = f"p{percentile} needs {needed} requests, there are {fewest}"
        found.append(_invalid(a, b, measure, too_few) if fewest < needed else _said(a, b, measure, ratio))
    return found


def _said(a: Measured, b: Measured, measure: str, ratio: dict[str, Any]) -> dict[str, Any]:
    verdict, why = intervals.verdict(ratio["value"], ratio["interval"], more_is_faster=measure == "throughput")
    return _comparison(a, b, measure, ratio["value"], ratio["interval"], verdict, why)


def _invalid(a: Measured, b: Measured, measure: str, why: str) -> dict[str, Any]:
    return _comparison(a, b, measure, None, None, "invalid run", why)


def _comparison(a: Measured, b: Measured, measure: str, ratio: Any, interval: Any, verdict: str, why: str) -> dict[str, Any]:
    names = {"a": a.planned.id, "b": b.planned.id, "measure": measure}
    return {**names, "ratio": ratio, "interval": interval, "verdict": verdict, "why": why}


def _not_comparable(a: Measured, b: Measured, both: list[int]) -> str:
    for one in (a, b):
        status, why = judged(one)
        if status != "ok":
            return f"{one.planned.id} {'FAILED' if status == 'FAILED' else 'is invalid'}: {'; '.join(why)}"
    return f"{len(both)} rounds count of both, {_FOR_A_VERDICT} are needed" if len(both) < _FOR_A_VERDICT else ""
