"""Figures of training, test answers and parity; and the style that all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from serving.report.records import OfflineCheck, StepRecord, TrainingRecord, ValidationRecord

COLOURS = ("#2f7ed8", "#e07b39", "#3aa76d", "#a05fc0", "#c94f6d", "#c9a227", "#2ba5b5", "#8d6e52")
GREY = "#8a8f98"
Attributes = dict[str, Any]  # of a Plotly trace, axis or layout, by Plotly's own names
Button = tuple[str, Attributes, Attributes]  # label, and what it changes: of the traces, of the layout
_GRID = "rgba(138,143,152,0.25)"
_POINTS = 1500  # drawn at most; in a longer run each point is the mean of neighbouring steps
_WINDOW = 1 / 30  # of the run, over which the loss is smoothed
_LEAST_WINDOW = 10  # steps
_COUNTS_WRITTEN = 12  # labels up to which the matrix' cells hold their counts
_NAMES_WRITTEN = 60  # names along an axis that can be told apart
_ROWS_HIGH = 80  # rows of the matrix after which it grows no higher
_LONGEST_NAME = 24  # characters


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
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": GREY, "title_font_size": 13}
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
    """Return a logarithmic axis that holds `low` to `high`, its ticks written out."""
    digits = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [digit * 10.0**power for power in range(-4, 7) for digit in digits]
    shown = [tick for tick in ticks if low / 3 <= tick <= high * 3]
    span = [float(np.log10(end)) for end in (low / 1.15, high * 1.15)]
    return {"type": "log", "range": span, "tickvals": shown, "ticktext": [f"{tick:g}" for tick in shown]}


def small(words: str) -> str:
    """Return HTML for a second line, in small print, below a name on an axis."""
    return f'<br><span style="font-size:11px">{words}</span>'


def offer_buttons(figure: go.Figure, buttons: list[Button], active: int) -> None:
    """Offer buttons, made by page.html.jinja: Plotly's own lie over the axes of a small screen."""
    choices = [{"label": label, "traces": traces, "layout": layout} for label, traces, layout in buttons]
    figure.update_layout(meta={"choices": choices, "active": active})


def parity_figure(results: Sequence[OfflineCheck]) -> go.Figure:
    """Draw each variant's accuracy loss with its upper bound, and the limit for that bound."""
    figure = empty_figure(110 + 60 * len(results), "accuracy lost (points)", "")
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


def training_figure(record: TrainingRecord) -> go.Figure:
    """Draw loss, learning rate and, of several validations, accuracy by step."""
    steps = [step for step in record.steps if step.loss is not None]
    validations = [validation for validation in record.validation if validation.validation_loss is not None]
    accuracy = len(validations) > 1
    heights = [0.56, 0.2, 0.24] if accuracy else [0.74, 0.26]
    figure = make_subplots(len(heights), 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights)
    _draw_loss(figure, steps, validations)
    x, rates = _thinned(_column(steps, "step"), _column(steps, "learning_rate"))
    figure.add_scatter(x=x, y=rates, mode="lines", name="learning rate", line={"color": COLOURS[2]}, row=2, col=1)
    if accuracy:
        points = {"x": _column(validations, "step"), "y": 100 * _column(validations, "validation_accuracy")}
        figure.add_scatter(**points, mode="lines+markers", name="validation accuracy", line={"color": COLOURS[3]}, row=3, col=1)
        figure.update_yaxes(title_text="accuracy (%)", row=3)
    styled(figure, 560 if accuracy else 440)
    figure.update_yaxes(title_text="loss", rangemode="tozero", row=1)
    figure.update_yaxes(title_text="rate", rangemode="tozero", exponentformat="power", nticks=4, row=2)
    figure.update_xaxes(title_text="step", row=len(heights))
    return figure


def _draw_loss(figure: go.Figure, steps: list[StepRecord], validations: list[ValidationRecord]) -> None:
    numbers, losses = _column(steps, "step"), _column(steps, "loss")
    window = min(len(losses), max(_LEAST_WINDOW, round(_WINDOW * len(losses))))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid") if window else losses
    x, y = _thinned(numbers, losses)
    line = {"color": COLOURS[0], "width": 1}
    figure.add_scatter(x=x, y=y, mode="lines", name="loss", line=line, opacity=0.5, row=1, col=1)
    x, y = _thinned(numbers[len(losses) - len(smooth) :], smooth)
    line = {"color": COLOURS[0], "width": 2.5}
    figure.add_scatter(x=x, y=y, mode="lines", name=f"mean of {window} steps", line=line, row=1, col=1)
    if validations:
        points = {"x": _column(validations, "step"), "y": _column(validations, "validation_loss")}
        marker = {"color": COLOURS[1], "size": 9}
        figure.add_scatter(**points, mode="lines+markers", name="validation loss", marker=marker, row=1, col=1)


def _column(records: Sequence[StepRecord | ValidationRecord], name: str) -> NDArray[np.float64]:
    return np.array([getattr(record, name) for record in records], np.float64)


def _thinned(*columns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return at most _POINTS means of neighbours, so that a long run makes no large page."""
    parts = min(len(columns[0]), _POINTS)
    return [np.array([part.mean() for part in np.array_split(column, parts)]) if parts else column for column in columns]


def confusion_figure(matrix: list[list[int]], labels: list[str]) -> go.Figure:
    """Draw the confusion matrix; a cell's colour is its share of the row, which is a true label."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = styled(go.Figure(), max(360, 120 + 16 * min(len(labels), _ROWS_HIGH)))
    figure.add_heatmap(
        z=shares.round(3),
        x=labels,
        y=labels,
        customdata=counts,
        colorscale=[[0, "rgba(47,126,216,0.06)"], [1, "rgba(47,126,216,0.85)"]],
        showscale=False,
        hovertemplate="true %{y}, predicted %{x}: %{customdata}<extra></extra>",
    )
    if len(labels) <= _COUNTS_WRITTEN:
        figure.update_layout(annotations=_counts(counts, shares, labels))
    every = -(-len(labels) // _NAMES_WRITTEN)
    names = [label if len(label) <= _LONGEST_NAME else label[: _LONGEST_NAME - 1] + "…" for label in labels]
    ticks = {"type": "category", "tickvals": labels[::every], "ticktext": names[::every], "showgrid": False, "automargin": True}
    figure.update_xaxes(title_text="predicted", **ticks)
    figure.update_yaxes(title_text="true label", autorange="reversed", **ticks)
    return figure


def _counts(counts: NDArray[np.int64], shares: NDArray[np.float64], labels: list[str]) -> list[Attributes]:
    """Return the counts as annotations: white on dark cells, elsewhere grey."""
    return [
        {
            "x": labels[column],
            "y": labels[row],
            "text": str(counts[row, column]),
            "showarrow": False,
            "font": {"color": "white" if shares[row, column] > 0.5 else GREY},
        }
        for row, column in np.argwhere(counts)
    ]
