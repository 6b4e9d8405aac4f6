"""Show a run's records on one self-contained page, RUN/report.html, and print its summary.

It measures and judges nothing. What has not run yet is named with its command. It exits with 1 if a
variant that was not left out changed the answers, offline or served.

    slipway report runs/demo
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from serving.benchmark import highlights
from serving.report import benchmark_text, data_text
from serving.report.html import render_page, write_page
from serving.report.model import answers, card, request, training_text
from serving.report.reading import read_run
from serving.report.records import MODEL_CARD, LiveCheck, OfflineCheck, RunRecords
from serving.report.shown import configuration, downloads
from serving.report.shown.names import with_plain_names
from serving.report.shown.places import without_machine_paths
from serving.report.summary import (
    VERDICTS,
    not_run,
    not_yet,
    page_head,
    provenance,
    run_figures,
    served_elsewhere,
    served_reasons,
    unseen_sentence,
)
from slipway import console, errors


def report(arguments: argparse.Namespace) -> int:
    run = read_run(arguments.run)
    path = arguments.run / "report.html"
    write_page(path, render_report(run))
    _print_summary(run)
    print(f"report  {path}")
    return 1 if run.failed else 0


def render_report(run: RunRecords) -> str:
    """Return the page of a run. It names no directory of this machine, but in commands."""
    run = with_plain_names(without_machine_paths(run))
    metrics = run.bundle.metrics
    single, several = training_text.TASK_NOUNS[run.bundle.task]
    return render_page(
        "report.html.jinja",
        run_figures(run),
        run=run,
        bundle=run.bundle,
        not_yet=not_yet(run),
        **_of_benchmark(run),
        head=page_head(run),
        single=single,
        several=several,
        text_of=training_text.text_reader(run.golden),
        precision=_precision,
        verdicts=VERDICTS,
        served_reasons=served_reasons,
        elsewhere=served_elsewhere(run),
        advice=configuration.advice(run),
        is_chosen=configuration.is_chosen,
        slo_text=configuration.slo_text,
        unseen="" if "parity" in run.missing else unseen_sentence(run.parity[0].unseen),
        accuracies=training_text.accuracy_table(metrics),
        classes=training_text.worst_classes(metrics),
        mix_ups=training_text.mix_ups(metrics.confusion, run.labels),
        training=training_text.training_facts(metrics, run.training) if run.training else [],
        **_of_model(run),
        data=_data(run),
        no_data=data_text.missing_card(run),
        not_run=not_run(run),
        provenance=provenance(run),
        downloads=downloads.downloads(run.files, None if "benchmark" in run.missing else run.benchmark),
    )


def _of_model(run: RunRecords) -> dict[str, Any]:
    """Return what the page shows of the model's answers, of asking it, and of its card."""
    return {
        "examples": answers.example_answers(run.golden, run.labels),
        "errors": answers.confident_errors(run.golden, run.labels),
        "request": request.example_request(run.bundle.task, run.golden),
        "serve": errors.command("serve", run.run),
        "card": card.card_facts(run),
        "limits": card.model_limits(run),
        "own_words": card.own_paragraphs(run.own_words),
        "own_file": MODEL_CARD,
    }


def _of_benchmark(run: RunRecords) -> dict[str, Any]:
    """Return what the page shows of the benchmark; `benchmark` is None if there is none yet."""
    if "benchmark" in run.missing:
        return {"benchmark": None, "commands": []}
    record = run.benchmark
    comparisons = benchmark_text.comparison_texts(record)
    main = len({(comparison.a, comparison.b) for comparison in highlights.main_comparisons(record)})
    return {
        "benchmark": record,
        "main_comparisons": [comparison for comparison in comparisons[:main] if comparison.counts],
        "other_comparisons": [comparison for comparison in comparisons[main:] if comparison.counts],
        "uncounted": [comparison for comparison in comparisons if not comparison.counts],
        "uncounted_sentence": benchmark_text.uncounted_sentence(comparisons),
        "of_engine": partial(highlights.of_engine, record),
        "transport": benchmark_text.transport_text,
        "load": benchmark_text.load_text,
        "machine_state": benchmark_text.machine_state(record),
        "padding": benchmark_text.padding_by_model(record),
        "offers": benchmark_text.offers(record),
        "best_offers": benchmark_text.best_offers(record),
        "price_command": errors.command("bench", run.run, "--price-per-hour", "PRICE"),
        "commands": [(benchmark_text.row_name(row), row.command) for row in record.rows],
    }


