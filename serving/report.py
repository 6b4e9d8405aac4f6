"""Render a run's records as one self-contained page, and print its summary. Nothing is measured or judged here.

Reads bundle.json, history.json, parity.json, skipped.json, served.json, benchmark.json; writes report.html.

    python -m serving.report --run runs/demo
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from serving import page, run_records, run_view, speed_section, training_section
from train import errors, terminal


def main() -> int:
    arguments = _parse()
    facts = run_records.gather(arguments.run)
    written = arguments.run / "report.html"
    page.write(written, render(facts))
    _print_summary(facts, written)
    return 0 if run_records.passed(facts) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, for example runs/demo")
    return parser.parse_args()


def render(facts: dict[str, Any]) -> str:
    """The page of a run's records, as `run_records.gather` finds them."""
    return page.render("report.html.jinja", run_view.figures(facts), **facts, **run_view.summary(facts), **_sections(facts))


def _sections(facts: dict[str, Any]) -> dict[str, Any]:
    source, metrics, record = facts["bundle"], facts["bundle"]["metrics"], facts["benchmark"]
    one, several = training_section.nouns(source["task"])
    return {
        "one": one,
        "several": several,
        "compared": speed_section.comparisons(record),
        "first": len({(one["a"], one["b"]) for one in speed_section.main(record)}),
        "of_engine": partial(speed_section.of_engine, record),
        "over": speed_section.over,
        "load": speed_section.load,
        "machine_state": speed_section.machine_state(record),
        "padding": speed_section.padding(record),
        "offers": speed_section.offers(record),
        "rows": facts["parity"][0]["rows"],
        "text_of": training_section.texts(facts["golden"]),
        "weights": _weights,
        "accuracies": training_section.accuracies(source),
        "classes": training_section.worst_classes(metrics),
        "mix_ups": training_section.mix_ups(metrics, facts["labels"]),
        "training": training_section.training(source, facts["history"]),
        "not_run": run_view.not_run(facts),
        "provenance": run_view.provenance(facts),
        "commands": [(speed_section.name(row), row["command"]) for row in record["rows"]],
    }


def _weights(parity: dict[str, Any]) -> str:
    """What a variant really computes in."""
    return ", ".join(f"{share:.0%} {kind}" for kind, share in parity["precision"]["weights"].items() if share > 0.005)


def _print_summary(facts: dict[str, Any], written: Path) -> None:
    columns = ("variant", "flips", "accuracy", "loss <", "served flips", "texts/s, offline", "verdict")
    table = terminal.table("Summary", *columns, left=("variant", "verdict"))
    for record in facts["parity"]:
        checks = [check for check in facts["served"]["checks"] if check["variant"] == record["variant"]]
        worst = max(checks, key=lambda check: check["flips"], default=None)
        good = record["passed"] and all(check["passed"] for check in checks)
        table.add_row(
            record["variant"],
            f"{record['flips']}/{record['rows']}",
            f"{record['accuracy']:.2%}",
            f"{record['accuracy_loss_bound']:.2%}",
            f"{worst['flips']}/{worst['rows']}" if worst else "–",
            f"{record['texts_per_second']:.0f}",
            terminal.verdict(good) + ("" if record["as_meant"] else " *"),
        )
    for name in facts["skipped"]:
        table.add_row(name, "–", "–", "–", "–", "–", terminal.VERDICTS["skipped"])
    console = terminal.console()
    console.print(table)
    if not all(record["as_meant"] for record in facts["parity"]):
        print("* compared on a CPU, but meant for a GPU, whose arithmetic is another")
    metrics = facts["bundle"]["metrics"]
    _, several = training_section.nouns(facts["bundle"]["task"])
    console.print(f"test accuracy {metrics['test_accuracy']:.2%} on {metrics['test_rows']} {several}")
    console.print(
        f"{facts['benchmark']['model']} on {facts['benchmark']['variant']}: {speed_section.headline(facts['benchmark'])[0]}"
    )
    print(f"report  {written}")


if __name__ == "__main__":
    errors.run(main)
