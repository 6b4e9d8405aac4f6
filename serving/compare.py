"""Show two runs of one corpus side by side on one page, with what differs marked.

Reads the records of both runs, as `slipway report` does, and writes B/compare.html.

    slipway compare runs/a runs/b
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from serving.page import render_page, write_page
from serving.run_difference import (
    ComparedFact,
    check_comparable,
    compare_answers,
    compared_facts,
    provenance_differences,
)
from serving.run_records import RunRecords, read_run
from serving.run_view import page_head, provenance, run_figures
from serving.training_section import TASK_NOUNS, text_reader
from train import errors, terminal

_TITLES = {  # of figures, by their names
    "latency": "Latency against throughput",
    "open_loop": "When they come at random",
    "stages": "Where the time goes",
    "padding": "Padding by length",
    "front": "Accuracy against speed",
    "parity": "Accuracy lost by variant",
    "confusion": "Which labels are mixed up",
    "training": "Training",
}
_LINEAR = {"latency": "x", "front": "xy", "parity": "x"}  # linear axes that both runs share; all logarithmic ones are shared


def main() -> int:
    arguments = _parse()
    a, b = read_run(arguments.a), read_run(arguments.b)
    path = arguments.b / "compare.html"
    write_page(path, render_comparison(a, b))
    _print_facts(compared_facts(a, b))
    print(f"comparison  {path}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("a", type=Path, help="a run's directory, for example runs/a")
    parser.add_argument("b", type=Path, help="another's, of the same corpus")
    return parser.parse_args()


def render_comparison(a: RunRecords, b: RunRecords) -> str:
    """Return the page of two runs. Raises ManifestError unless `check_comparable` allows it."""
    check_comparable(a, b)
    facts = compared_facts(a, b)
    figures = {"A": run_figures(a), "B": run_figures(b)}
    for name in _TITLES:
        _share_axes(name, figures["A"][name], figures["B"][name])
    return render_page(
        "compare.html.jinja",
        {f"{name}_{letter}": drawn[name] for name in _TITLES for letter, drawn in figures.items()},
        sides=[(letter, run.run, page_head(run), provenance(run)) for letter, run in (("A", a), ("B", b))],
        several=TASK_NOUNS[a.bundle.task][1],
        task=a.bundle.task,
        labels=a.labels,
        verdict=facts[0].verdict,
        answers=compare_answers(a, b),
        text_of=text_reader(a.golden),
        facts=facts,
        provenance_differences=provenance_differences(a, b),
        titles=_TITLES,
    )


def _share_axes(name: str, a: go.Figure, b: go.Figure) -> None:
    """Give both figures axes that hold the data of both, so that heights can be compared by eye."""
    for axis in ("x", "y"):
        layouts = [figure.layout[f"{axis}axis"] for figure in (a, b)]
        if all(layout.type == "log" for layout in layouts):
            span = [min(layout.range[0] for layout in layouts), max(layout.range[1] for layout in layouts)]
        elif axis in _LINEAR.get(name, ""):
            values = [0.0, *(value for figure in (a, b) for trace in figure.data for value in _reach(trace, axis))]
            span = [min(values), 1.1 * max(values)]
        else:
            continue
        for figure in (a, b):
            figure.update_layout({f"{axis}axis": {"range": span}})


def _reach(trace: go.Scatter, axis: str) -> list[float]:
    """Return how far a trace's points and their error bars reach along an axis."""
    values, more = trace[axis], trace[f"error_{axis}"].array
    return [*values, *(np.add(values, more) if more is not None else ())]


def _print_facts(facts: list[ComparedFact]) -> None:
    table = terminal.table("A against B", "", "A", "B", "", left=("",))
    for fact in facts:
        table.add_row(fact.name, *fact.sides, fact.verdict.text)
    terminal.console().print(table)


if __name__ == "__main__":
    errors.run(main)
