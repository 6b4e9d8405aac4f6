"""What the pages say about a benchmark, out of its record. Nothing is judged here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.benchmark.highlights import best_row, best_single_client, figure_of, of_engine, ranked_comparisons, throughput_of
from serving.benchmark.record import BenchmarkRecord, Comparison, Offer, Row
from slipway.statistics import Figure, Percentile

_TRANSPORTS = {
    "network": "{}",
    "system_shared_memory": "{}, shared memory",
    "cuda_shared_memory": "{}, CUDA shared memory",
}
_PROTOCOLS = {"http": "HTTP", "grpc": "gRPC"}
_MEASURES = {
    "throughput": "the throughput",
    "p50_ms": "the median latency",
    "p95_ms": "the p95 latency",
    "p99_ms": "the p99 latency",
}
_CLASSES = {"faster": "good", "slower": "bad", "no difference": "soft", "invalid run": "wait"}
_NAMED_REASONS = 2
_NUMBERS = re.compile(r"[\d.,]+")
_CLAUSES = {
    "faster": "{ratio:.1f} × what {baseline} does",
    "slower": "only {ratio:.2f} × what {baseline} does",
    "no difference": "no difference from {baseline} can be shown",
    "invalid run": "the comparison with {baseline} does not count",
}
_INTERVALS = {"faster": "{low:.1f} to {high:.1f} ×", "slower": "{low:.2f} to {high:.2f} ×"}


class VerdictText(NamedTuple):
    """A sentence at the head of a page, the CSS class that colours it, and what else is to know."""

    text: str
    css: str  # good, bad, soft, wait
    more: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonText:
    """Two rows that were compared, as a list item."""

    verdict: str
    css: str
    text: str
    other_measures: str
    why: str  # it does not count; "": it does

    @property
    def counts(self) -> bool:
        return not self.why


def transport_text(row: Row) -> str:
    return _TRANSPORTS[row.transport].format(_PROTOCOLS[row.protocol])


def load_text(row: Row) -> str:
    """Return how many clients or texts there are, and how long the texts are if that was set."""
    if row.load == "poisson":
        rate = "at random" if row.rate is None else f"{row.rate:.0f} texts/s at random"
        load = rate if row.offered_share is None else f"{percent(row.offered_share, 0)} of capacity at random"
    else:
        load = "1 client" if row.concurrency == 1 else f"{row.concurrency} clients"
    return load if row.lengths == "own" else f"{load}, {row.lengths} tokens each"


def row_name(row: Row) -> str:
    return ", ".join(_name_parts(row))


def _name_parts(row: Row) -> tuple[str, str, str]:
    return row.subject, load_text(row), transport_text(row)


def percent(share: float, digits: int = 1) -> str:
    """Return a share as `12.3 %`, whose space does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def three_digits(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def figure_text(figure: Figure) -> str:
    """Return a value with its interval, `12.3 (11.9–12.8)`, and whether requests were too few."""
    low, high = figure.interval
    text = f"{three_digits(figure.value)} ({three_digits(low)}–{three_digits(high)})"
    if isinstance(figure, Percentile) and not figure.enough:
        return f"{text}, of fewer than {figure.needs} requests"
    return text


def comparison_texts(record: BenchmarkRecord) -> list[ComparisonText]:
    """Return each pair of rows that was compared, in the order of `ranked_comparisons`."""
    rows = record.by_id
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in ranked_comparisons(record):
        pairs.setdefault((comparison.a, comparison.b), []).append(comparison)
    texts = []
    for (a, b), (first, *others) in pairs.items():
        more = "; ".join(_measure_text(other) for other in others if other.why != first.why or other.interval)
        why = first.why if first.interval is None else ""
        texts.append(ComparisonText(first.verdict, _CLASSES[first.verdict], _sentence(first, rows[a], rows[b]), more, why))
    return texts


def uncounted_sentence(comparisons: Sequence[ComparisonText]) -> str:
    """Return how many did not count, and the causes that most of them have; "" if all count."""
    causes = [_cause(comparison.why) for comparison in comparisons if comparison.why]
    if not causes:
        return ""
    alike = {_NUMBERS.sub("", cause): cause for cause in reversed(causes)}  # one of each kind, the first
    most = Counter(_NUMBERS.sub("", cause) for cause in causes).most_common(_NAMED_REASONS)
    more = ["other reasons"] if len(alike) > _NAMED_REASONS else []
    return (
        f"{len(causes)} of {len(comparisons)} comparisons did not count: {'; '.join([*(alike[kind] for kind, _ in most), *more])}"
    )


def _cause(why: str) -> str:
    """Return the last of several reasons, without the load that it is of."""
    return re.sub(r"^.* (is invalid|FAILED): ", "", why.rpartition("; ")[2]).removeprefix("busy: ")


def _measure_text(comparison: Comparison) -> str:
    measure = f"{_MEASURES[comparison.measure]}: {comparison.verdict}"
    if comparison.interval is None:
        return f"{measure}, {comparison.why}"
    low, high = comparison.interval
    return f"{measure}, {comparison.ratio:.2f} × ({low:.2f} to {high:.2f})"


def row_difference(a: Row, b: Row) -> tuple[str, str, str]:
    """Return what only `a` is, what only `b` is, and what both are, in words."""
    if a.id == b.id:
        return row_name(a), row_name(b), ""
    pairs = list(zip(_name_parts(a), _name_parts(b), strict=True))
    first, second = (", ".join(pair[side] for pair in pairs if pair[0] != pair[1]) for side in (0, 1))
    return first, second, ", ".join(pair[0] for pair in pairs if pair[0] == pair[1])


def _sentence(comparison: Comparison, a: Row, b: Row) -> str:
    first, second, shared = row_difference(a, b)
    where = f" ({shared})" if shared else ""
    if comparison.interval is None:
        return f"{first} against {second}{where}: no result, {comparison.why}"
    low, high = comparison.interval
    ratio = f"{comparison.ratio:.2f} × {_MEASURES[comparison.measure]}, 95 %: {low:.2f} to {high:.2f}"
    if comparison.verdict == "no difference":
        return f"no difference between {first} and {second} can be shown: {ratio}{where}"
    return f"{first} is {comparison.verdict} than {second}: {ratio}{where}"


def speed_verdict(record: BenchmarkRecord) -> VerdictText:
    """Return how the published model's throughput compares with the baselines'."""
    top = best_row(record)
    if top is None:
        why = next((row.why[0] for row in record.rows if row.why), "there is no row of the published model")
        return VerdictText(f"Nothing could be measured: {why}.", "bad")
    if top.status != "ok":
        return VerdictText(
            "How fast it answers was measured, but what was measured does not count.", "wait", f"{'; '.join(top.why)}."
        )
    against = _against_baselines(record)
    row = headline_row(record, top)
    answers, load = f"It answers {throughput_of(row):.0f} texts a second", f"{load_text(row)}, {transport_text(row)}"
    if not against:
        return VerdictText(f"{answers}; it was not compared with a baseline.", "soft", f"With {load}.")
    classes = {_CLASSES[comparison.verdict] for comparison in against.values()}
    valid_first = sorted(against.items(), key=lambda pair: pair[1].interval is None)
    clauses = "; ".join(
        _CLAUSES[compared.verdict].format(ratio=compared.ratio, baseline=baseline) for baseline, compared in valid_first
    )
    intervals = " and ".join(filter(None, (_interval(compared) for _, compared in valid_first)))
    css = next(css for css in ("bad", "wait", "soft", "good") if css in classes)
    return VerdictText(f"{answers}: {clauses}.", css, f"With {load}{'; 95 %: ' if intervals else ''}{intervals}.")


def _interval(comparison: Comparison) -> str:
    low, high = comparison.interval or (0.0, 0.0)
    return _INTERVALS.get(comparison.verdict, "").format(low=low, high=high)


def headline_row(record: BenchmarkRecord, top: Row) -> Row:
    """Return the published model's row at the head of the page: the one that was compared with the
    baselines, or `top`, its best, if that is not ok.
    """
    against = _against_baselines(record)
    compared = record.by_id[list(against.values())[-1].a] if against else top
    return compared if compared.status == "ok" else top


def _against_baselines(record: BenchmarkRecord) -> dict[str, Comparison]:
    """Return each baseline's throughput comparison with the published model, of most clients."""
    rows = record.by_id
    against = {}
    for comparison in sorted(record.comparisons, key=lambda comparison: rows[comparison.a].concurrency or 0):
        row, other = rows[comparison.a], rows[comparison.b].subject
        published = (row.subject, row.lengths, comparison.measure) == (record.model, "own", "throughput")
        if published and record.subjects[other].baseline:
            against[other] = comparison
    return against


def speed_tiles(record: BenchmarkRecord, nouns: str) -> list[tuple[str, str]]:
    """Return (number, what it is) of efficiency, latency and cost of `nouns`, what is answered; the
    throughput is in `speed_verdict`.
    """
    tiles = []
    top = best_row(record)
    if top and top.status == "ok" and (share := of_engine(record, headline_row(record, top))):
        tiles.append((percent(share, 0), f"of the {nouns} a second that its engine does without a server"))
    if single := best_single_client(record):
        p99 = figure_of(single, "p99_ms")
        low, high = p99.interval
        words = f"are enough for 99 of 100 answers ({low:.1f}–{high:.1f}), one client, {transport_text(single)}"
        tiles.append((f"{p99.value:.1f} ms", words))
    choice = record.choice
    for offer in choice.rows:
        if offer.row == choice.chosen and offer.cost_per_million is not None:
            words = f"a million {nouns}, p99 within {choice.p99_ms:g} ms"
            tiles.append((f"{offer.cost_per_million:.2f} {choice.currency}", words))
    return tiles


def machine_state(record: BenchmarkRecord) -> str:
    """Return the worst disturbance of any round, how many were repeated, and the clocks."""
    rounds = [round_ for row in record.rows for round_ in row.rounds]
    if not rounds:
        return ""
    others, steal = max(round_.others_share for round_ in rounds), max(round_.steal_share for round_ in rounds)
    text = f"other processes used up to {percent(others)} of the cores, the hypervisor took up to {percent(steal)}"
    if again := sum(round_.tries > 1 for round_ in rounds):
        text += f", {again} of {len(rounds)} measurements were repeated because of that"
    clocks = [round_.mhz for round_ in rounds if round_.mhz]
    if not clocks:
        return text
    low, high = f"{min(clocks):.0f}", f"{max(clocks):.0f}"
    return f"{text}, clocks {low if low == high else f'{low} to {high}'} MHz"


def padding_by_model(record: BenchmarkRecord) -> list[tuple[str, float]]:
    """Return (subject, padding ÷ all tokens computed): the mean over its rows that tell it."""
    shares: dict[str, list[float]] = {}
    for row in record.rows:
        if row.padding_waste is not None and row.lengths == "own":
            shares.setdefault(row.subject, []).append(row.padding_waste)
    return [(subject, sum(wastes) / len(wastes)) for subject, wastes in shares.items()]


def offers(record: BenchmarkRecord) -> list[tuple[str, Offer]]:
    """Return (name, offer): those that hold the SLO by their texts/s, then the others by p99."""
    rows = record.by_id

    def rank(offer: Offer) -> tuple[bool, float]:
        return not offer.holds, -offer.texts_per_second if offer.holds else offer.p99_ms

    return [(row_name(rows[offer.row]), offer) for offer in sorted(record.choice.rows, key=rank)]


def best_offers(record: BenchmarkRecord) -> list[tuple[str, Offer]]:
    """Return the first of `offers` of each model."""
    by_subject: dict[str, tuple[str, Offer]] = {}
    for name, offer in offers(record):
        by_subject.setdefault(offer.subject, (name, offer))
    return list(by_subject.values())
