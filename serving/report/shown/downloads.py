"""What a page offers to save, all inside it: the records that it shows, and the loads as CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from serving.benchmark.record import FIGURES, BenchmarkRecord, Row
from serving.report.shown.places import record_without_paths

_OF_A_ROW = ("id", "subject", "protocol", "transport", "lengths", "load", "concurrency", "rate", "offered_share", "status")


@dataclass(frozen=True, slots=True)
class Download:
    """A file inside the page."""

    name: str  # to save it as
    what: str
    address: str  # data:…
    kib: int


def downloads(files: Mapping[str, str], record: BenchmarkRecord | None) -> list[Download]:
    """Return the records as they lie in the run's directory, but with short paths, and the loads of
    a benchmark as CSV.
    """
    shown = [
        _download(name.replace("/", "_"), name, record_without_paths(text), "application/json") for name, text in files.items()
    ]
    if record:
        shown.append(_download("loads.csv", "every load of the benchmark, for a spreadsheet", loads_csv(record), "text/csv"))
    return shown


def _download(name: str, what: str, text: str, kind: str) -> Download:
    content = text.encode()
    return Download(name, what, f"data:{kind};base64,{base64.b64encode(content).decode()}", -(-len(content) // 1024))


def loads_csv(record: BenchmarkRecord) -> str:
    """Return a line for each load; each figure has its value and the ends of its 95 % interval."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    figures = [f"{measure}{end}" for measure in FIGURES for end in ("", "_low", "_high")]
    writer.writerow([*_OF_A_ROW, *figures, "errors", "rejected", "why"])
    for row in record.rows:
        facts = [getattr(row, name) for name in _OF_A_ROW]
        writer.writerow([*facts, *_figures(row), row.errors, row.rejected, "; ".join(row.why)])
    return lines.getvalue()


def _figures(row: Row) -> list[float | None]:
    values: list[float | None] = []
    for measure in FIGURES:
        figure = getattr(row, measure)
        values += [figure.value, *figure.interval] if figure else [None] * 3
    return values
