"""Figures of what a text costs, out of a benchmark's record: against what, where, and how accurate.

A figure whose data the record does not have is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import plotly.graph_objects as go

from serving.benchmark.highlights import figure_of, measured_rows, ranked_comparisons, throughput_of
from serving.benchmark.record import BenchmarkRecord, Comparison, Row
from serving.report.benchmark_text import load_text, row_difference, row_name, transport_text
from serving.report.figures import COLOURS, GREY, Attributes, Button, empty_figure, logarithmic, offer_buttons, small
from slipway.statistics import Figure

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
_MAIN_WAY = ("grpc", "network")
_DASHES = {_MAIN_WAY: "solid", ("http", "network"): "dot"}  # any shared memory: dashes
_MOST_LINES = 8  # more are not all shown at first: the legend offers the others, or the table has them
_MOST_BARS = 16
_STAGES = {
    "client_ms": ("client", COLOURS[7]),
    "network_ms": ("network and protocol", COLOURS[3]),
    "queue_ms": ("queue", COLOURS[4]),
    "tokenizing_ms": ("tokenizing", COLOURS[2]),
    "engine_ms": ("engine", COLOURS[0]),
    "padding_ms": ("padding", COLOURS[1]),
    "postprocessing_ms": ("post-processing", COLOURS[5]),
    "other_ms": ("Triton's own, copies", GREY),
}
_VERDICTS = {"faster": COLOURS[2], "slower": COLOURS[4], "no difference": GREY}


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
    """Draw latency against the rate at random, a share of the capacity where it is known."""
    rows = measured_rows(record, "poisson")
    known = all(row.offered_share is not None for row in rows)
    figure = empty_figure(420, "load, % of capacity" if known else "texts that arrive a second", "p99 latency (ms)")
    if rows and known:
        _mark(figure, 100, "capacity")
    x_of = (lambda row: 100 * (row.offered_share or 0)) if known else (lambda row: row.rate or 0.0)
    _draw_lines(figure, record, rows, lambda points: {"x": [x_of(row) for row in points]}, _offered)
    return figure


def _throughputs(rows: list[Row]) -> Attributes:
    figures = [figure_of(row, "throughput") for row in rows]
    return {"x": [figure.value for figure in figures], "error_x": error_bars(figures)}


def _offered(row: Row) -> str:
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
    """Draw latencies of each line at `x_of`, `hover` as its points' text, with buttons."""
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
    """Return (colour, rows by load) of each model and way; a model keeps its colour."""
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


def ratios_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw how many times better a is than b; latencies count inversely, so that more is better."""
    rows = record.by_id
    labelled = [
        (_label(rows[comparison.a], rows[comparison.b]), comparison)
        for comparison in ranked_comparisons(record)
        if comparison.verdict in _VERDICTS
    ]
    names = list(dict.fromkeys(label for label, _ in labelled))[:_MOST_BARS]
    labelled = [(label, comparison) for label, comparison in labelled if label in names]
    figure = empty_figure(100 + 62 * len(names), "times better", "")
    if not labelled:
        return figure
    measures = list(dict.fromkeys(comparison.measure for _, comparison in labelled))
    traces = {measure: [_ratio_trace(labelled, measure, verdict) for verdict in _VERDICTS] for measure in measures}
    for (verdict, colour), trace in zip(_VERDICTS.items(), traces[measures[0]], strict=True):
        hover = "%{y}<br>%{customdata}<extra>%{fullData.name}</extra>"
        marker = {"size": 11, "color": colour}
        figure.add_scatter(**trace, mode="markers", name=verdict, marker=marker, hovertemplate=hover, showlegend=True)
    buttons: list[Button] = [
        (measure.removesuffix("_ms"), {name: [trace[name] for trace in of_measure] for name in of_measure[0]}, {})
        for measure, of_measure in traces.items()
    ]
    offer_buttons(figure, buttons, 0)
    figure.add_vline(x=1, line={"color": GREY, "dash": "dash"})
    ends = [1.0, *(end for _, comparison in labelled for end in _times_better(comparison).interval)]
    figure.update_xaxes(**logarithmic(min(ends), max(ends)))
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], automargin=True)
    figure.update_yaxes(range=[-0.5, len(names) - 0.5])
    return figure


def _label(a: Row, b: Row) -> str:
    first, second, shared = row_difference(a, b)
    return f"{first}<br>against {second}{small(shared) if shared else ''}"


def _ratio_trace(labelled: list[tuple[str, Comparison]], measure: str, verdict: str) -> Attributes:
    """Return the points of the comparisons of one measure that came to this verdict."""
    points = [point for point in labelled if (point[1].measure, point[1].verdict) == (measure, verdict)]
    ratios = [_times_better(comparison) for _, comparison in points]
    return {
        "x": [ratio.value for ratio in ratios],
        "y": [label for label, _ in points],
        "error_x": error_bars(ratios),
        "customdata": [f"{comparison.ratio:.2f} × {comparison.measure}" for _, comparison in points],
    }


def _times_better(comparison: Comparison) -> Figure:
    """Return the ratio of a comparison that has one, inverted for a latency."""
    ratio, (low, high) = comparison.ratio or 0.0, comparison.interval or (0.0, 0.0)
    return Figure(ratio, (low, high)) if comparison.measure == "throughput" else Figure(1 / ratio, (1 / high, 1 / low))


def stages_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw where the time of one request goes, a bar for each load: as shares of it, or in ms."""
    rows = _rows_with_stages(record)
    breakdowns = [asdict(row.stages) for row in rows if row.stages]
    totals = [sum(breakdown.values()) for breakdown in breakdowns]
    names = [row.subject + small(f"{load_text(row)}, {transport_text(row)}") for row in rows]
    figure = empty_figure(150 + 40 * len(rows), "% of latency", "")
    shares, times = [], []
    for stage, (words, colour) in _STAGES.items():
        ms = [breakdown[stage] for breakdown in breakdowns]
        if not any(ms):
            continue
        times.append(ms)
        shares.append([100 * time / total for time, total in zip(ms, totals, strict=True)])
        figure.add_bar(
            x=shares[-1],
            y=names,
            orientation="h",
            name=words,
            marker={"color": colour},
            customdata=list(zip(ms, shares[-1], strict=True)),
            hovertemplate="%{customdata[0]:.2f} ms, %{customdata[1]:.1f} %<extra>%{fullData.name}</extra>",
        )
    if rows:
        units = (("share", shares, "% of latency"), ("ms", times, "ms, mean"))
        buttons: list[Button] = [
            (label, {"x": values}, {"xaxis.title.text": title, "xaxis.autorange": True}) for label, values, title in units
        ]
        offer_buttons(figure, buttons, 0)
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _rows_with_stages(record: BenchmarkRecord) -> list[Row]:
    """Return the closed loops with a breakdown; of many, each line's with the most clients."""
    rows = [row for row in measured_rows(record, "closed") if row.stages]
    if len(rows) <= _MOST_BARS:
        return rows
    chosen: list[Row] = []
    for _, points in lines_of(record, main_ways(record, rows)):
        chosen += points[:1] + points[1:][-1:] if points[0].subject == record.model else points[-1:]
    return chosen[:_MOST_BARS]


