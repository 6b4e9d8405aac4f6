"""What the pages say about a benchmark, out of its record. Nothing is judged here."""

from __future__ import annotations

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
_CLAUSES = {
    "faster": "{ratio:.1f} × what {baseline} does (95 %: {low:.1f} to {high:.1f})",
    "slower": "only {ratio:.2f} × what {baseline} does (95 %: {low:.2f} to {high:.2f})",
    "no difference": "no difference from {baseline} can be shown",
    "invalid run": "against {baseline} the run was invalid",
}


class VerdictText(NamedTuple):
    """A sentence at the head of a page, and the CSS class that colours it."""

    text: str
    css: str  # good, bad, soft, wait


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
        load = rate if row.offered_share is None else f"{row.offered_share:.0%} of capacity at random"
    else:
        load = "1 client" if row.concurrency == 1 else f"{row.concurrency} clients"
    return load if row.lengths == "own" else f"{load}, {row.lengths} tokens each"


def row_name(row: Row) -> str:
    return ", ".join(_name_parts(row))


def _name_parts(row: Row) -> tuple[str, str, str]:
    return row.subject, load_text(row), transport_text(row)


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
    """Return how many did not count, and the reasons that most of them have; "" if all count."""
    reasons = Counter(comparison.why for comparison in comparisons if comparison.why)
    if not reasons:
        return ""
    named = [why for why, _ in reasons.most_common(_NAMED_REASONS)]
    more = ["other reasons"] if len(reasons) > _NAMED_REASONS else []
    return f"{reasons.total()} of {len(comparisons)} comparisons did not count, because: {'; '.join([*named, *more])}"


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
        return VerdictText(f"Its speed could not be measured, the run was invalid: {'; '.join(top.why)}.", "wait")
    against = _against_baselines(record)
    compared = record.by_id[list(against.values())[-1].a] if against else top
    row = compared if compared.status == "ok" else top
    answers = f"With {load_text(row)} over {transport_text(row)} it answers {throughput_of(row):.0f} texts a second"
    if not against:
        return VerdictText(f"{answers}; it was not compared with a baseline.", "soft")
    classes = {_CLASSES[comparison.verdict] for comparison in against.values()}
    clauses = ", ".join(_clause(baseline, comparison) for baseline, comparison in against.items())
    return VerdictText(f"{answers}: {clauses}.", next(css for css in ("bad", "wait", "soft", "good") if css in classes))


def _against_baselines(record: BenchmarkRecord) -> dict[str, Comparison]:
    """Return each baseline's throughput comparison with the published model, of most clients."""
    rows = record.by_id
    against = {}
    for comparison in sorted(record.comparisons, key=lambda comparison: rows[comparison.a].concurrency or 0):
        row, other = rows[comparison.a], record.subjects[rows[comparison.b].subject]
        published = (row.subject, row.lengths, comparison.measure) == (record.model, "own", "throughput")
        if published and other.baseline:
            against[other.name] = comparison
    return against


def _clause(baseline: str, comparison: Comparison) -> str:
    low, high = comparison.interval or (None, None)
    return _CLAUSES[comparison.verdict].format(ratio=comparison.ratio, baseline=baseline, low=low, high=high)


def speed_tiles(record: BenchmarkRecord, nouns: str) -> list[tuple[str, str]]:
    """Return (number, what it is) of throughput, latency and cost of `nouns`, what is answered."""
    tiles = []
    if top := best_row(record):
        low, high = figure_of(top, "throughput").interval
        words = f"{nouns} served ({low:.0f}–{high:.0f}), {load_text(top)} over {transport_text(top)}"
        tiles.append((f"{throughput_of(top):.0f}/s", words if top.status == "ok" else f"{words}; invalid run"))
        if top.status == "ok" and (share := of_engine(record, top)):
            tiles.append((f"{share:.0%}", "of what the same engine does without a server"))
    if single := best_single_client(record):
        p99 = figure_of(single, "p99_ms")
        low, high = p99.interval
        words = f"p99 latency ({low:.1f}–{high:.1f}) of one client over {transport_text(single)}"
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
    text = f"other processes used up to {others:.1%} of the cores, the hypervisor took up to {steal:.1%}"
    if again := sum(round_.tries > 1 for round_ in rounds):
        text += f", {again} of {len(rounds)} measurements were repeated because of that"
    clocks = [round_.mhz for round_ in rounds if round_.mhz]
    return f"{text}, clocks {min(clocks):.0f} to {max(clocks):.0f} MHz" if clocks else text


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
