"""The GPU's records as tables of a page. Where there is no record, or one of a trial on a CPU, the table says so, and no figure."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu import targets
from benchmarks.gpu.records import AS_THEY_COME

_COMMANDS = {"engines": "python -m benchmarks.gpu.engines", "serving": "python -m benchmarks.gpu.serving --run runs/agnews"}


def engines(record: dict[str, Any] | None) -> str:
    if not _measured(record):
        return _not_yet("engines")
    assert record is not None
    columns = (
        "model",
        "engine",
        "labels changed",
        "sequences/s, 128 tokens",
        "of the matmul peak",
        "AG News as they come",
        "× ort_fp16",
    )
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for model in record["models"]:
        changed = {one["variant"]: f"{one['flips']} of {one['rows']}" for one in (*model["parity"], *model["peers"])}
        cells = (*model["shapes"], *model["ag_news"].values())
        for name in dict.fromkeys((*changed, *(name for cell in cells for name in cell["contenders"]))):
            lines.append(f"| {model['model']} | {name} | {changed.get(name, '–')} | {_full(model, name)} | {_news(model, name)} |")
        for name, why in model["skipped"].items():
            lines.append(f"| {model['model']} | {name} | skipped: {why} | | | | |")
    lines += [f"| {name} | failed: {why} | | | | | |" for name, why in record["failed"].items()]
    lines += ["", *(f"- {targets.said(one)}" for one in record["targets"]), ""]
    peak = record["matmul_peak"]
    reached = f"{peak['tflops']:.0f} TFLOP/s ({peak['type']}, {peak['size']}², {peak['by']})"
    lines.append(f"Matmul peak of the same run: {reached}. {_signed(record)}")
    return "\n".join(lines) + "\n"


def serving(record: dict[str, Any] | None) -> str:
    if not _measured(record):
        return _not_yet("serving")
    assert record is not None
    lines = ["| over | clients | texts/s | served ÷ limit | p50 ms | p99 ms |", "|---|---|---|---|---|---|"]
    for row in record["rows"]:
        if row["status"] != "ok":
            lines.append(f"| {row['protocol']} | {row['concurrency']} | {row['failures'][0]} | | | |")
            continue
        share = row["throughput"] / record["limit"]["texts_per_second"]
        cells = f"{row['throughput']:.0f} | {share:.0%} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f}"
        lines.append(f"| {row['protocol']} | {row['concurrency']} | {cells} |")
    limit = record["limit"]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in limit["shares"].items())
    alone = f"{record['variant']}; the limit is the engine alone: {limit['texts_per_second']:.0f} texts/s"
    return "\n".join([*lines, "", f"{alone}. In one process: {shares}. {_signed(record)}"]) + "\n"


def _measured(record: dict[str, Any] | None) -> bool:
    return record is not None and record["device"]["kind"] == "cuda"


def _not_yet(what: str) -> str:
    return f"Not measured yet: no GPU could be had so far. On a machine with one: `{_COMMANDS[what]}`.\n"


def _full(model: dict[str, Any], name: str) -> str:
    """The best batch of 128 tokens."""
    rows = [cell["contenders"][name] for cell in model["shapes"] if cell["tokens"] == 128 and name in cell["contenders"]]
    best = max(rows, key=lambda row: float(row["sequences_per_second"]), default=None)
    return f"{best['sequences_per_second']:,.0f} | {best['share_of_peak']:.0%}" if best else "– | –"


def _news(model: dict[str, Any], name: str) -> str:
    found = model["ag_news"].get(AS_THEY_COME, {"contenders": {}})
    if name not in found["contenders"]:
        return "– | –"
    return f"{found['contenders'][name]['sequences_per_second']:,.0f} | {ratio(found['ratios'].get(name))}"


def ratio(found: dict[str, Any] | None) -> str:
    if found is None:  # the padded FP16 graph was not measured
        return "–"
    low, high = found["interval"]
    return f"{found['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _signed(record: dict[str, Any]) -> str:
    gpu = record["device"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{gpu['name']}, driver {gpu['driver']}; {versions}; commit {record['commit']}; `{record['command']}`."
