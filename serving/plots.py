"""Style of the report's figures, and the figure of parity.

Backgrounds are transparent and colours mid-tones, so that figures stand on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from serving.run_records import OfflineCheck

COLOURS = ("#2f7ed8", "#e07b39", "#3aa76d", "#a05fc0", "#c94f6d", "#c9a227", "#2ba5b5", "#8d6e52")
GREY = "#8a8f98"
Attributes = dict[str, Any]  # of a Plotly trace, axis or layout, by Plotly's own names
Button = tuple[str, Attributes, Attributes]  # label, and what it changes: of the traces, of the layout
_GRID = "rgba(138,143,152,0.25)"


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Return the figure in the page's own colours, `height` pixels high and as wide as the page."""
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


def empty_figure(height: int, x: str, y: str) -> go.Figure:
    """Return a figure without data, `height` pixels high, with the titles of its axes."""
    figure = styled(go.Figure(), height)
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def logarithmic(low: float, high: float) -> Attributes:
    """Return a logarithmic axis that holds `low` to `high`.

    Its ticks are written out: 1, 2, 5, 10, … and, where the axis is short, numbers between them.
    """
    digits = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [digit * 10.0**power for power in range(-4, 7) for digit in digits]
    shown = [tick for tick in ticks if low / 3 <= tick <= high * 3]
    span = [float(np.log10(end)) for end in (low / 1.15, high * 1.15)]
    return {"type": "log", "range": span, "tickvals": shown, "ticktext": [f"{tick:g}" for tick in shown]}


def small(words: str) -> str:
    """Return HTML for a second line, in small print, below a name on an axis."""
    return f'<br><span style="font-size:11px">{words}</span>'


def offer_buttons(figure: go.Figure, buttons: list[Button], active: int) -> None:
    """Put buttons beside the figure, which is drawn as button number `active` has it.

    The page makes the buttons (page.html.jinja): Plotly's own lie over the axes of a small screen.
    """
    choices = [{"label": label, "traces": traces, "layout": layout} for label, traces, layout in buttons]
    figure.update_layout(meta={"choices": choices, "active": active})


def parity_figure(results: Sequence[OfflineCheck]) -> go.Figure:
    """Draw each variant's accuracy loss with its upper bound, and the limit for that bound."""
    figure = empty_figure(110 + 60 * len(results), "accuracy lost against the FP32 SavedModel (points)", "")
    names = [result.variant for result in results]
    losses = [100 * result.accuracy_loss for result in results]
    bounds = [100 * result.accuracy_loss_bound for result in results]
    figure.add_scatter(
        x=losses,
        y=names,
        mode="markers",
        marker={"size": 11},
        name="measured, with its 95 % upper bound",
        error_x={"type": "data", "symmetric": False, "array": np.subtract(bounds, losses), "arrayminus": [0] * len(names)},
    )
    figure.add_scatter(
        x=[100 * result.limits.accuracy_loss_bound for result in results],
        y=names,
        mode="markers",
        name="limit for the bound",
        marker={"symbol": "line-ns-open", "size": 26, "color": COLOURS[4], "line": {"width": 3}},
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
