"""The record of benchmarks.peers.measure, and its table."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import harness
from benchmarks.harness import Signed, Table
from serving.benchmark.record import Comparison


@dataclass(frozen=True)
class PeerComparison(Comparison):
    """Ours ("a") ÷ a peer ("b") under one load; `measure` is texts_per_second or p99_ms."""

    concurrency: int
    rounds: int  # in which neither was disturbed


@dataclass(frozen=True)
class AnswerCheck:
    """A server's answers compared with the SavedModel's."""

    subject: str
    what: str
    variant: str
    rows: int
    flips: int
    flip_rate_bound: float
    logit_difference_max: float


@dataclass(frozen=True)
class LoadRow:
    """One server under one load: each start's rounds, disturbed ones too; percentiles over all."""

    subject: str
    concurrency: int
    texts_per_second: list[list[float]]
    others_share: list[list[float]]
    steal_share: list[list[float]]
    mhz: list[list[float | None]]
    disturbed: int  # rounds
    p50_ms: float
    p99_ms: float
    requests: int
    client_cpu_ms: float


@dataclass(frozen=True)
class PeersRecord(Signed):
    load_average_before: float  # of others: a quiet machine has 0
    concurrency: list[int]
    rounds: int
    seconds: float
    texts: int
    mean_tokens: float
    starts: int
    bundle_sha256: str
    answers: list[AnswerCheck]
    rows: list[LoadRow]
    comparisons: list[PeerComparison]
    skipped: dict[str, str]  # peer → why
    peer_versions: dict[str, str]


def table(record: PeersRecord) -> Table:
    loads = record.concurrency
    cells = {(pair.a, pair.b, pair.concurrency, pair.measure): harness.cell(pair) for pair in record.comparisons}
    columns = ("", "against", *(f"{load} in flight" for load in loads), f"p99 at {loads[-1]}")
    rows: list[tuple[str, ...]] = [
        (a, b, *(cells[a, b, load, "texts_per_second"] for load in loads), cells[a, b, loads[-1], "p99_ms"])
        for a, b in dict.fromkeys((pair.a, pair.b) for pair in record.comparisons)
    ]
    rows += [("", name, f"skipped: {why}") for name, why in record.skipped.items()]
    return Table("Slipway ÷ peer", columns, rows, _note(record))


def _note(record: PeersRecord) -> str:
    answers = "; ".join(f"{check.subject} {check.flips} of {check.rows}" for check in record.answers)
    what = "; ".join(f"{check.subject}: {check.what}" for check in record.answers)
    cpu = [row.client_cpu_ms for row in record.rows]
    why = ", ".join(harness.reasons(record.comparisons))
    invalid = f" Invalid: {why}; load average before it {record.load_average_before:.1f}." if why else ""
    versions = ", ".join(f"{name} {version}" for name, version in record.peer_versions.items())
    sentences = (
        "Texts/s, Slipway ÷ peer (95 %): above 1, Slipway is faster; of p99, below 1.",
        f"{record.starts} starts × {record.rounds} rounds, {record.texts} texts of {record.mean_tokens:.0f} tokens "
        f"on average.{invalid}",
        f"Labels changed: {answers}. {what}.",
        f"The client took {min(cpu):.1f} to {max(cpu):.1f} ms of CPU a text. {versions}.",
        record.signature,
    )
    return " ".join(sentences)
