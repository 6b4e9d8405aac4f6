"""How the report's plots look, transparent and in mid-tones so that they stand on light and dark pages alike; and parity's."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

COLOURS = ("#2f7ed8", "#e07b39", "#3aa76d", "#a05fc0", "#c94f6d", "#c9a227", "#2ba5b5", "#8d6e52")
GREY = "#8a8f98"
Choice = tuple[str, dict[str, Any], dict[str, Any]]  # label of a button, what it changes of the traces, and of the layout
_GRID = "rgba(138,143,152,0.25)"


def styled(figure: go.Figure, height: int) -> go.Figure:
    """The figure in the page's own colours, `height` pixels high, as wide as the page."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY, "family": "system-ui, sans-serif", "size": 13},
        colorway=COLOURS,
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": GREY}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def figure(height: int, x: str, y: str) -> go.Figure:
    """An empty one, `height` pixels high, with the titles of its axes."""
    drawn = styled(go.Figure(), height)
    drawn.update_xaxes(title_text=x)
    drawn.update_yaxes(title_text=y)
    return drawn


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis that holds these figures, its ticks written out: 1, 2, 5, 10, …, or closer of a short one."""
    digits = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [digit * 10.0**power for power in range(-4, 7) for digit in digits]
    shown = [tick for tick in ticks if low / 3 <= tick <= high * 3]
    span = [float(np.log10(end)) for end in (low / 1.15, high * 1.15)]
    return {"type": "log", "range": span, "tickvals": shown, "ticktext": [f"{tick:g}" for tick in shown]}


def small(words: str) -> str:
    """A second line below a name on an axis."""
    return f'<br><span style="font-size:11px">{words}</span>'


def offer(drawn: go.Figure, choices: list[Choice], active: int) -> None:
    """Buttons beside the figure, of which number `active` is what is drawn.

    The page makes them (`page.html.jinja`), not Plotly, whose buttons lie over the axes of a small screen.
    """
    made = [{"label": label, "traces": traces, "layout": layout} for label, traces, layout in choices]
    drawn.update_layout(meta={"choices": made, "active": active})


def parity(records: list[dict[str, Any]]) -> go.Figure:
    """Accuracy loss by variant with its upper bound, against the limit."""
    drawn = figure(110 + 60 * len(records), "accuracy lost against the FP32 SavedModel (points)", "")
    names = [record["variant"] for record in records]
    losses = [100 * record["accuracy_loss"] for record in records]
    bounds = [100 * record["accuracy_loss_bound"] for record in records]
    limits = [100 * record["limits"]["accuracy_loss_bound"] for record in records]
    drawn.add_scatter(
        x=losses,
        y=names,
        mode="markers",
        marker={"size": 11},
        name="measured, with its 95 % upper bound",
        error_x={"type": "data", "symmetric": False, "array": np.subtract(bounds, losses), "arrayminus": [0] * len(names)},
    )
    marker = {"symbol": "line-ns-open", "size": 26, "color": COLOURS[4], "line": {"width": 3}}
    drawn.add_scatter(x=limits, y=names, mode="markers", name="limit for the bound", marker=marker)
    drawn.update_yaxes(autorange="reversed", automargin=True)
    return drawn