def _data(run: RunRecords) -> dict[str, Any]:
    """Return what the page shows of the card of the data; nothing if the run has none."""
    if (card := run.bundle.data_card) is None:
        return {}
    rows = data_text.label_rows(run, card)
    largest, smallest = data_text.ends(rows)
    return {
        "splits": card.splits,
        "golden_rows": len(run.golden.texts),
        "leak": data_text.leak_warning(run, card) if "test" in card.leaks else "",
        "warnings": data_text.data_warnings(run, card),
        "facts": data_text.data_facts(run, card),
        "labels": rows,
        "largest": largest,
        "smallest": smallest,
    }


def _precision(result: OfflineCheck) -> str:
    """Return what a variant computes in, without precisions of less than 0.5 % of its weights."""
    weights = result.precision.weights if result.precision else {}
    return ", ".join(f"{benchmark_text.percent(share, 0)} {kind}" for kind, share in weights.items() if share > 0.005) or "–"


def _print_summary(run: RunRecords) -> None:
    run = with_plain_names(run)
    screen = console.console()
    if "parity" not in run.missing:
        screen.print(_summary_table(run))
    for variant, why in run.left_out.items():
        print(f"{variant} was left out: {why}")
    if "parity" not in run.missing and not all(result.as_meant for result in run.parity):
        print("* compared on a CPU, but meant for a GPU, which rounds differently")
    metrics = run.bundle.metrics
    several = training_text.TASK_NOUNS[run.bundle.task][1]
    screen.print(f"test accuracy {metrics.test_accuracy:.2%} on {metrics.test_rows} {several}")
    if "benchmark" not in run.missing:
        record, verdict = run.benchmark, benchmark_text.speed_verdict(run.benchmark)
        screen.print(f"{record.model} on {record.variant}: {verdict.text} {verdict.more}")
    for address, check in served_elsewhere(run):
        print(f"{address}: {check.rows - check.flips} of {check.rows} answers the same, {VERDICTS[check.verdict].text}")
    for fix, why in {fix: why for why, fix in not_yet(run).values()}.items():
        print(f"not yet     {fix}  ({why})")


def _summary_table(run: RunRecords) -> Table:
    columns = ("variant", "flips", "accuracy", "loss <", "served flips", "texts/s", "verdict")
    table = console.table("Summary", *columns, left=("variant", "verdict"))
    checks = run.served.checks if "served" not in run.missing else ()
    for result in run.parity:
        table.add_row(*_summary_row(result, [check for check in checks if check.variant == result.variant]))
    for variant in run.skipped:
        table.add_row(variant, *["–"] * 5, console.VERDICTS["skipped"])
    return table


def _summary_row(result: OfflineCheck, checks: list[LiveCheck]) -> list[str | Text]:
    worst = max(checks, key=lambda check: check.flips, default=None)
    verdict = next((check.verdict for check in (result, *checks) if not check.passed), result.verdict)
    return [
        result.variant,
        f"{result.flips}/{result.rows}",
        f"{result.accuracy:.2%}",
        f"{result.accuracy_loss_bound:.2%}",
        f"{worst.flips}/{worst.rows}" if worst else "–",
        f"{result.texts_per_second:.0f}",
        console.VERDICTS[verdict] + ("" if result.as_meant else " *"),
    ]
