"""The GPU's records, their targets, and their tables on the terminal and in a page.

Where there is no record, or only that of a trial on a CPU, the page's table says so and shows no
figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.gpu.device import MatmulPeak
from benchmarks.gpu.measure import BatchOfOne, Cell, EngineRate, NewsCell, ShapeCell
from benchmarks.gpu.models import AS_THEY_COME, CAPTURED, COMPILED, PACKED, PADDED, PEER, EngineVerdict
from benchmarks.gpu.profile import GraphProfile
from benchmarks.harness import Signed, Table, Target, listing
from slipway.contract.records import from_json
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
    targets: list[Target]
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


def judged(models: list[ModelRecord]) -> list[Target]:
    """Judge the targets.

    Only contenders that passed the comparison count, and are compared with.
    """
    by_name = {model.model: model for model in models}
    base, small = by_name.get("bert-base"), by_name.get("minilm-l6")
    news = _passed(models[0], models[0].ag_news[AS_THEY_COME].contenders) if models and AS_THEY_COME in models[0].ag_news else {}
    share, floor = _share(base) if base else None, _over_floor(small) if small else None
    return [
        Target.least(f"BERT-base, 128 tokens, FP16: ≥ {SHARE_OF_PEAK:.0%} of the matmul peak", share, SHARE_OF_PEAK),
        Target.least(f"unpadded ≥ {OVER_PADDED} × padded to the batch's longest, AG News", _over(news, PADDED), OVER_PADDED),
        Target.least("unpadded ahead of PyTorch, AG News", _over(news, (PEER, COMPILED)), 1.0),
        Target(
            f"MiniLM-L6, a batch of one: ≤ {OVER_FLOOR:.0f} × its launches", floor, None if floor is None else floor <= OVER_FLOOR
        ),
    ]


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
    """Return the best CUDA graph's ratio, or without one that of the padded graphs."""
    rows = _passed(model, model.batch_of_one.contenders) if model.batch_of_one else {}
    graphs = [row.over_floor for name, row in rows.items() if name in CAPTURED]
    return min(graphs or [row.over_floor for row in rows.values()], default=None)


def engines(data: Any) -> str:
    """Return the page's table of gpu_engines.json; `data` is None where there is no record."""
    if not _measured(data):
        return _not_yet("engines")
    record = from_json(EnginesRecord, data)
    columns = ("model", "engine", "labels changed", "sequences/s, 128 tokens", "of the matmul peak")
    rows = [row for model in record.models for row in _engine_rows(model)]
    rows += [(name, f"failed: {why}") for name, why in record.failed.items()]
    targets = "".join(f"- {target}\n" for target in record.targets)
    note = f"{targets}\nMatmul peak of the same run: {record.matmul_peak}. {record.signature}"
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
    return serving_table(from_json(ServingRecord, data)).markdown() if _measured(data) else _not_yet("serving")


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
    print(f"{record.device.get('name', record.device['kind'])}: {record.matmul_peak}")
    for model in record.models:
        for title, rows in _details(model).items():
            if rows:
                listing(f"{model.model}: {title}", rows).show()
        for what, why in model.skipped.items():
            print(f"skipped {model.model}, {what}: {why}")
    for name, why in record.failed.items():
        print(f"FAILED {name}: {why}")
    for target in record.targets:
        print(target)
    print(f"{record.seconds:.0f} s")


def _details(model: ModelRecord) -> dict[str, list[dict[str, Any]]]:
    """Return title → rows. `ms_quartiles`, invariance and types are in the record alone."""
    orders = [({"texts": f"AG News, {order}", "padding": cell.padding}, cell) for order, cell in model.ag_news.items()]
    shapes = [({"batch": cell.batch, "tokens": cell.tokens}, cell) for cell in model.shapes]
    profiles = [({"variant": taken.variant, "batch": taken.batch, "tokens": taken.tokens}, taken) for taken in model.profiles]
    alone = model.batch_of_one or BatchOfOne(0, 0, {})
    return {
        f"answers against FP32, {model.rows_compared} rows": [vars(verdict) for verdict in model.verdicts],
        "full rows": [row for key, cell in shapes for row in _cell_rows(key, cell)],
        "batches of 128 texts": [row for key, cell in orders for row in _cell_rows(key, cell)],
        "where the time goes": [key | vars(times) for key, taken in profiles for times in taken.operators],
        "attention": [key | {"kernel": kernel} for key, taken in profiles for kernel in taken.attention_kernels],
        f"a text of {alone.tokens} tokens against {alone.nodes} launches": [
            {"contender": name, **vars(row)} for name, row in alone.contenders.items()
        ],
    }


def _cell_rows(key: dict[str, Any], cell: Cell) -> Iterable[dict[str, Any]]:
    for name, rate in cell.contenders.items():
        yield key | {"contender": name, **vars(rate), "× ort_fp16 (95 %)": _ratio(cell.ratios.get(name))}
    for name, why in cell.left_out.items():
        yield key | {"contender": name, "ms": f"left out: {why}"}
