"""Which of what was measured to take: the cheapest that holds an SLO, and what loses least accuracy for its speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def choice(
    rows: Sequence[dict[str, Any]],
    subjects: dict[str, dict[str, Any]],
    losses: dict[str, float],
    p99_ms: float,
    price_per_hour: float | None,
    currency: str,
) -> dict[str, Any]:
    """Of the rows that are ok, of texts with their own lengths. `losses`: subject → upper bound of the accuracy it loses.

    A row holds the SLO when even the upper end of its p99 does. Every row is of the same machine, so the cheapest text is that of
    the highest throughput; baselines are shown, but no choice: nothing publishes them.
    """
    usable = [one for one in rows if _usable(one, subjects)]
    offers = [_offer(one, losses, p99_ms, price_per_hour) for one in usable]
    front = _front(offers)
    offers = [{**one, "on_front": one["row"] in front} for one in offers]
    holding = [one for one in offers if one["holds"] and not subjects[one["subject"]]["baseline"]]
    best = max(holding, key=lambda one: one["texts_per_second"], default=None)
    return {
        "p99_ms": p99_ms,
        "price_per_hour": price_per_hour,
        "currency": currency,
        "rows": offers,
        "chosen": best["row"] if best else None,
        "reason": _reason(best, offers, p99_ms, currency),
    }


def _usable(row: dict[str, Any], subjects: dict[str, dict[str, Any]]) -> bool:
    if row["status"] != "ok" or row["lengths"] != "own" or subjects[row["subject"]]["kind"] != "text":
        return False
    if row["load"] == "poisson" and not (row["offered_share"] and row["offered_share"] <= 1):
        return False  # its queue grows: how long one waits depends on how long it was measured
    return bool(row["p99_ms"]["enough"])


def _offer(row: dict[str, Any], losses: dict[str, float], p99_ms: float, price: float | None) -> dict[str, Any]:
    rate, highest, joules = row["throughput"]["value"], row["p99_ms"]["interval"][1], row["joules_per_request"]
    return {
        "row": row["id"],
        "subject": row["subject"],
        "texts_per_second": rate,
        "p99_ms": highest,
        "holds": highest <= p99_ms,
        "cost_per_million": price / 3600 / rate * 1e6 if price is not None else None,
        "joules_per_million": joules * 1e6 if joules is not None else None,
        "accuracy_loss_bound": losses.get(row["subject"]),
    }


def _front(offers: Sequence[dict[str, Any]]) -> set[str]:
    """Rows than which none loses less accuracy and answers more texts a second; of each subject its fastest."""
    known = [one for one in offers if one["accuracy_loss_bound"] is not None]
    return {one["row"] for one in known if not any(_dominates(other, one) for other in known)}


def _dominates(a: dict[str, Any], b: dict[str, Any]) -> bool:
    pairs = (a["texts_per_second"], -a["accuracy_loss_bound"]), (b["texts_per_second"], -b["accuracy_loss_bound"])
    return all(mine >= other for mine, other in zip(*pairs, strict=True)) and pairs[0] != pairs[1]


def _reason(best: dict[str, Any] | None, offers: Sequence[dict[str, Any]], p99_ms: float, currency: str) -> str:
    if best is None:
        least = min((one["p99_ms"] for one in offers), default=None)
        lowest = f"the lowest is {least:.0f} ms" if least is not None else "nothing was measured well enough to say"
        return f"nothing that is published holds a p99 of {p99_ms:g} ms; {lowest}"
    cost = f", {best['cost_per_million']:.2f} {currency} a million texts" if best["cost_per_million"] is not None else ""
    rate, highest = f"{best['texts_per_second']:.0f}", f"{best['p99_ms']:.0f}"
    return f"the most texts a second whose p99 is {p99_ms:g} ms at most: {rate}, with a p99 below {highest} ms{cost}"
