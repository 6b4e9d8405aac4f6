"""Figures of latency under load, closed and open, out of a benchmark's record.

A figure whose data the record does not have is empty.
"""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from serving.benchmark_record import BenchmarkRecord, Figure, Row
from serving.plots import COLOURS, GREY, Attributes, Button, empty_figure, logarithmic, offer_buttons
from serving.speed_section import figure_of, load_text, measured_rows, throughput_of, transport_text

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
_MAIN_WAY = ("grpc", "network")
_DASHES = {_MAIN_WAY: "solid", ("http", "network"): "dot"}  # any shared memory: dashes
_MOST_LINES = 8  # more are not all shown at first: the legend offers the others, or the table has them


def latency_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw latency against throughput, a point for each number of clients, both with intervals."""
    rows = measured_rows(record, "closed")
    if len(lines_of(record, rows)) > _MOST_LINES:
        rows = main_ways(record, rows)
    figure = empty_figure(460, "texts per second", "p99 latency (ms)")
    figure.update_xaxes(rangemode="tozero")
    if rows:
        _mark(figure, record.engine_limit.texts_per_second, "the engine alone")
    _draw_lines(figure, record, rows, _throughputs, lambda row: f"{load_text(row)}: {throughput_of(row):.0f} texts/s")
    return figure


def open_loop_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw latency against the rate of texts that arrive at random.

    The rate is a share of the model's capacity where that is known, else texts a second.
    """
    rows = measured_rows(record, "poisson")
    known = all(row.offered_share is not None for row in rows)
    unit = ", % of the model's capacity" if known else " a second"
    figure = empty_figure(420, f"texts that arrive{unit}", "p99 latency (ms)")
    if rows and known:
        _mark(figure, 100, "capacity")
    _draw_lines(figure, record, rows, _shares if known else _rates, _offered_text)
    return figure


def _throughputs(rows: list[Row]) -> Attributes:
    figures = [figure_of(row, "throughput") for row in rows]
    return {"x": [figure.value for figure in figures], "error_x": error_bars(figures)}


def _shares(rows: list[Row]) -> Attributes:
    return {"x": [100 * (row.offered_share or 0) for row in rows]}


def _rates(rows: list[Row]) -> Attributes:
    return {"x": [row.rate for row in rows]}


def _offered_text(row: Row) -> str:
    return f"{row.sent:.0f} texts/s sent, {throughput_of(row):.0f} answered, {row.rejected} rejected"


def _mark(figure: go.Figure, x: float, words: str) -> None:
    figure.add_vline(x=x, line={"color": GREY, "dash": "dash"}, annotation_text=words, annotation_position="top left")


def _draw_lines(
    figure: go.Figure,
    record: BenchmarkRecord,
    rows: list[Row],
    x_of: Callable[[list[Row]], Attributes],
    hover: Callable[[Row], str],
) -> None:
    """Draw the latencies of each line of `lines_of`, and offer buttons for the percentiles.

    `x_of` gives a line's points along the x axis, `hover` what is shown when a point is pointed at.
    """
    lines = lines_of(record, rows)
    for colour, points in lines:
        first, way = points[0], (points[0].protocol, points[0].transport)
        figure.add_scatter(
            **x_of(points),
            **_latencies(points, "p99_ms"),
            mode="lines+markers",
            name=f"{first.subject}, {transport_text(first)}",
            line={"color": colour, "dash": _DASHES.get(way, "dash")},
            marker={"size": 8, "symbol": ["circle" if row.status == "ok" else "x-open" for row in points]},
            visible=True if len(lines) <= _MOST_LINES or way == _MAIN_WAY else "legendonly",
            customdata=[hover(row) + ("" if row.status == "ok" else ", invalid run") for row in points],
            hovertemplate="%{customdata}<br>%{y:.1f} ms<extra>%{fullData.name}</extra>",
        )
    if lines:
        buttons = [_percentile_button([points for _, points in lines], measure) for measure in _PERCENTILES]
        offer_buttons(figure, buttons, len(buttons) - 1)
    ends = [end for row in rows for measure in _PERCENTILES for end in figure_of(row, measure).interval]
    figure.update_yaxes(**logarithmic(min(ends, default=1.0), max(ends, default=1.0)))


def main_ways(record: BenchmarkRecord, rows: list[Row]) -> list[Row]:
    """Return the published model's rows and the others' over gRPC: as many lines as fit."""
    return [row for row in rows if row.subject == record.model or (row.protocol, row.transport) == _MAIN_WAY]


def lines_of(record: BenchmarkRecord, rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Return (colour, rows) of each model and way to it, rows by their load.

    A model has one colour in all figures.
    """
    lines: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.concurrency or row.rate or 0):
        lines.setdefault((row.subject, row.protocol, row.transport), []).append(row)
    ways = dict.fromkeys((row.subject, row.protocol, row.transport) for row in rows)
    subjects = list(record.subjects)
    return [(COLOURS[subjects.index(way[0]) % len(COLOURS)], lines[way]) for way in ways]


def _latencies(rows: list[Row], measure: str) -> Attributes:
    figures = [figure_of(row, measure) for row in rows]
    return {"y": [figure.value for figure in figures], "error_y": error_bars(figures)}


def error_bars(figures: list[Figure]) -> Attributes:
    """Return the intervals as Plotly's error bars."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(figure.interval[1] - figure.value, 0.0) for figure in figures],
        "arrayminus": [max(figure.value - figure.interval[0], 0.0) for figure in figures],
        "thickness": 1,
    }


def _percentile_button(lines: list[list[Row]], measure: str) -> Button:
    latencies = [_latencies(points, measure) for points in lines]
    label = measure.removesuffix("_ms")
    traces = {name: [line[name] for line in latencies] for name in ("y", "error_y")}
    return label, traces, {"yaxis.title.text": f"{label} latency (ms)"}
