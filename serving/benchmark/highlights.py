"""What a page shows first of a benchmark's record: its best rows, its main comparisons."""

from __future__ import annotations

from collections import Counter

from serving.benchmark.record import BenchmarkRecord, Comparison, Row
from serving.repository import engines
from slipway.statistics import Figure


def best_row(record: BenchmarkRecord) -> Row | None:
    """Return the published model's fastest closed loop, an invalid one only if all are."""
    rows = [row for row in measured_rows(record, "closed") if row.subject == record.model]
    valid = [row for row in rows if row.status == "ok"]
    return max(valid or rows, key=throughput_of, default=None)


def best_single_client(record: BenchmarkRecord) -> Row | None:
    """Return the published model's valid row of one client, by the protocol with the lower p99."""
    rows = [row for row in measured_rows(record, "closed") if (row.subject, row.concurrency) == (record.model, 1)]
    valid = [row for row in rows if row.status == "ok"]
    return min(valid, key=lambda row: figure_of(row, "p99_ms").value, default=None)


def main_comparisons(record: BenchmarkRecord) -> list[Comparison]:
    """Return the comparisons of models over gRPC and of ways to the published model, in one load.

    The load has texts of their own lengths if any has. Of these it is the one that most comparisons
    share, and of several the one with the most clients.
    """
    rows = record.by_id

    def load_of(comparison: Comparison) -> tuple[bool, int]:
        return rows[comparison.a].lengths == "own", rows[comparison.a].concurrency or 0

    loads = Counter(map(load_of, record.comparisons))
    shared = max(loads, key=lambda load: (load[0], loads[load], load[1]), default=None)

    def is_main(comparison: Comparison) -> bool:
        a, b = rows[comparison.a], rows[comparison.b]
        over_grpc = (a.protocol, a.transport) == ("grpc", "network")
        return load_of(comparison) == shared and (over_grpc or a.subject == b.subject == record.model)

    return [comparison for comparison in record.comparisons if is_main(comparison)]


def ranked_comparisons(record: BenchmarkRecord) -> list[Comparison]:
    """Return all comparisons, the main ones first; among each those with baselines."""
    rows = record.by_id
    pairs = {(comparison.a, comparison.b) for comparison in main_comparisons(record)}

    def rank(comparison: Comparison) -> tuple[bool, bool, bool]:
        a, b = rows[comparison.a].subject, rows[comparison.b].subject
        return (comparison.a, comparison.b) not in pairs, a != record.model, not record.subjects[b].baseline

    return sorted(record.comparisons, key=rank)


def measured_rows(record: BenchmarkRecord, load: str) -> list[Row]:
    """Return rows with figures of a load (closed, poisson), on texts of their own lengths."""
    return [row for row in record.rows if row.throughput and (row.load, row.lengths) == (load, "own")]


def figure_of(row: Row, measure: str) -> Figure:
    """Return one of FIGURES of a row that has figures."""
    figure: Figure = getattr(row, measure)
    return figure


def throughput_of(row: Row) -> float:
    """Return the texts/s of a row that has figures."""
    return figure_of(row, "throughput").value


def of_engine(record: BenchmarkRecord, row: Row) -> float | None:
    """Return throughput ÷ `engine_limit`, or None if the row has not both."""
    limit = engine_limit(record, row)
    return row.throughput.value / limit if limit and row.throughput else None


def engine_limit(record: BenchmarkRecord, row: Row) -> float | None:
    """Return what the row's engine does alone in texts/s, if it ran alone on the same texts."""
    subject = record.subjects[row.subject]
    alike = (subject.provider, row.lengths, row.load) == (engines.PROVIDER, "own", "closed")
    return record.engine_limit.by_variant.get(subject.variant) if alike and subject.variant else None
