"""A benchmark's record on the terminal: rows, comparisons, the choice."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from serving import speed_section
from serving.bench_rows import MEASURES
from train import terminal

_SHOWN = {"throughput": "texts/s", "p99_ms": "p99"}
_VERDICTS = {"ok": "", "FAILED": terminal.VERDICTS["FAILED"], "invalid": "[yellow]invalid[/]"}


def show(record: dict[str, Any]) -> None:
    console = terminal.console()
    console.print(_rows(record))
    for row in record["rows"]:
        if row["why"]:
            console.print(f"{_named(row['id'])}: {_VERDICTS[row['status']]} {row['why'][-1]}")
    main = speed_section.main(record)
    console.print(_comparisons(main))
    for why in dict.fromkeys(one["why"] for one in main if one["verdict"] == "invalid run"):
        console.print(f"[dim]invalid run: {why}[/]")
    if others := len(record["comparisons"]) - len(main):
        console.print(f"[dim]and {others // len(MEASURES)} comparisons under other loads, in benchmark.json and the report[/]")
    limit = record["engine_limit"]["texts_per_second"]
    console.print(
        f"[dim]the engine alone: {limit:.0f} texts/s; padding: {record['padding']['waste']:.1%} of the tokens computed[/]"
    )
    for name, why in record["skipped"].items():
        print(f"skipped     {name}: {why}")
    print(f"choose      {record['choice']['chosen'] or 'none'}: {record['choice']['reason']}")
    print(f"benchmark   {record['seconds']:.0f} s, of which the harness took {record['harness_share']:.1%}")


def _rows(record: dict[str, Any]) -> Any:
    columns = ("load, × clients", "texts/s (95 %)", "of engine", "p50 ms", "p99 ms (95 %)", "errors", "")
    table = terminal.table(f"text_classifier is on {record['variant']}", *columns, left=("load, × clients", ""))
    for row in record["rows"]:
        table.add_row(_named(row["id"]), *_figures(row, speed_section.of_engine(record, row)), _VERDICTS[row["status"]])
    return table


def _figures(row: dict[str, Any], share: float | None) -> list[str]:
    if row["status"] == "FAILED":
        return ["–"] * 5
    p99 = row["p99_ms"]
    tail = _with_interval(p99) if p99["enough"] else f"needs {p99['needs']}"
    of_engine = f"{share:.0%}" if share else "–"
    return [_with_interval(row["throughput"]), of_engine, f"{row['p50_ms']['value']:.1f}", tail, str(row["errors"])]


def _with_interval(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.0f} ({low:.0f} to {high:.0f})"


def _comparisons(found: Iterable[dict[str, Any]]) -> Any:
    """A line for two loads, a column for each measure."""
    table = terminal.table("a ÷ b, in the same rounds", "a", "b", *_SHOWN.values(), left=("a", "b"))
    for (a, b), measures in groupby(found, lambda one: (one["a"], one["b"])):
        table.add_row(_named(a), _named(b), *(_compared(one) for one in measures if one["measure"] in _SHOWN))
    return table


def _named(id_: str) -> str:
    """A load in short: what is not said is the network, and texts of their own lengths."""
    subject, protocol, transport, lengths, load = id_.split("/")
    way = protocol if transport == "network" else transport.removesuffix("_shared_memory") + " memory"
    tokens = "" if lengths == "own" else f", {lengths} tokens"
    return f"{subject} {way}{tokens} {load.replace('r', 'at random ') + ' %' if load[0] == 'r' else '× ' + load}"


def _compared(one: dict[str, Any]) -> str:
    return one["verdict"] if one["ratio"] is None else f"{one['ratio']:.2f} {one['verdict']}"
