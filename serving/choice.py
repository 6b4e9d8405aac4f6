"""The choice among a benchmark's rows: the cheapest that holds an SLO, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from serving.benchmark_record import Choice, MeasuredModel, Offer, Row


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
    """Return whether no other offer loses less accuracy and answers more texts a second."""
    return offer.accuracy_loss_bound is not None and not any(_dominates(other, offer) for other in offers)


def _dominates(a: Offer, b: Offer) -> bool:
    if a.accuracy_loss_bound is None or b.accuracy_loss_bound is None:
        return False
    speeds, losses = (a.texts_per_second, b.texts_per_second), (a.accuracy_loss_bound, b.accuracy_loss_bound)
    return speeds[0] >= speeds[1] and losses[0] <= losses[1] and (speeds[0] != speeds[1] or losses[0] != losses[1])


def _reason(best: Offer | None, offers: Sequence[Offer], p99_ms: float, currency: str) -> str:
    if best is None:
        least = min((offer.p99_ms for offer in offers), default=None)
        lowest = f"the lowest is {least:.0f} ms" if least is not None else "nothing was measured well enough to say"
        return f"nothing that is published holds a p99 of {p99_ms:g} ms; {lowest}"
    cost = f", {best.cost_per_million:.2f} {currency} a million texts" if best.cost_per_million is not None else ""
    figures = f"{best.texts_per_second:.0f}, with a p99 below {best.p99_ms:.0f} ms"
    return f"the most texts a second whose p99 is {p99_ms:g} ms at most: {figures}{cost}"
