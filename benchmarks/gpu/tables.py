"""The GPU's records, their targets, and their tables on the terminal and in a page.

Where there is no record, or only that of a trial on a CPU, the page's table says so and shows no
figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks import harness
from benchmarks.gpu.device import MatmulPeak
from benchmarks.gpu.measure import BatchOfOne, Cell, EngineRate, NewsCell, ShapeCell
from benchmarks.gpu.models import AS_THEY_COME, CAPTURED, COMPILED, PACKED, PADDED, PEER, EngineVerdict
from benchmarks.gpu.profile import GraphProfile
from benchmarks.harness import Signed, Table
from slipway.statistics import Ratio

SHARE_OF_PEAK = 0.6  # BERT-base, 128 tokens, FP16; NVIDIA's best padded figure on an A100
OVER_PADDED = 1.5  # on AG News' lengths as they come
OVER_FLOOR = 2.0  # MiniLM-L6, a batch of one
T = TypeVar("T")
_COMMANDS = {"engines": "python -m benchmarks.gpu.engines", "serving": "python -m benchmarks.gpu.serving --run runs/agnews"}


@dataclass(frozen=True)
class ModelRecord:
    model: str
    rows_compared: int
    parity: list[EngineVerdict]  # of variants, by the gate, and of CUDA graphs
    peers: list[EngineVerdict]
    shapes: list[ShapeCell]
    ag_news: dict[str, NewsCell]  # by the order of the texts
    profiles: list[GraphProfile]
    batch_of_one: BatchOfOne | None
    skipped: dict[str, str]  # what was not measured → why

    @property
    def verdicts(self) -> list[EngineVerdict]:
        return [*self.parity, *self.peers]

    @property
    def cells(self) -> list[Cell]:
        return [*self.shapes, *self.ag_news.values()]


@dataclass(frozen=True)
class GpuTarget:
    """A target of the GPU work (issue 7); None: not measured."""

    what: str
    found: float | None
    reached: bool | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.what}: not measured"
        return f"{self.what}: {self.found:.2f}, {'reached' if self.reached else 'not reached'}"


@dataclass(frozen=True, kw_only=True)
class GpuRecord(Signed):
    device: dict[str, str]  # kind, provider, and of a GPU its name and driver

    @property
    def signature(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        gpu = f"{self.device['name']}, driver {self.device['driver']}"
        return f"{gpu}; {versions}; commit {self.commit}; `{self.command}`."


@dataclass(frozen=True, kw_only=True)
class EnginesRecord(GpuRecord):
    matmul_peak: MatmulPeak
    models: list[ModelRecord]
    failed: dict[str, str]  # model → why
    targets: list[GpuTarget]
    seconds: float


@dataclass(frozen=True)
class ServingLimit:
    """The texts/s that a server cannot exceed."""

    texts_per_second: float  # of the engine alone
    texts_per_second_with_all_parts: float
    shares: dict[str, float]  # part → share of the median pass
    batch: int
    passes: int


@dataclass(frozen=True)
class ServedLoad:
    """One load on the server; a load that FAILED has no rates."""

    protocol: str
    concurrency: int
    status: str  # ok, FAILED
    failures: list[str]
    errors: int  # requests without an answer
    command: str
    throughput: float = 0.0  # texts/s, median of the rounds
    throughput_least: float = 0.0
    throughput_most: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ServingRecord(GpuRecord):
    variant: str
    texts: int
    max_batch: int
    limit: ServingLimit
    served_difference: float  # largest |Δlogit|, served and in this process
    rows: list[ServedLoad]


def judged(models: list[ModelRecord]) -> list[GpuTarget]:
    """Judge the targets.

    Only contenders that passed the comparison count, and are compared with.
    """
    by_name = {model.model: model for model in models}
    base, small = by_name.get("bert-base"), by_name.get("minilm-l6")
    news = _passed(models[0], models[0].ag_news[AS_THEY_COME].contenders) if models and AS_THEY_COME in models[0].ag_news else {}
    share, floor = _share(base) if base else None, _over_floor(small) if small else None
    return [
        _at_least(f"BERT-base, 128 tokens, FP16: ≥ {SHARE_OF_PEAK:.0%} of the matmul peak", share, SHARE_OF_PEAK),
        _at_least(f"unpadded ≥ {OVER_PADDED} × padded to the batch's longest, AG News", _over(news, PADDED), OVER_PADDED),
        _at_least("unpadded ahead of PyTorch, AG News", _over(news, (PEER, COMPILED)), 1.0),
        GpuTarget(
            f"MiniLM-L6, a batch of one: ≤ {OVER_FLOOR:.0f} × its launches", floor, None if floor is None else floor <= OVER_FLOOR
        ),
    ]


def _at_least(what: str, value: float | None, limit: float) -> GpuTarget:
    return GpuTarget(what, value, None if value is None else value >= limit)


def _passed(model: ModelRecord, contenders: Mapping[str, T]) -> dict[str, T]:
    passed = {verdict.variant for verdict in model.verdicts if verdict.passed}
    return {name: row for name, row in contenders.items() if name in passed}


def _share(model: ModelRecord) -> float | None:
    """Return the best share of the peak among our FP16 graphs with batches of 128 tokens."""
    cells = [_passed(model, cell.contenders) for cell in model.shapes if cell.tokens == 128]
    ours = (*PADDED, *CAPTURED, PACKED)
    return max((row.share_of_peak for cell in cells for name, row in cell.items() if name in ours), default=None)


def _over(news: dict[str, EngineRate], others: tuple[str, ...]) -> float | None:
    """Return how many times as fast as the fastest of the others the unpadded graph is."""
    rates = [news[name].sequences_per_second for name in others if name in news]
    return news[PACKED].sequences_per_second / max(rates) if rates and PACKED in news else None


def _over_floor(model: ModelRecord) -> float | None:
    """Return the ratio of the best CUDA graph, or without one that of the padded graphs launched
    node by node."""
    rows = _passed(model, model.batch_of_one.contenders) if model.batch_of_one else {}
    graphs = [row.over_floor for name, row in rows.items() if name in CAPTURED]
    return min(graphs or [row.over_floor for row in rows.values()], default=None)


def engines(data: Any) -> str:
    """Return the page's table of gpu_engines.json; `data` is None where there is no record."""
    if not _measured(data):
        return _not_yet("engines")
    record = harness.from_json(EnginesRecord, data)
    columns = ("model", "engine", "labels changed", "sequences/s, 128 tokens", "of the matmul peak")
    rows = [row for model in record.models for row in _engine_rows(model)]
    rows += [(name, f"failed: {why}") for name, why in record.failed.items()]
    targets = "".join(f"- {target}\n" for target in record.targets)
    peak = record.matmul_peak
    reached = f"{peak.tflops:.0f} TFLOP/s ({peak.type}, {peak.size}², {peak.by})"
    note = f"{targets}\nMatmul peak of the same run: {reached}. {record.signature}"
    return Table("", (*columns, "AG News as they come", "× ort_fp16"), rows, note).markdown()


