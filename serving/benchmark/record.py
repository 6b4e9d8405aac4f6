"""The records of a benchmark, RUN/benchmark.json and RUN/endpoint_benchmark.json, as frozen
dataclasses.

Field names are the keys of docs/benchmark.schema.json (schema 2). A model's name is the exception:
in the file it is the key of its entry in `subjects`.

    record = BenchmarkRecord.from_json(json.loads((run / "benchmark.json").read_text("utf-8")))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serving.load.interference import Disturbance, GpuUse
from serving.load.latency_breakdown import LatencyBreakdown
from slipway.client.endpoint import Described
from slipway.contract.records import from_json
from slipway.statistics import Figure, Interval, Percentile

FIGURES = ("throughput", "p50_ms", "p95_ms", "p99_ms")  # what is compared; a row that FAILED has none


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """A model that is measured: a subject of the benchmark."""

    name: str
    kind: str  # text, ids
    variant: str | None  # None: a baseline, which is no variant of Slipway
    baseline: bool
    what: str  # a sentence for people
    provider: str = "CPUExecutionProvider"  # of ONNX Runtime


@dataclass(frozen=True, kw_only=True)
class Round(Disturbance):
    """One round of one load."""

    throughput: float | None  # answers/s; None: perf_analyzer failed
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    requests: int
    errors: int  # requests without an answer
    tries: int  # how often it was measured, since it failed or something disturbed it; 0: never
    why: tuple[str, ...]  # why this round does not count; empty: it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A load with its figures over all rounds that count."""

    id: str  # subject/protocol/transport/lengths/load
    subject: str
    protocol: str  # http, grpc
    transport: str  # network, system_shared_memory, cuda_shared_memory
    lengths: str | int  # "own": golden texts as they are; or tokens of every text
    load: str  # closed, poisson
    concurrency: int | None  # clients of a closed loop
    rate: float | None  # texts/s offered at random
    sent: float | None = None  # texts/s that perf_analyzer sent of them
    offered_share: float | None  # the rate ÷ the subject's capacity; None: a closed loop, or unknown
    status: str  # ok, FAILED, invalid
    why: tuple[str, ...]  # why it is not ok
    command: str
    exit_status: int | None  # of perf_analyzer, the first that is not 0; None: it was ended
    requests: int
    errors: int | None = None  # requests without an answer; None: perf_analyzer failed
    rejected: int  # errors for want of room
    stages: LatencyBreakdown | None = None  # None: the model does not tell
    padding_waste: float | None = None  # padding ÷ all tokens computed; None: the model does not tell
    gpu: GpuUse | None = None
    rounds: tuple[Round, ...] = ()
    throughput: Figure | None = None  # answers/s; this and the percentiles: None where status is FAILED
    p50_ms: Percentile | None = None
    p95_ms: Percentile | None = None
    p99_ms: Percentile | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row `a` against row `b` in one of FIGURES, over the rounds that count of both."""

    a: str  # a row's id
    b: str
    measure: str  # one of FIGURES
    ratio: float | None  # a ÷ b; None: invalid run
    interval: Interval | None
    verdict: str  # of a against b: faster, slower, no difference, invalid run
    why: str


@dataclass(frozen=True, slots=True)
class LengthPadding:
    """Padding of the golden texts of some lengths, as the engine alone ran them in full batches."""

    tokens: str  # from–to, for example 1–16
    texts: int
    waste: float  # padding ÷ all tokens computed for them


@dataclass(frozen=True, slots=True)
class Padding:
    """Padding of all golden texts, as the engine alone ran them in full batches."""

    waste: float
    by_length: tuple[LengthPadding, ...]


@dataclass(frozen=True, kw_only=True)
class EngineRound(Disturbance):
    """One round of an engine alone: without a server, in as many processes as the server has."""

    processes: int
    texts_per_second: float  # of all processes together
    texts: int  # that each process ran
    engine_seconds: float  # of the slowest process; so are the four below
    tokenizing_share: float  # of the time of tokenizing and engine
    padding_waste: float
    mean_tokens: float
    by_length: tuple[LengthPadding, ...]
    tries: int = 0


@dataclass(frozen=True, slots=True)
class EngineLimit:
    """Speeds of the engines alone, medians of the rounds that nothing disturbed."""

    texts_per_second: float  # of the variant behind text_classifier
    rounds: tuple[EngineRound, ...]  # of that variant
    by_variant: dict[str, float]  # texts/s


@dataclass(frozen=True, slots=True)
class Offer:
    """A row as a candidate for serving."""

    row: str  # its id
    subject: str
    texts_per_second: float
    p99_ms: float  # upper end of its interval
    holds: bool  # the SLO
    cost_per_million: float | None  # texts, in the choice's currency; None: no price was given
    accuracy_loss_bound: float | None  # against the SavedModel, 95 %; None: nobody has compared it
    on_front: bool  # no other offer loses less accuracy and answers more texts/s


@dataclass(frozen=True, slots=True)
class Choice:
    """The offer to take under an SLO."""

    p99_ms: float  # the SLO
    price_per_hour: float | None
    currency: str
    rows: tuple[Offer, ...]
    chosen: str | None  # id of a row
    reason: str


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """Everything that one benchmark measured, and how."""

    schema: int
    setting: str  # quick, full, own
    rounds: int
    texts: int  # golden texts sent in turn
    window_ms: int  # of perf_analyzer, the shortest
    bundle_sha256: str
    repository_sha256: str
    model: str  # text_classifier
    variant: str  # behind text_classifier
    subjects: dict[str, MeasuredModel]  # by name
    skipped: dict[str, str]  # subject or transport that was not measured → why
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    engine_limit: EngineLimit
    padding: Padding
    choice: Choice
    seconds: float
    harness_share: float  # of the seconds: neither perf_analyzer, the engine alone, nor a server's start or end
    resumed_loads: int  # measured by an earlier command that did not end
    command: str
    versions: dict[str, str]
    machine: dict[str, Any]  # slipway.provenance.machine
    commit: str
    made_at: str = ""  # when it ended, UTC in ISO 8601; "": written by an earlier version

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BenchmarkRecord:
        """Return the record in a benchmark.json. Raises KeyError or TypeError."""
        subjects = {name: {"name": name, **facts} for name, facts in data["subjects"].items()}
        return from_json(cls, {**data, "subjects": subjects})

    def to_json(self) -> dict[str, Any]:
        """Return what benchmark.json holds."""
        data = asdict(self)
        for facts in data["subjects"].values():
            del facts["name"]
        _drop_missing_figures(data["rows"])
        return data

    @property
    def by_id(self) -> dict[str, Row]:
        """The rows by their ids."""
        return {row.id: row for row in self.rows}


@dataclass(frozen=True, kw_only=True)
class MeasuredAddress(Described):
    """A server that ran already, as it is reached and as it describes itself."""

    address: str
    tls: bool
    headers: tuple[str, ...]  # names of those that were sent
    on_this_machine: bool  # then what others took of the cores may be the server's work, and is not judged
    verified: bool  # RUN/endpoint.json says that this address answers as RUN's SavedModel
    why_not: str  # "": it does


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """What was measured, from this machine, of a server that ran already."""

    schema: int
    setting: str
    rounds: int
    texts: int
    window_ms: int
    bundle_sha256: str  # whose golden texts were sent
    model: str  # text_classifier
    addresses: tuple[MeasuredAddress, ...]
    rows: tuple[Row, ...]
    client_share: dict[str, float]  # row → share of this machine's cores that the client took, median round
    comparisons: tuple[Comparison, ...]
    choice: Choice
    seconds: float
    command: str
    versions: dict[str, str]
    machine: dict[str, Any]  # where the client ran: nothing is known of the server's
    commit: str
    made_at: str  # when it ended, UTC in ISO 8601

    def to_json(self) -> dict[str, Any]:
        """Return what endpoint_benchmark.json holds."""
        data = asdict(self)
        _drop_missing_figures(data["rows"])
        return data


def _drop_missing_figures(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name in FIGURES:
            if row[name] is None:
                del row[name]
