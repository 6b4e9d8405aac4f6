"""Figures of what a text costs, out of a benchmark's record: against what, where, and how accurate.

A figure whose data the record does not have is empty.
"""

from __future__ import annotations

from dataclasses import asdict

import plotly.graph_objects as go

from serving.benchmark_record import BenchmarkRecord, Comparison, Figure, Row
from serving.load_plots import error_bars, lines_of, main_ways
from serving.plots import COLOURS, GREY, Attributes, Button, empty_figure, logarithmic, offer_buttons, small
from serving.speed_section import load_text, measured_rows, ranked_comparisons, row_difference, row_name, transport_text

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


def ratios_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw how many times better a is than b, with its interval, for each comparison with a result.

    Latencies count inversely, so that more is better; buttons offer the measures.
    """
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
    """Return the closed loops that have a latency breakdown.

    If they are many, only those with the most clients are returned, one for each line of
    `lines_of`, and for the published model also those with the fewest.
    """
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
    second = {"overlaying": None, "side": "right", "title": {"text": "texts"}, "showgrid": False, "rangemode": "tozero"}
    figure.update_layout(yaxis2=second, yaxis={"overlaying": "y2"})
    return figure


def front_figure(record: BenchmarkRecord) -> go.Figure:
    """Draw the accuracy that may be lost against throughput, with the Pareto front of both."""
    offers = [offer for offer in record.choice.rows if offer.accuracy_loss_bound is not None]
    offers.sort(key=lambda offer: offer.texts_per_second)
    figure = empty_figure(380, "texts per second", "accuracy lost, at most (points, 95 %)")
    kinds = (
        ("Pareto front", [offer for offer in offers if offer.on_front], "lines+markers", "circle", COLOURS[2]),
        ("others", [offer for offer in offers if not offer.on_front], "markers", "circle-open", GREY),
        ("chosen", [offer for offer in offers if offer.row == record.choice.chosen], "markers", "star", COLOURS[1]),
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
                marker={"size": 16 if title == "chosen" else 11, "symbol": symbol, "color": colour},
                customdata=[[names[offer.row], offer.p99_ms] for offer in shown],
                hovertemplate="%{customdata[0]}<br>%{x:.0f} texts/s, p99 below %{customdata[1]:.0f} ms, "
                "loses less than %{y:.2f} points<extra></extra>",
            )
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    return figure
