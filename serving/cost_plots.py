"""The report's plots of what a text costs: against what, in which stage, in padding, in accuracy.

benchmark.json (docs/benchmark.schema.json) → Plotly figures. Without data, a figure is empty.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from serving import speed_section
from serving.load_plots import error, lines_of, main_ways
from serving.plots import COLOURS, GREY, Choice, figure, logarithmic, offer, small
from serving.speed_section import Record, Row

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


def ratios(record: Record) -> go.Figure:
    """Of each comparison that is a result, how many times better a is than b, with its interval; a choice of measures.

    Latencies count inversely, so that more is better.
    """
    rows = {row["id"]: row for row in record["rows"]}
    found = [one for one in speed_section.ranked(record) if one["verdict"] in _VERDICTS]
    names = list(dict.fromkeys(_compared(one, rows) for one in found))[:_MOST_BARS]
    found = [one for one in found if _compared(one, rows) in names]
    drawn = figure(100 + 62 * len(names), "times better", "")
    if not found:
        return drawn
    measures = list(dict.fromkeys(one["measure"] for one in found))
    parts = {measure: [_part(found, rows, measure, verdict) for verdict in _VERDICTS] for measure in measures}
    for (verdict, colour), part in zip(_VERDICTS.items(), parts[measures[0]], strict=True):
        hover = "%{y}<br>%{customdata}<extra>%{fullData.name}</extra>"
        marker = {"size": 11, "color": colour}
        drawn.add_scatter(**part, mode="markers", name=verdict, marker=marker, hovertemplate=hover, showlegend=True)
    choices: list[Choice] = [
        (measure.removesuffix("_ms"), {name: [part[name] for part in of] for name in of[0]}, {}) for measure, of in parts.items()
    ]
    offer(drawn, choices, 0)
    drawn.add_vline(x=1, line={"color": GREY, "dash": "dash"})
    ends = [1.0, *(end for one in found for end in _better(one)[1:])]
    drawn.update_xaxes(**logarithmic(min(ends), max(ends)))
    drawn.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], automargin=True)
    drawn.update_yaxes(range=[-0.5, len(names) - 0.5])
    return drawn


def _part(found: list[dict[str, Any]], rows: dict[str, Row], measure: str, verdict: str) -> dict[str, Any]:
    """What is drawn of the comparisons of one measure that came to this verdict."""
    mine = [one for one in found if (one["measure"], one["verdict"]) == (measure, verdict)]
    values = [_better(one) for one in mine]
    return {
        "x": [value for value, _, _ in values],
        "y": [_compared(one, rows) for one in mine],
        "error_x": error([value for value, _, _ in values], [(low, high) for _, low, high in values]),
        "customdata": [f"{one['ratio']:.2f} × {one['measure']}" for one in mine],
    }


def _better(one: dict[str, Any]) -> tuple[float, float, float]:
    value, (low, high) = one["ratio"], one["interval"]
    return (value, low, high) if one["measure"] == "throughput" else (1 / value, 1 / high, 1 / low)


def _compared(one: dict[str, Any], rows: dict[str, Row]) -> str:
    first, second, shared = speed_section.apart(rows[one["a"]], rows[one["b"]])
    return f"{first}<br>against {second}{small(shared) if shared else ''}"


def stages(record: Record) -> go.Figure:
    """Where the time of one request goes, a bar for each load of the model that tells: as shares, or in ms."""
    rows = [row for row in speed_section.measured(record) if row["stages"] and row["load"] == "closed" and row["lengths"] == "own"]
    if len(rows) > _MOST_BARS:  # the heaviest load of each line, of the published model also the lightest
        lines = lines_of(record, main_ways(record, rows))
        ends = [mine[:1] + mine[1:][-1:] if subject == record["model"] else mine[-1:] for subject, _, mine in lines]
        rows = [row for pair in ends for row in pair][:_MOST_BARS]
    drawn = figure(150 + 40 * len(rows), "% of latency", "")
    names = [row["subject"] + small(f"{speed_section.load(row)}, {speed_section.over(row)}") for row in rows]
    totals = [sum(row["stages"].values()) for row in rows]
    shares, times = [], []
    for stage, (words, colour) in _STAGES.items():
        ms = [row["stages"][stage] for row in rows]
        if not any(ms):
            continue
        shares.append([100 * one / total for one, total in zip(ms, totals, strict=True)])
        times.append(ms)
        drawn.add_bar(
            x=shares[-1],
            y=names,
            orientation="h",
            name=words,
            marker={"color": colour},
            customdata=[[one, 100 * one / total] for one, total in zip(ms, totals, strict=True)],
            hovertemplate="%{customdata[0]:.2f} ms, %{customdata[1]:.1f} %<extra>%{fullData.name}</extra>",
        )
    if rows:
        kinds = (("share", shares, "% of latency"), ("ms", times, "ms, mean"))
        offer(drawn, [(label, {"x": values}, {"xaxis.title.text": t, "xaxis.autorange": True}) for label, values, t in kinds], 0)
    drawn.update_layout(barmode="stack", bargap=0.35)
    drawn.update_yaxes(autorange="reversed", automargin=True)
    return drawn


def padding(record: Record) -> go.Figure:
    """Share of the tokens computed that were padding, by the length of the texts, and how many texts are so long."""
    buckets = record["padding"]["by_length"]
    drawn = figure(340, "tokens of a text", "padding (%)")
    if not buckets:
        return drawn
    tokens = [one["tokens"] for one in buckets]
    drawn.add_bar(
        x=tokens,
        y=[one["texts"] for one in buckets],
        name="texts",
        yaxis="y2",
        marker={"color": "rgba(138,143,152,0.35)"},
        hovertemplate="%{y} texts of %{x} tokens<extra></extra>",
    )
    drawn.add_scatter(
        x=tokens,
        y=[100 * one["waste"] for one in buckets],
        name="padding",
        mode="lines+markers",
        line={"color": COLOURS[1], "width": 2.5},
        marker={"size": 9},
        hovertemplate="%{y:.1f} % padding<extra></extra>",
    )
    drawn.update_yaxes(rangemode="tozero", tickmode="auto", nticks=6)
    drawn.update_xaxes(type="category")
    second = {"overlaying": None, "side": "right", "title": {"text": "texts"}, "showgrid": False, "rangemode": "tozero"}
    drawn.update_layout(yaxis2=second, yaxis={"overlaying": "y2"})
    return drawn


def front(record: Record) -> go.Figure:
    """Accuracy that may be lost against throughput: what nothing else beats in both is on the line."""
    found = sorted((one for one in record["choice"]["rows"] if one["accuracy_loss_bound"] is not None), key=_throughput)
    drawn = figure(380, "texts per second", "accuracy lost, at most (points, 95 %)")
    kinds = (
        ("Pareto front", [one for one in found if one["on_front"]], "lines+markers", "circle", COLOURS[2]),
        ("others", [one for one in found if not one["on_front"]], "markers", "circle-open", GREY),
        ("chosen", [one for one in found if one["row"] == record["choice"]["chosen"]], "markers", "star", COLOURS[1]),
    )
    names = {row["id"]: speed_section.name(row) for row in record["rows"]}
    for title, mine, mode, symbol, colour in kinds:
        if mine:
            drawn.add_scatter(
                x=[_throughput(one) for one in mine],
                y=[100 * one["accuracy_loss_bound"] for one in mine],
                mode=mode,
                name=title,
                line={"color": colour, "dash": "dot"},
                marker={"size": 16 if title == "chosen" else 11, "symbol": symbol, "color": colour},
                customdata=[[names[one["row"]], one["p99_ms"]] for one in mine],
                hovertemplate="%{customdata[0]}<br>%{x:.0f} texts/s, p99 below %{customdata[1]:.0f} ms, "
                "loses less than %{y:.2f} points<extra></extra>",
            )
    drawn.update_xaxes(rangemode="tozero")
    drawn.update_yaxes(rangemode="tozero")
    return drawn


def _throughput(offer: dict[str, Any]) -> float:
    return float(offer["texts_per_second"])