def padding_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw padding ÷ all tokens computed, and the number of texts, by the length of the texts."""
    groups = record.padding.by_length
    figure = empty_figure(340, "tokens of a text", "padding (%)")
    if not groups:
        return figure
    tokens = [group.tokens for group in groups]
    figure.add_bar(
        x=tokens,
        y=[group.texts for group in groups],
        name="texts",
        yaxis="y2",
        marker={"color": "rgba(138,143,152,0.35)"},
        hovertemplate="%{y} texts of %{x} tokens<extra></extra>",
    )
    figure.add_scatter(
        x=tokens,
        y=[100 * group.waste for group in groups],
        name="padding",
        mode="lines+markers",
        line={"color": COLOURS[1], "width": 2.5},
        marker={"size": 9},
        hovertemplate="%{y:.1f} % padding<extra></extra>",
    )
    figure.update_yaxes(rangemode="tozero", tickmode="auto", nticks=6)
    figure.update_xaxes(type="category")
    second = {
        "overlaying": None,
        "side": "right",
        "title": {"text": "texts", "font": {"size": 13}},
        "showgrid": False,
        "rangemode": "tozero",
    }
    figure.update_layout(yaxis2=second, yaxis={"overlaying": "y2"})
    return figure


def front_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw the accuracy that may be lost against throughput, with the Pareto front of both."""
    offers = [offer for offer in record.choice.rows if offer.accuracy_loss_bound is not None]
    offers.sort(key=lambda offer: offer.texts_per_second)
    figure = empty_figure(380, "texts per second", "accuracy lost, at most (points)")
    kinds = (
        ("Pareto front", [offer for offer in offers if offer.on_front], "lines+markers", "circle", COLOURS[2]),
        ("others", [offer for offer in offers if not offer.on_front], "markers", "circle-open", GREY),
        ("the most that holds", [offer for offer in offers if offer.row == record.choice.chosen], "markers", "star", COLOURS[1]),
    )
    names = {row.id: row_name(row) for row in record.rows}
    for title, shown, mode, symbol, colour in kinds:
        if shown:
            figure.add_scatter(
                x=[offer.texts_per_second for offer in shown],
                y=[100 * (offer.accuracy_loss_bound or 0.0) for offer in shown],
                mode=mode,
                name=title,
                line={"color": colour, "dash": "dot"},
                marker={"size": 16 if symbol == "star" else 11, "symbol": symbol, "color": colour},
                customdata=[[names[offer.row], offer.p99_ms] for offer in shown],
                hovertemplate="%{customdata[0]}<br>%{x:.0f} texts/s, p99 below %{customdata[1]:.0f} ms, "
                "loses less than %{y:.2f} points<extra></extra>",
            )
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    return figure
