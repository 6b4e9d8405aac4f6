"""Show two runs of one corpus side by side on one page, with what differs marked.

Reads the records of both runs, as `slipway report` does, and writes B/compare.html.

    slipway compare runs/a runs/b
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from serving.benchmark.highlights import best_row, best_single_client, figure_of, of_engine
from serving.benchmark.record import BenchmarkRecord
from serving.report.benchmark_text import VerdictText, figure_text, headline_row, percent
from serving.report.html import render_page, write_page
from serving.report.model.training_text import TASK_NOUNS, text_reader
from serving.report.reading import read_run
from serving.report.records import OfflineCheck, RunRecords
from serving.report.shown import configuration
from serving.report.shown.names import with_plain_names
from serving.report.shown.places import without_machine_paths
from serving.report.summary import VERDICTS, PageHead, all_versions, page_head, provenance, run_figures
from slipway import console, errors
from slipway.contract.parity import comparison, judgement
from slipway.contract.parity.bounds import CONFIDENCE
from slipway.contract.parity.comparison import Comparison
from slipway.errors import ManifestError

_SIGNIFICANT = 1 - CONFIDENCE  # McNemar's exact p below which a difference is a result
_WITHOUT_VERDICT = VerdictText("", "")
_OTHER_TIMES = VerdictText("measured at different times: no verdict", "soft")
_SPEED_FACTS = {
    "texts/s": _OTHER_TIMES,
    "p99 of one client, ms": _OTHER_TIMES,
    "padding, share of the tokens": _WITHOUT_VERDICT,
    "of what the engine does alone": VerdictText("each against its engine in its own run", "soft"),
}
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


@dataclass(frozen=True, slots=True)
class ComparedFact:
    """A fact of both runs, side by side."""

    name: str
    sides: tuple[str, str]  # of A, of B
    verdict: VerdictText = _WITHOUT_VERDICT
    differs: bool = False


def compare(arguments: argparse.Namespace) -> int:
    a, b = read_run(arguments.a), read_run(arguments.b)
    path = arguments.b / "compare.html"
    write_page(path, render_comparison(a, b))
    table = console.table("A against B", "", "A", "B", "", left=("",))
    for fact in compared_facts(a, b):
        table.add_row(fact.name, *fact.sides, fact.verdict.text)
    console.console().print(table)
    print(f"comparison  {path}")
    return 0


def render_comparison(a: RunRecords, b: RunRecords) -> str:
    """Return the page of two runs. Raises ManifestError unless `check_comparable` allows it."""
    check_comparable(a, b)
    a, b = (with_plain_names(without_machine_paths(run)) for run in (a, b))
    facts, heads = compared_facts(a, b), _heads(a, b)
    none = dict.fromkeys(_TITLES, go.Figure())
    figures = {"A": none | run_figures(a), "B": none | run_figures(b)}
    for name in _TITLES:
        _share_axes(name, figures["A"][name], figures["B"][name])
    return render_page(
        "compare.html.jinja",
        {f"{name}_{letter}": drawn[name] for name in _TITLES for letter, drawn in figures.items()},
        sides=[("A", heads[0], provenance(a)), ("B", heads[1], provenance(b))],
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


def _heads(a: RunRecords, b: RunRecords) -> list[PageHead]:
    """Return the heads of both sides; of runs of one name, with that of the directory above."""
    heads = [page_head(a), page_head(b)]
    if heads[0].name != heads[1].name:
        return heads
    above = [Path(run.run).absolute().parent.name for run in (a, b)]
    return [replace(head, name=f"{parent}/{head.name}") for head, parent in zip(heads, above, strict=True)]


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


def check_comparable(a: RunRecords, b: RunRecords) -> None:
    """Raise ManifestError unless both runs have the same corpus, task and labels."""
    sides = {
        "corpora": (_corpus(a), _corpus(b)),
        "tasks": (a.bundle.task, b.bundle.task),
        "labels": (", ".join(a.labels), ", ".join(b.labels)),
    }
    for what, (first, second) in sides.items():
        if first != second:
            raise ManifestError(
                f"two runs of different {what} cannot be compared",
                expected=f"{first}, as {a.run} has",
                found=second,
                where=b.run,
                fix=f"{errors.command('compare', a.run, 'RUN')}, where RUN was trained on the same corpus",
            )


def _corpus(run: RunRecords) -> str:
    return f"sha256 {run.bundle.corpus.sha256} ({run.bundle.corpus.where})"


def compared_facts(a: RunRecords, b: RunRecords) -> list[ComparedFact]:
    """Return what a person would look at first."""
    accuracy = accuracy_verdict(compare_answers(a, b), TASK_NOUNS[a.bundle.task][1])
    accuracies = percent(a.bundle.metrics.test_accuracy, 2), percent(b.bundle.metrics.test_accuracy, 2)
    first = ComparedFact("test accuracy, FP32 SavedModel", accuracies, accuracy, accuracy.css in ("good", "bad"))
    return [first, *_compared_variants(a, b), *_compared_speed(a, b)]


def accuracy_verdict(answers: Comparison | None, nouns: str) -> VerdictText:
    """Return which model is significantly more accurate; `nouns` says what was answered."""
    if answers is None:
        return VerdictText(f"Their held-out {nouns} differ, so that their accuracies cannot be compared row by row.", "wait")
    only = f"only B has {answers.gained:,d} right, only A {answers.lost:,d}"
    counts = f"Of {answers.labelled:,d} {nouns} {only}; McNemar p {answers.mcnemar_p:.2g}."
    if answers.mcnemar_p > _SIGNIFICANT:
        return VerdictText("No difference in accuracy can be shown.", "soft", counts)
    better, css = ("B", "good") if answers.gained > answers.lost else ("A", "bad")
    return VerdictText(f"{better} is more accurate.", css, counts)


def compare_answers(a: RunRecords, b: RunRecords) -> Comparison | None:
    """Compare B's SavedModel with A's on their held-out rows; None if these rows differ."""
    first, second = a.golden, b.golden
    compared = first.compared
    labels = first.labels[compared]
    if first.texts != second.texts or not np.array_equal(labels, second.labels[second.compared]):
        return None
    return comparison.compare_golden(first, second.logits, a.labels)


def _compared_variants(a: RunRecords, b: RunRecords) -> list[ComparedFact]:
    """Return flips and the bound on the accuracy loss, for every variant of either run."""
    first, second = ({result.variant: result for result in ([] if "parity" in run.missing else run.parity)} for run in (a, b))
    facts = []
    for variant in dict.fromkeys([*first, *second]):
        results = {"A": first.get(variant), "B": second.get(variant)}
        missing = [letter for letter, result in results.items() if result is None]
        failed = {letter: VERDICTS[result.verdict] for letter, result in results.items() if result and not result.passed}
        if missing:
            verdict = VerdictText(f"{missing[0]} has none", "wait")
        elif failed:
            words = ", ".join(f"{letter} is {verdict.text}" for letter, verdict in failed.items())
            verdict = VerdictText(words, "bad" if VERDICTS[judgement.WORSE] in failed.values() else "wait")
        else:
            verdict = VerdictText("both passed", "good")
        sides = _parity_text(results["A"]), _parity_text(results["B"])
        facts.append(ComparedFact(f"{variant}: flips, loss below", sides, verdict, verdict.css != "good"))
    return facts


def _parity_text(result: OfflineCheck | None) -> str:
    return f"{result.flips:,d} of {result.rows:,d}, {percent(result.accuracy_loss_bound, 2)}" if result else "–"


def _compared_speed(a: RunRecords, b: RunRecords) -> list[ComparedFact]:
    engines = [configuration.in_short(run.configuration) if run.configuration else "–" for run in (a, b)]
    pairs = zip(_SPEED_FACTS.items(), _speed_texts(a), _speed_texts(b), strict=True)
    facts = [ComparedFact(name, (first, second), verdict) for (name, verdict), first, second in pairs]
    return [ComparedFact("it runs", (engines[0], engines[1]), differs=engines[0] != engines[1]), *facts]


def _speed_texts(run: RunRecords) -> list[str]:
    """Return the values of _SPEED_FACTS; of a run that was not measured `–`."""
    if "benchmark" in run.missing:
        return ["–"] * len(_SPEED_FACTS)
    record = run.benchmark
    best, single = best_row(record), best_single_client(record)
    top = headline_row(record, best) if best and best.status == "ok" else None  # invalid: it has no speed to show
    share = of_engine(record, top) if top else None
    return [
        figure_text(figure_of(top, "throughput")) if top else "–",
        figure_text(figure_of(single, "p99_ms")) if single else "–",
        percent(record.padding.waste),
        "–" if share is None else percent(share, 0),
    ]


def provenance_differences(a: RunRecords, b: RunRecords) -> list[ComparedFact]:
    """Return what differs in how the runs were made and measured."""
    first, second = _provenance(a), _provenance(b)
    sides = {name: (first.get(name, "–"), second.get(name, "–")) for name in dict.fromkeys([*first, *second])}
    return [ComparedFact(name, pair, differs=True) for name, pair in sides.items() if pair[0] != pair[1]]


def _provenance(run: RunRecords) -> dict[str, str]:
    source = run.bundle
    return {
        "encoder": source.encoder.made_from or source.encoder.handle,
        **{name: str(value) for name, value in source.hyper_parameters.items() if name != "corpus"},
        **(_measured_with(run.benchmark) if "benchmark" not in run.missing else {}),
        **all_versions(run),
    }


def _measured_with(record: BenchmarkRecord) -> dict[str, str]:
    return {
        "machine": f"{record.machine['cpu']}, {record.machine['cores']} cores",
        "commit": record.commit,
        "benchmark": f"{record.setting}, {record.rounds} rounds",
    }
