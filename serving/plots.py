"""The report's plots: JSON records → Plotly figures. Transparent, in mid-tones, so that they stand on light and dark
pages alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

COLOURS = ("#2f7ed8", "#e07b39", "#3aa76d", "#a05fc0", "#c94f6d")
GREY = "#8a8f98"
_GRID = "rgba(138,143,152,0.25)"


def styled(figure: go.Figure, height: int) -> go.Figure:
    """The figure in the page's own colours, `height` pixels high, as wide as the page."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY, "family": "system-ui, sans-serif"},
        colorway=COLOURS,
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
    )
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": GREY}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def _figure(height: int, x: str, y: str) -> go.Figure:
    figure = styled(go.Figure(), height)
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def parity(records: list[dict[str, Any]]) -> go.Figure:
    """Accuracy loss by variant with its upper bound, against the limit."""
    figure = _figure(110 + 60 * len(records), "accuracy lost against the FP32 SavedModel (points)", "")
    names = [record["variant"] for record in records]
    losses = [100 * record["accuracy_loss"] for record in records]
    bounds = [100 * record["accuracy_loss_bound"] for record in records]
    limits = [100 * record["limits"]["accuracy_loss_bound"] for record in records]
    figure.add_scatter(
        x=losses,
        y=names,
        mode="markers",
        marker={"size": 11},
        name="measured, with its 95 % upper bound",
        error_x={"type": "data", "symmetric": False, "array": np.subtract(bounds, losses), "arrayminus": [0] * len(names)},
    )
    marker = {"symbol": "line-ns-open", "size": 26, "color": COLOURS[4], "line": {"width": 3}}
    figure.add_scatter(x=limits, y=names, mode="markers", name="limit for the bound", marker=marker)
    figure.update_yaxes(autorange="reversed")
    return figure


def latency(benchmark: dict[str, Any]) -> go.Figure:
    """Latency against throughput, a point for each number of clients; the bar is the spread over the rounds."""
    figure = _figure(420, "texts per second", "latency (ms)")
    rows = [row for row in benchmark["rows"] if "throughput" in row]
    for colour, protocol in zip(COLOURS, ("http", "grpc"), strict=False):
        mine = [row for row in rows if row["protocol"] == protocol]
        x = [row["throughput"] for row in mine]
        spread = {
            "type": "data",
            "symmetric": False,
            "array": [row["throughput_most"] - row["throughput"] for row in mine],
            "arrayminus": [row["throughput"] - row["throughput_least"] for row in mine],
            "thickness": 1,
        }
        for percentile, dash in (("p50_ms", "solid"), ("p99_ms", "dot")):
            figure.add_scatter(
                x=x,
                y=[row[percentile] for row in mine],
                mode="lines+markers",
                name=f"{protocol} {percentile.removesuffix('_ms')}",
                line={"color": colour, "dash": dash},
                error_x=spread,
                customdata=[row["concurrency"] for row in mine],
                hovertemplate="%{customdata} clients: %{x:.0f} texts/s, %{y:.1f} ms<extra>%{fullData.name}</extra>",
            )
    limit = benchmark["engine_limit"]["texts_per_second"]
    figure.add_vline(x=limit, line={"color": GREY, "dash": "dash"}, annotation_text="the engine alone")
    figure.update_yaxes(type="log", dtick=1)
    return figure
