"""The report's plots of latency under load, closed and open: benchmark.json (docs/benchmark.schema.json) → Plotly figures.

Without data, a figure is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import plotly.graph_objects as go

from serving import speed_section
from serving.plots import COLOURS, GREY, Choice, figure, logarithmic, offer
from serving.speed_section import Record, Row

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
_MAIN_WAY = ("grpc", "network")
_DASHES = {_MAIN_WAY: "solid", ("http", "network"): "dot"}  # any shared memory: dashes
_MOST_LINES = 8  # shown at first; other ways wait in the legend for a tap, or, of other models, in the table


def latency(record: Record) -> go.Figure:
    """Latency against throughput, a point for each number of clients, with both intervals; a choice of percentiles."""
    rows = [row for row in speed_section.measured(record) if row["load"] == "closed" and row["lengths"] == "own"]
    if len(list(lines_of(record, rows))) > _MOST_LINES:
        rows = main_ways(record, rows)
    drawn = figure(460, "texts per second", "p99 latency (ms)")
    drawn.update_xaxes(rangemode="tozero")
    if rows:
        _mark(drawn, record["engine_limit"]["texts_per_second"], "the engine alone")
    return _draw(drawn, record, rows, _throughput, _answered)


def _throughput(mine: list[Row]) -> dict[str, Any]:
    values, intervals = _spread(mine, "throughput")
    return {"x": values, "error_x": error(values, intervals)}


def _answered(row: Row) -> str:
    return f"{speed_section.load(row)}: {row['throughput']['value']:.0f} texts/s"


def open_loop(record: Record) -> go.Figure:
    """Latency against the rate at which texts arrive at random, as a share of the model's capacity, where that is known."""
    rows = [row for row in speed_section.measured(record) if row["load"] == "poisson" and row["lengths"] == "own"]
    known = all(row["offered_share"] is not None for row in rows)
    drawn = figure(420, "texts that arrive" + (", % of the model's capacity" if known else " a second"), "p99 latency (ms)")
    if rows and known:
        _mark(drawn, 100, "capacity")
    return _draw(drawn, record, rows, _shares if known else _rates, _offered)


def _shares(mine: list[Row]) -> dict[str, Any]:
    return {"x": [100 * row["offered_share"] for row in mine]}


def _rates(mine: list[Row]) -> dict[str, Any]:
    return {"x": [row["rate"] for row in mine]}


def _offered(row: Row) -> str:
    return f"{row['sent']:.0f} texts/s sent, {row['throughput']['value']:.0f} answered, {row['rejected']} rejected"


def _mark(drawn: go.Figure, x: float, words: str) -> None:
    drawn.add_vline(x=x, line={"color": GREY, "dash": "dash"}, annotation_text=words, annotation_position="top left")


def _draw(
    drawn: go.Figure, record: Record, rows: list[Row], along: Callable[[list[Row]], dict[str, Any]], said: Callable[[Row], str]
) -> go.Figure:
    """A line of latencies for each subject and way to it. `along`: where its points are on the x axis; `said`: what a point is."""
    lines = list(lines_of(record, rows))
    for subject, colour, mine in lines:
        way = (mine[0]["protocol"], mine[0]["transport"])
        drawn.add_scatter(
            **along(mine),
            **_percentile(mine, "p99_ms"),
            mode="lines+markers",
            name=f"{subject}, {speed_section.over(mine[0])}",
            line={"color": colour, "dash": _DASHES.get(way, "dash")},
            marker={"size": 8, "symbol": ["circle" if row["status"] == "ok" else "x-open" for row in mine]},
            visible=True if len(lines) <= _MOST_LINES or way == _MAIN_WAY else "legendonly",
            customdata=[said(row) + ("" if row["status"] == "ok" else ", invalid run") for row in mine],
            hovertemplate="%{customdata}<br>%{y:.1f} ms<extra>%{fullData.name}</extra>",
        )
    if lines:
        _offer_percentiles(drawn, [mine for _, _, mine in lines])
    drawn.update_yaxes(**_every_percentile(rows))
    return drawn


def main_ways(record: Record, rows: list[Row]) -> list[Row]:
    """Every way to the published model, to the others gRPC alone: what a plot of many can hold."""
    return [row for row in rows if row["subject"] == record["model"] or (row["protocol"], row["transport"]) == _MAIN_WAY]


def lines_of(record: Record, rows: list[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Rows of one subject and one way to it, by their load, with the subject's colour, which all plots share."""
    ways = dict.fromkeys((row["subject"], row["protocol"], row["transport"]) for row in rows)
    for way in ways:
        mine = [row for row in rows if (row["subject"], row["protocol"], row["transport"]) == way]
        mine.sort(key=lambda row: row["concurrency"] or row["rate"])
        yield way[0], _colour(record, way[0]), mine


def _colour(record: Record, subject: str) -> str:
    return COLOURS[list(record["subjects"]).index(subject) % len(COLOURS)]


def _percentile(rows: list[Row], measure: str) -> dict[str, Any]:
    values, intervals = _spread(rows, measure)
    return {"y": values, "error_y": error(values, intervals)}


def _spread(rows: list[Row], measure: str) -> tuple[list[float], list[tuple[float, float]]]:
    return [row[measure]["value"] for row in rows], [row[measure]["interval"] for row in rows]


def error(values: list[float], intervals: list[tuple[float, float]]) -> dict[str, Any]:
    pairs = list(zip(values, intervals, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(high - value, 0.0) for value, (_, high) in pairs],
        "arrayminus": [max(value - low, 0.0) for value, (low, _) in pairs],
        "thickness": 1,
    }


def _every_percentile(rows: list[Row]) -> dict[str, Any]:
    ends = [end for row in rows for measure in _PERCENTILES for end in row[measure]["interval"]]
    return logarithmic(min(ends, default=1.0), max(ends, default=1.0))


def _offer_percentiles(drawn: go.Figure, lines: list[list[Row]]) -> None:
    choices: list[Choice] = []
    for measure in _PERCENTILES:
        found = [_percentile(mine, measure) for mine in lines]
        short = measure.removesuffix("_ms")
        change = {"y": [one["y"] for one in found], "error_y": [one["error_y"] for one in found]}
        choices.append((short, change, {"yaxis.title.text": f"{short} latency (ms)"}))
    offer(drawn, choices, len(choices) - 1)
