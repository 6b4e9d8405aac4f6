"""A benchmark's record on the terminal: rows, comparisons, the choice; likewise of a server
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.benchmark import highlights
from serving.benchmark.record import FIGURES, BenchmarkRecord, Comparison, EndpointRecord, Row
from slipway import console

_SHOWN = {"throughput": "texts/s", "p99_ms": "p99"}
_LEVEL = "level"
_BUSY_CLIENT = 0.8  # of this machine's cores
_STATUSES = {"ok": Text(), "FAILED": console.VERDICTS["FAILED"], "invalid": Text("invalid", "yellow")}


def show_record(record: BenchmarkRecord) -> None:
    screen = console.console()
    screen.print(_rows_table(record))
    _show_reasons(screen, record.rows, _short_name)
    main = highlights.main_comparisons(record)
    _show_comparisons(screen, main, _short_name)
    if others := len(record.comparisons) - len(main):
        screen.print(f"and {others // len(FIGURES)} comparisons under other loads, in benchmark.json and the report", style="dim")
    limit, padding = record.engine_limit.texts_per_second, record.padding.waste
    screen.print(f"the engine alone: {limit:.0f} texts/s; padding: {padding:.1%} of the tokens computed", style="dim")
    for name, why in record.skipped.items():
        print(f"skipped     {name}: {why}")
    print(f"choose      {record.choice.chosen or 'none'}: {record.choice.reason}")
    print(f"benchmark   {record.seconds:.0f} s, of which the harness took {record.harness_share:.1%}")


def show_endpoint(record: EndpointRecord) -> None:
    """Print what was measured of a server that ran already."""
    screen = console.console()
    columns = ("load", "texts/s (95 %)", "p50 ms", "p99 ms", "")
    rows = console.table("Asked from this machine; × clients", *columns, left=("load", ""))
    for row in record.rows:
        rate, _, p50, p99 = _cells(row, None)
        rows.add_row(_way(row.id), rate, p50, p99, _status(row))
    screen.print(rows)
    _show_reasons(screen, record.rows, _way)
    if any(comparison.verdict != "invalid run" for comparison in record.comparisons):
        _show_comparisons(screen, record.comparisons, _way)
    busiest, share = max(record.client_share.items(), key=lambda item: item[1], default=("", 0.0))
    if share > _BUSY_CLIENT:
        screen.print(f"the client took {share:.0%} of this machine's cores under {_way(busiest)}: it may be the limit")
    if any(address.on_this_machine for address in record.addresses):
        screen.print("the server is on this machine: what other processes took meanwhile is not judged", style="dim")
    print(f"choose      {_way(record.choice.chosen) if record.choice.chosen else 'none'}: {record.choice.reason}")
    print(f"benchmark   {record.seconds:.0f} s")


def _show_reasons(screen: Console, rows: Iterable[Row], name: Callable[[str], str]) -> None:
    for row in rows:
        if row.why:
            screen.print(Text.assemble(f"{name(row.id)}: ", _STATUSES[row.status], f" {row.why[-1]}"))


def _show_comparisons(screen: Console, comparisons: Sequence[Comparison], name: Callable[[str], str]) -> None:
    screen.print(_comparisons_table(comparisons, name))
    if any(comparison.verdict == "no difference" for comparison in comparisons):
        screen.print(f"{_LEVEL}: no difference can be shown", style="dim")
    for why in dict.fromkeys(comparison.why for comparison in comparisons if comparison.verdict == "invalid run"):
        screen.print(f"invalid run: {why}", style="dim")


def _rows_table(record: BenchmarkRecord) -> Table:
    columns = ("load", "texts/s (95 %)", "engine", "p50 ms", "p99 ms", "")
    title = f"text_classifier is on {record.variant}; × clients, or % of its capacity at random"
    table = console.table(title, *columns, left=("load", ""))
    for row in record.rows:
        table.add_row(_short_name(row.id), *_cells(row, highlights.of_engine(record, row)), _status(row))
    return table


def _status(row: Row) -> Text:
    return Text(f"{row.errors} errors", "red") if row.errors and row.status == "ok" else _STATUSES[row.status]


def _cells(row: Row, share: float | None) -> list[str]:
    if not (row.throughput and row.p50_ms and row.p99_ms):
        return ["–"] * 4
    low, high = row.throughput.interval
    tail = f"{row.p99_ms.value:.0f}" if row.p99_ms.enough else "too few"
    of_engine = f"{share:.0%}" if share else "–"
    return [f"{row.throughput.value:.0f} ({low:.0f}–{high:.0f})", of_engine, f"{row.p50_ms.value:.1f}", tail]


def _comparisons_table(comparisons: Iterable[Comparison], name: Callable[[str], str]) -> Table:
    """Return a table with a line for each two loads and a column for each figure."""
    table = console.table("a ÷ b, in the same rounds", "a", "b", *_SHOWN.values(), left=("a", "b"))
    for (a, b), figures in groupby(comparisons, lambda comparison: (comparison.a, comparison.b)):
        table.add_row(name(a), name(b), *(_verdict(figure) for figure in figures if figure.measure in _SHOWN))
    return table


def _short_name(row_id: str) -> str:
    """Return a load's name; the network and texts of their own lengths go without saying."""
    subject, protocol, transport, lengths, load = row_id.split("/")
    way = protocol if transport == "network" else transport.removesuffix("_shared_memory") + " memory"
    tokens = "" if lengths == "own" else f", {lengths} tokens"
    arrivals = f"{load.removeprefix('r')} %" if load.startswith("r") else f"× {load}"
    return f"{subject} {way}{tokens} {arrivals}"


def _way(row_id: str) -> str:
    """Return a load's name without the model's."""
    return _short_name(row_id).partition(" ")[2]


def _verdict(comparison: Comparison) -> str:
    verdict = _LEVEL if comparison.verdict == "no difference" else comparison.verdict
    return verdict if comparison.ratio is None else f"{comparison.ratio:.2f} {verdict}"
