"""Keep a run's results as a record, and write the tables of READMEs and docs from the records.

The first two take a run's figures into records/demo.json, or its benchmark into
records/served.json, before the tables are written:

    python -m benchmarks.tables --run runs/demo
    python -m benchmarks.tables --bench runs/agnews
    python -m benchmarks.tables
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import client_speed, harness, reliability
from benchmarks.export import false_alarms, fused_latency, hugging_face, large_model, variant_speed
from benchmarks.faults import measure
from benchmarks.gpu import tables as gpu
from benchmarks.harness import RECORDS, Machine, Table
from benchmarks.peers import table as peers
from benchmarks.training import accuracy, speed
from serving.benchmark import highlights
from serving.benchmark.record import BenchmarkRecord, Comparison
from slipway import errors
from slipway.contract import artifact, manifest
from slipway.contract.records import from_json
from slipway.errors import ManifestError

_CHECKOUT = Path(__file__).parents[1]
PAGES = (
    _CHECKOUT / "README.md",
    _CHECKOUT / "benchmarks" / "README.md",
    *(_CHECKOUT / "docs" / name for name in ("parity.md", "reliability.md")),
)
_END = "<!-- end -->"
_BASELINE = "usual_savedmodel"  # the one in the README's table; demo.json has the others too


@dataclass(frozen=True)
class KeptVerdict:
    """One variant's parity.json, as far as it is shown."""

    variant: str
    rows: int
    flips: int
    flip_rate_bound: float
    accuracy: float
    accuracy_loss_bound: float
    as_meant: bool
    command: str


@dataclass(frozen=True)
class ServedCheck:
    """One served model's answers compared with the SavedModel's."""

    model: str
    variant: str
    protocol: str
    flips: int
    rows: int


@dataclass(frozen=True)
class BestLoad:
    """The load with the most answers of text_classifier, as a share of its engine alone."""

    protocol: str
    concurrency: int
    of_engine: tuple[float, float]  # 95 %
    padding_waste: float
    variant: str
    command: str


@dataclass(frozen=True)
class BaselineComparison(Comparison):
    """A variant that answers texts ÷ a baseline, in texts/s."""

    variant: str
    baseline: str


