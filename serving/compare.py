"""Two runs of one corpus side by side on one self-contained page, differences marked. Nothing is measured here.

Reads of each run what serving.report reads; writes compare.html into B.

    python -m serving.compare runs/a runs/b
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from serving import page, run_difference, run_records, run_view, training_section
from train import errors, terminal

_PLOTS = {
    "latency": "Latency against throughput",
    "open_loop": "When they come at random",
    "stages": "Where the time goes",
    "padding": "Padding by length",
    "front": "Accuracy against speed",
    "parity": "Accuracy lost by variant",
    "confusion": "Which labels are mixed up",
    "training": "Training",
}
_LINEAR = {"latency": "x", "front": "xy", "parity": "x"}  # axes that both runs share, besides every logarithmic one


def main() -> int:
    arguments = _parse()
    first, second = run_records.gather(arguments.a), run_records.gather(arguments.b)
    run_difference.check(first, second)
    written = arguments.b / "compare.html"
    page.write(written, render(first, second))
    _print_lines(run_difference.lines(first, second))
    print(f"comparison  {written}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("a", type=Path, help="a run's directory, for example runs/a")
    parser.add_argument("b", type=Path, help="another's, of the same corpus")
    return parser.parse_args()


def render(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The page of two runs' records. Raises ManifestError when they are of different corpora."""
    run_difference.check(a, b)
    _, several = training_section.nouns(a["bundle"]["task"])
    compared = run_difference.answers(a, b)
    drawn = [run_view.figures(one) for one in (a, b)]
    figures = {name: (drawn[0][name], drawn[1][name]) for name in _PLOTS}
    for name, pair in figures.items():
        _share_axes(name, *pair)
    sides = [{"letter": letter, "run": one["run"], **run_view.summary(one)} for letter, one in zip("AB", (a, b), strict=True)]
    return page.render(
        "compare.html.jinja",
        {f"{name}_{letter}": one for name, pair in figures.items() for letter, one in zip("AB", pair, strict=True)},
        sides=sides,
        several=several,
        task=a["bundle"]["task"],
        labels=a["labels"],
        verdict=run_difference.verdict(compared, several),
        compared=compared,
        text_of=training_section.texts(a["golden"]),
        lines=run_difference.lines(a, b),
        made_otherwise=run_difference.made_otherwise(a, b),
        titles=_PLOTS,
        provenance=[run_view.provenance(one) for one in (a, b)],
    )


def _share_axes(name: str, a: go.Figure, b: go.Figure) -> None:
    """Give both figures ranges that hold the data of both, so that the eye may compare heights."""
    for axis in ("x", "y"):
        both = [figure.layout[f"{axis}axis"] for figure in (a, b)]
        if all(one.type == "log" for one in both):
            span = [min(one.range[0] for one in both), max(one.range[1] for one in both)]
        elif axis in _LINEAR.get(name, ""):
            values = [0.0, *(value for figure in (a, b) for trace in figure.data for value in _reach(trace, axis))]
            span = [min(values), 1.1 * max(values)]
        else:
            continue
        for figure in (a, b):
            figure.update_layout({f"{axis}axis": {"range": span}})


def _reach(trace: go.Scatter, axis: str) -> list[float]:
    """Where a line's points and their error bars reach along an axis."""
    values, more = trace[axis], trace[f"error_{axis}"].array
    return [*values, *(np.add(values, more) if more is not None else ())]


def _print_lines(lines: list[run_difference.Line]) -> None:
    table = terminal.table("A against B", "", "A", "B", "", left=("",))
    for line in lines:
        table.add_row(line.what, *line.sides, line.says)
    terminal.console().print(table)


if __name__ == "__main__":
    errors.run(main)
