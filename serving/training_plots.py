"""The report's plots of training and of the model's answers: history.json and bundle.json's metrics → Plotly figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from serving.plots import COLOURS, GREY, styled

Steps = list[dict[str, Any]]
_POINTS = 1500  # drawn at most; of a longer run each is the mean of neighbours
_WINDOW = 1 / 30  # of the run: what the smoothed loss is the mean of
_LEAST_WINDOW = 10  # steps
_COUNTS_WRITTEN = 12  # labels up to which the matrix' cells hold their counts
_NAMES_WRITTEN = 60  # names along an axis that can be told apart
_ROWS_HIGH = 80  # rows of the matrix after which it grows no higher
_LONGEST_NAME = 24  # characters


def training(history: dict[str, Steps]) -> go.Figure:
    """Loss, learning rate and, of several epochs, validation accuracy, one above the other, by step.

    Skipped steps have no loss, and are left out.
    """
    taken = [line for line in history["steps"] if line["loss"] is not None]
    validation = [line for line in history["validation"] if line["validation_loss"] is not None]
    accuracy = len(validation) > 1
    heights = [0.56, 0.2, 0.24] if accuracy else [0.74, 0.26]
    figure = make_subplots(len(heights), 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights)
    _draw_loss(figure, taken, validation)
    at, rates = _thinned(_of(taken, "step"), _of(taken, "learning_rate"))
    figure.add_scatter(x=at, y=rates, mode="lines", name="learning rate", line={"color": COLOURS[2]}, row=2, col=1)
    if accuracy:
        points = {"x": _of(validation, "step"), "y": 100 * _of(validation, "validation_accuracy")}
        figure.add_scatter(**points, mode="lines+markers", name="validation accuracy", line={"color": COLOURS[3]}, row=3, col=1)
        figure.update_yaxes(title_text="accuracy (%)", row=3)
    styled(figure, 560 if accuracy else 440)
    figure.update_yaxes(title_text="loss", rangemode="tozero", row=1)
    figure.update_yaxes(title_text="rate", rangemode="tozero", exponentformat="power", nticks=4, row=2)
    figure.update_xaxes(title_text="step", row=len(heights))
    return figure


def _draw_loss(figure: go.Figure, taken: Steps, validation: Steps) -> None:
    steps, losses = _of(taken, "step"), _of(taken, "loss")
    window = min(len(losses), max(_LEAST_WINDOW, round(_WINDOW * len(losses))))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid") if window else losses
    at, values = _thinned(steps, losses)
    line = {"color": COLOURS[0], "width": 1}
    figure.add_scatter(x=at, y=values, mode="lines", name="loss", line=line, opacity=0.5, row=1, col=1)
    at, values = _thinned(steps[len(losses) - len(smooth) :], smooth)
    line = {"color": COLOURS[0], "width": 2.5}
    figure.add_scatter(x=at, y=values, mode="lines", name=f"mean of {window} steps", line=line, row=1, col=1)
    if validation:
        points = {"x": _of(validation, "step"), "y": _of(validation, "validation_loss")}
        marker = {"color": COLOURS[1], "size": 9}
        figure.add_scatter(**points, mode="lines+markers", name="validation loss", marker=marker, row=1, col=1)


def _of(lines: Steps, fact: str) -> NDArray[np.float64]:
    return np.array([line[fact] for line in lines], np.float64)


def _thinned(*columns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The columns as they are, or as means of neighbours, so that a long run does not make a large page."""
    parts = min(len(columns[0]), _POINTS)
    return [np.array([part.mean() for part in np.array_split(column, parts)]) if parts else column for column in columns]


def confusion(matrix: list[list[int]], labels: list[str]) -> go.Figure:
    """Rows: true label; columns: predicted label; the colour is the share of the row.

    Counts are written into the cells of a small matrix, and no zeros; names that would lie over each other are left out.
    """
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


def _counts(counts: NDArray[np.int64], shares: NDArray[np.float64], labels: list[str]) -> list[dict[str, Any]]:
    """The counts on their cells: white on dark cells, else of the grey that light and dark pages show."""
    return [
        {
            "x": labels[j],
            "y": labels[i],
            "text": str(counts[i, j]),
            "showarrow": False,
            "font": {"color": "white" if shares[i, j] > 0.5 else GREY},
        }
        for i, j in np.argwhere(counts)
    ]