@dataclass(frozen=True)
class Trained:
    rows: int
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One `make demo`. It has the versions, machine and commit of its benchmark."""

    train: Trained
    generated_corpus: bool
    parity: list[KeptVerdict]
    skipped: dict[str, dict[str, str]]  # variant → "reason"
    served: list[ServedCheck]
    benchmark: BestLoad
    against_baselines: list[BaselineComparison]
    machine: Machine
    versions: dict[str, str]
    commit: str


def main() -> int:
    arguments = _parse()
    if arguments.run:
        manifest.write_json(RECORDS / "demo.json", asdict(gather(arguments.run)))
    if arguments.bench:
        benchmark = _benchmark(arguments.bench)
        rows = tuple(replace(row, rounds=()) for row in benchmark.rows)
        manifest.write_json(RECORDS / "served.json", replace(benchmark, rows=rows).to_json())
    for page in PAGES:
        page.write_text(with_tables(page.read_text("utf-8")), "utf-8")
        print(f"tables  {page}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="a finished run to take the figures from")
    parser.add_argument("--bench", type=Path, help="a run to take the benchmark from")
    return parser.parse_args()


def gather(run: Path) -> Demo:
    """Return what the README's table shows of a finished run.

    Raises ManifestError where no load counts.
    """
    bundle, served, benchmark = _json(run / "bundle/bundle.json"), _json(run / "served.json"), _benchmark(run)
    parity = [harness.read(KeptVerdict, path) for path in sorted(run.glob("artifacts/*/parity.json"))]
    return Demo(
        train=Trained(bundle["metrics"]["examples"], bundle["metrics"]["test_accuracy"]),
        generated_corpus=bundle["corpus"]["generated"],
        parity=parity,
        skipped=artifact.skipped(run),
        served=[from_json(ServedCheck, check) for check in served["checks"]],
        benchmark=_best(benchmark),
        against_baselines=against_baselines(benchmark),
        machine=from_json(Machine, benchmark.machine),
        versions=benchmark.versions,
        commit=benchmark.commit,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _benchmark(run: Path) -> BenchmarkRecord:
    return BenchmarkRecord.from_json(_json(run / "benchmark.json"))


def against_baselines(benchmark: BenchmarkRecord) -> list[BaselineComparison]:
    """Compare variants that answer texts with baselines, under the load most comparisons share."""
    compared = []
    for comparison in highlights.main_comparisons(benchmark):
        ours, baseline = (benchmark.subjects[benchmark.by_id[side].subject] for side in (comparison.a, comparison.b))
        if comparison.measure == "throughput" and ours.kind == "text" and ours.variant and baseline.baseline:
            compared.append(BaselineComparison(**asdict(comparison), variant=ours.variant, baseline=baseline.name))
    return compared


def _best(benchmark: BenchmarkRecord) -> BestLoad:
    row = highlights.best_row(benchmark)
    limit = highlights.engine_limit(benchmark, row) if row and row.status == "ok" else None
    if row is None or limit is None or row.throughput is None or row.concurrency is None:
        raise ManifestError(
            "there is nothing to keep of this benchmark",
            expected=f"a load of {benchmark.model} that counts",
            found="; ".join(row.why) if row else "none",
            where=benchmark.command,
            fix="that command again, on a quiet machine",
        )
    low, high = row.throughput.interval
    share = low / limit, high / limit
    return BestLoad(row.protocol, row.concurrency, share, benchmark.padding.waste, benchmark.variant, benchmark.command)


def demo_table(record: Demo) -> Table:
    speeds = {pair.variant: harness.cell(pair) for pair in record.against_baselines if pair.baseline == _BASELINE}
    rows: list[tuple[str, ...]] = []
    for verdict in record.parity:
        flips = [check.flips for check in record.served if check.variant == verdict.variant]
        rows.append(
            (
                verdict.variant if verdict.as_meant else f"{verdict.variant} (on a CPU)",
                f"{verdict.flips} of {verdict.rows}",
                f"{verdict.accuracy_loss_bound:.2%}",
                f"{max(flips)} of {verdict.rows}" if flips else "–",
                speeds.get(verdict.variant, "–"),
            )
        )
    reasons = dict.fromkeys(why["reason"] for why in record.skipped.values())
    for reason in reasons:
        names = ", ".join(name for name, why in record.skipped.items() if why["reason"] == reason)
        rows.append((names, f"skipped: {reason}"))
    columns = ("variant", "labels changed, offline", "accuracy lost, at most (95 %)", "labels changed, served")
    return Table("", (*columns, "texts/s ÷ the SavedModel's (95 %)"), rows, _demo_note(record))


def _demo_note(record: Demo) -> str:
    best, clients = record.benchmark, record.against_baselines[0].a.split("/")[-1]
    least, most = best.of_engine
    return (
        "Texts/s of the live server ÷ those of the SavedModel in TensorFlow, every text padded to 128 tokens, "
        f"in the same server and the same rounds; {clients} clients over gRPC.\n\n"
        f"Test accuracy {record.train.test_accuracy:.2%} after {record.train.rows} rows. "
        f"Served with real texts ({best.variant}, {best.concurrency} clients, {best.protocol}): "
        f"{least:.0%} to {most:.0%} of what the engine did alone in the same rounds; "
        f"{best.padding_waste:.1%} of the tokens computed were padding. {record.machine}, commit {record.commit}."
    )


def served_table(record: BenchmarkRecord) -> Table:
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)  # row → clients, measure → shown
    for compared in record.comparisons:
        if row := _served_row(compared, record.model):
            cells[row][compared.a.split("/")[-1], compared.measure] = harness.cell(compared)
    loads = sorted({clients for row in cells.values() for clients, _ in row}, key=int)
    tail = max(loads, key=lambda clients: (sum((clients, "p99_ms") in row for row in cells.values()), int(clients)))
    shown = [*((clients, "throughput") for clients in loads), (tail, "p99_ms")]
    rows: list[tuple[str, ...]] = [(*row, *(own.get(key, "–") for key in shown)) for row, own in cells.items()]
    rows += [(name, f"skipped: {why}") for name, why in record.skipped.items()]
    rows += [(row.id, f"FAILED: {row.why[0]}") for row in record.rows if row.status == "FAILED"]
    columns = ("texts/s of", "÷ that of", *(f"{clients} in flight" for clients in loads), f"p99 at {tail}")
    return Table("", columns, rows, _served_note(record))


def _served_row(compared: Comparison, model: str) -> tuple[str, str] | None:
    """Return the table's first two cells; None: the comparison is not shown."""
    ours, protocol, transport, lengths, _ = compared.a.split("/")
    other = compared.b.split("/")[0]
    if ours == other == model:
        return f"{ours}, {protocol} {transport.replace('_', ' ')}", "gRPC"
    if ours != other and (protocol, transport) == ("grpc", "network"):
        return (ours if lengths == "own" else f"{ours}, {lengths} tokens"), other
    return None