def _engine_rows(model: ModelRecord) -> Iterable[tuple[str, ...]]:
    changed = {verdict.variant: f"{verdict.flips} of {verdict.rows}" for verdict in model.verdicts}
    for name in dict.fromkeys((*changed, *(name for cell in model.cells for name in cell.contenders))):
        yield model.model, name, changed.get(name, "–"), *_best_of_128(model, name), *_news(model, name)
    for name, why in model.skipped.items():
        yield model.model, name, f"skipped: {why}"


def _best_of_128(model: ModelRecord, name: str) -> tuple[str, str]:
    rates = [cell.contenders[name] for cell in model.shapes if cell.tokens == 128 and name in cell.contenders]
    best = max(rates, key=lambda rate: rate.sequences_per_second, default=None)
    return (f"{best.sequences_per_second:,.0f}", f"{best.share_of_peak:.0%}") if best else ("–", "–")


def _news(model: ModelRecord, name: str) -> tuple[str, str]:
    cell = model.ag_news.get(AS_THEY_COME)
    if cell is None or name not in cell.contenders:
        return "–", "–"
    return f"{cell.contenders[name].sequences_per_second:,.0f}", _ratio(cell.ratios.get(name))


def _ratio(ratio: Ratio | None) -> str:
    return ratio.text() if ratio else "–"  # None: the padded FP16 graph was not measured


def serving(data: Any) -> str:
    """Return the page's table of gpu_serving.json; `data` is None where there is no record."""
    return serving_table(harness.from_json(ServingRecord, data)).markdown() if _measured(data) else _not_yet("serving")


