"""The record of benchmarks.gpu.engines as tables: on the terminal, and as lines of a page."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu import targets
from benchmarks.gpu.pages import ratio
from train import terminal


def show(record: dict[str, Any]) -> None:
    console = terminal.console()
    peak = record["matmul_peak"]
    name = record["device"].get("name", record["device"]["kind"])
    console.print(f"{name}: {peak['tflops']:.4g} TFLOP/s {peak['type']}, {peak['size']}² matrices, in {peak['by']}")
    for model in record["models"]:
        for table in (_parity(model), _shapes(model), _news(model), _profile(model), _alone(model)):
            if table.row_count:
                console.print(table)
        for what, why in model["skipped"].items():
            console.print(f"[yellow]skipped[/] {model['model']}, {what}: {why}", highlight=False)
    for name, why in record["failed"].items():
        console.print(f"[red]FAILED[/] {name}: {why}", highlight=False)
    for target in record["targets"]:
        console.print(targets.said(target))
    console.print(f"{record['seconds']:.0f} s")


def _parity(model: dict[str, Any]) -> Any:
    title = f"{model['model']}: answers against FP32, {model['rows_compared']} rows"
    table = terminal.table(title, "variant", "flips", "max |Δlogit|", "NaN, Inf", "verdict", left=("variant", "verdict"))
    for row in (*model["parity"], *model["peers"]):
        flips, difference = f"{row['flips']}/{row['rows']}", f"{row['logit_difference_max']:.1e}"
        table.add_row(row["variant"], flips, difference, str(row["non_finite_rows"]), terminal.verdict(row["passed"]))
    return table


def _shapes(model: dict[str, Any]) -> Any:
    columns = ("batch × tokens", "model", "ms", "sequences/s", "tokens/s", "TFLOP/s", "of peak", "× ort_fp16 (95 %)")
    return _rates(f"{model['model']}: full rows", columns, [(f"{one['batch']} × {one['tokens']}", one) for one in model["shapes"]])


def _news(model: dict[str, Any]) -> Any:
    columns = ("AG News' lengths", "model", "ms", "sequences/s", "tokens/s", "TFLOP/s", "of peak", "× ort_fp16 (95 %)")
    rows = [(f"{order}, {one['padding']:.0%} padding", one) for order, one in model["ag_news"].items()]
    return _rates(f"{model['model']}: batches of 128 texts", columns, rows)


def _rates(title: str, columns: tuple[str, ...], cells: list[tuple[str, dict[str, Any]]]) -> Any:
    table = terminal.table(title, *columns, left=columns[:2])
    for label, cell in cells:
        for name, row in cell["contenders"].items():
            rates = f"{row['sequences_per_second']:,.0f}", f"{row['tokens_per_second']:,.0f}", f"{row['tflops']:.3g}"
            table.add_row(label, name, f"{row['ms']:.3f}", *rates, f"{row['share_of_peak']:.1%}", ratio(cell["ratios"].get(name)))
        for name, why in cell["left_out"].items():
            table.add_row(label, name, f"left out: {why}", *["–"] * 5)
    return table


def _profile(model: dict[str, Any]) -> Any:
    columns = ("variant", "batch × tokens", "operator", "nodes", "µs", "share", "runs on")
    table = terminal.table(f"{model['model']}: where the time goes", *columns, left=("variant", "operator", "runs on"))
    for one in model["profiles"]:
        for row in one["operators"]:
            shape, kind = f"{one['batch']} × {one['tokens']}", row["provider"].removesuffix("ExecutionProvider")
            share = f"{row['share']:.1%}"
            table.add_row(one["variant"], shape, row["operator"], str(row["nodes"]), f"{row['us']:.0f}", share, kind)
        for kernel in one["attention_kernels"]:
            table.add_row(one["variant"], "", f"kernel of {kernel}", *[""] * 4)
    return table


def _alone(model: dict[str, Any]) -> Any:
    found = model["batch_of_one"]
    title = f"{model['model']}: one text of {found.get('tokens')} tokens against {found.get('nodes')} launches"
    table = terminal.table(title, "model", "ms", "launches alone, ms", "ratio", left=("model",))
    for name, row in found.get("contenders", {}).items():
        table.add_row(name, f"{row['ms']:.3f}", f"{row['floor_ms']:.3f}", f"{row['over_floor']:.2f}")
    return table