def _served_note(record: BenchmarkRecord) -> str:
    why = "; ".join(harness.reasons(record.comparisons))
    return (
        f"text_classifier is on {record.variant}. Above 1 it is faster; of a p99, below 1."
        f"{f' Invalid: {why}.' if why else ''} {record.setting} setting, {record.rounds} rounds, "
        f"{record.seconds / 60:.0f} minutes, the harness {record.harness_share:.1%} of them; `{record.command}`. "
        f"{from_json(Machine, record.machine)}, commit {record.commit}."
    )


def _table(kind: type[Any], shown: Callable[[Any], Table]) -> Callable[[Any], str]:
    return lambda record: shown(from_json(kind, record)).markdown()


# Every record is in the checkout, but for the GPU's: those tables say so while there is none.
TABLES: dict[str, Callable[[Any], str]] = {
    "demo.json": _table(Demo, demo_table),
    "served.json": lambda record: served_table(BenchmarkRecord.from_json(record)).markdown(),
    "variant_speed.json": _table(variant_speed.VariantSpeed, variant_speed.table),
    "fused_latency.json": _table(fused_latency.FusedLatency, fused_latency.table),
    "hugging_face.json": _table(hugging_face.HuggingFace, hugging_face.table),
    "large_model.json": _table(large_model.LargeModel, large_model.table),
    "training_accuracy.json": _table(accuracy.TrainingAccuracy, accuracy.table),
    "training_speed.json": _table(speed.JobSpeeds, speed.table),
    "scaling.json": _table(speed.JobSpeeds, speed.scaling_table),
    "peers.json": _table(peers.PeersRecord, peers.table),
    "faults.json": _table(measure.Faults, measure.table),
    "false_alarms.json": _table(false_alarms.FalseAlarms, false_alarms.table),
    "client_speed.json": _table(client_speed.ClientSpeed, client_speed.table),
    "reliability": lambda _: reliability.page(),  # a directory: the raw lines of every experiment
    "gpu_engines.json": gpu.engines,
    "gpu_serving.json": gpu.serving,
}


def with_tables(text: str) -> str:
    """Return `text` with the table of each record between the marks of that record."""
    for name, table in TABLES.items():
        before, start, rest = text.partition(f"<!-- table: benchmarks/records/{name} -->\n")
        if start:
            _, _, after = rest.partition(_END)
            path = RECORDS / name
            text = f"{before}{start}{table(_json(path) if path.is_file() else None)}{_END}{after}"
    return text


if __name__ == "__main__":
    errors.run(main)