def serving_table(record: ServingRecord) -> Table:
    limit = record.limit.texts_per_second
    rows = []
    for row in record.rows:
        load = row.protocol, str(row.concurrency)
        rates = f"{row.throughput:.0f}", f"{row.throughput / limit:.0%}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"
        rows.append((*load, *(rates if row.status == "ok" else row.failures[:1])))
    shares = ", ".join(f"{name} {share:.0%}" for name, share in record.limit.shares.items())
    note = f"{record.variant}; the limit is the engine alone: {limit:.0f} texts/s. In one process: {shares}."
    if record.device["kind"] == "cuda":
        note += f" {record.signature}"
    return Table("Served on the GPU", ("over", "clients", "texts/s", "served ÷ limit", "p50 ms", "p99 ms"), rows, note)


def _measured(data: Any) -> bool:
    return data is not None and data["device"]["kind"] == "cuda"


def _not_yet(what: str) -> str:
    return f"Not measured yet: no GPU could be had so far. On a machine with one: `{_COMMANDS[what]}`.\n"


def show(record: EnginesRecord) -> None:
    """Print everything that was measured."""
    peak = record.matmul_peak
    name = record.device.get("name", record.device["kind"])
    print(f"{name}: {peak.tflops:.4g} TFLOP/s {peak.type}, {peak.size}² matrices, in {peak.by}")
    for model in record.models:
        for table in (_parity(model), _shapes(model), _lengths(model), _profiles(model), _alone(model)):
            if table.rows:
                table.show()
        for what, why in model.skipped.items():
            print(f"skipped {model.model}, {what}: {why}")
    for name, why in record.failed.items():
        print(f"FAILED {name}: {why}")
    for target in record.targets:
        print(target)
    print(f"{record.seconds:.0f} s")


def _parity(model: ModelRecord) -> Table:
    rows = [
        (
            verdict.variant,
            f"{verdict.flips}/{verdict.rows}",
            f"{verdict.logit_difference_max:.1e}",
            str(verdict.non_finite_rows),
            "passed" if verdict.passed else "FAILED",
        )
        for verdict in model.verdicts
    ]
    title = f"{model.model}: answers against FP32, {model.rows_compared} rows"
    return Table(title, ("variant", "flips", "max |Δlogit|", "NaN, Inf", "verdict"), rows)


def _shapes(model: ModelRecord) -> Table:
    labelled = [(f"{cell.batch} × {cell.tokens}", cell) for cell in model.shapes]
    return _rates(f"{model.model}: full rows", "batch × tokens", labelled)


def _lengths(model: ModelRecord) -> Table:
    labelled = [(f"{order}, {cell.padding:.0%} padding", cell) for order, cell in model.ag_news.items()]
    return _rates(f"{model.model}: batches of 128 texts", "AG News' lengths", labelled)


def _rates(title: str, label: str, cells: Iterable[tuple[str, Cell]]) -> Table:
    columns = (label, "model", "ms", "sequences/s", "tokens/s", "TFLOP/s", "of peak", "× ort_fp16 (95 %)")
    rows: list[tuple[str, ...]] = []
    for shape, cell in cells:
        for name, rate in cell.contenders.items():
            speeds = f"{rate.sequences_per_second:,.0f}", f"{rate.tokens_per_second:,.0f}", f"{rate.tflops:.3g}"
            rows.append((shape, name, f"{rate.ms:.3f}", *speeds, f"{rate.share_of_peak:.1%}", _ratio(cell.ratios.get(name))))
        rows += [(shape, name, f"left out: {why}") for name, why in cell.left_out.items()]
    return Table(title, columns, rows)


def _profiles(model: ModelRecord) -> Table:
    rows: list[tuple[str, ...]] = []
    for profile in model.profiles:
        shape = f"{profile.batch} × {profile.tokens}"
        for times in profile.operators:
            cost = str(times.nodes), f"{times.us:.0f}", f"{times.share:.1%}", times.provider.removesuffix("ExecutionProvider")
            rows.append((profile.variant, shape, times.operator, *cost))
        rows += [(profile.variant, "", f"kernel of {kernel}") for kernel in profile.attention_kernels]
    columns = ("variant", "batch × tokens", "operator", "nodes", "µs", "share", "runs on")
    return Table(f"{model.model}: where the time goes", columns, rows)


def _alone(model: ModelRecord) -> Table:
    alone = model.batch_of_one or BatchOfOne(0, 0, {})
    rows = [(name, f"{row.ms:.3f}", f"{row.floor_ms:.3f}", f"{row.over_floor:.2f}") for name, row in alone.contenders.items()]
    title = f"{model.model}: one text of {alone.tokens} tokens against {alone.nodes} launches"
    return Table(title, ("model", "ms", "launches alone, ms", "ratio"), rows)
