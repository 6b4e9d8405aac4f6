"""What the pages show of one run: its head, its figures, what its variants changed, what was not
run, where it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from serving.benchmark.record import BenchmarkRecord
from serving.report.benchmark_figures import (
    front_figure,
    latency_figure,
    open_loop_figure,
    padding_figure,
    ratios_figure,
    stages_figure,
)
from serving.report.benchmark_text import VerdictText, percent, speed_tiles, speed_verdict
from serving.report.figures import confusion_figure, parity_figure, training_figure
from serving.report.model.training_text import TASK_NOUNS, task_title
from serving.report.records import ElsewhereRecord, LiveCheck, RunRecords
from slipway.contract.parity import judgement
from slipway.contract.parity.comparison import Unseen
from slipway.errors import ManifestError

VERDICTS = {  # what a page writes for one
    judgement.PASSED: VerdictText("passed", "good"),
    judgement.WORSE: VerdictText("worse", "bad"),
    judgement.UNDECIDED: VerdictText("not decided", "wait"),
}
_STAGES = {
    "parity": "conversion and comparison",
    "served": "comparison of the live server",
    "benchmark": "benchmark",
    "elsewhere": "comparison of the server elsewhere",
}
_NAMED_CLASSES = 10  # of those that too few rows judge
_WRONG_ANSWERS = 5  # shown of a model


@dataclass(frozen=True, slots=True)
class PageHead:
    """The head of a page, or of a page's side."""

    name: str  # the run's
    made: str  # `measured on 2026-03-04`; "": not recorded
    task: str
    answers: VerdictText
    speed: VerdictText
    tiles: list[tuple[str, str]]  # number, what it is
    encoder: str
    machine: str

    @property
    def title(self) -> str:
        return f"{self.name}, {self.made}" if self.made else self.name


def page_head(run: RunRecords) -> PageHead:
    """Return the head of the page of a run that may have no benchmark yet."""
    measured = "benchmark" not in run.missing
    machine = run.benchmark.machine if measured else {}
    return PageHead(
        name=Path(run.run).absolute().name,  # of "." too
        made=_made(run),
        task=task_title(run.bundle.task, run.labels),
        answers=_answers_verdict(run),
        speed=speed_verdict(run.benchmark) if measured else VerdictText("How fast it answers was not measured yet.", "wait"),
        tiles=_accuracy_tiles(run) + (speed_tiles(run.benchmark, TASK_NOUNS[run.bundle.task][1]) if measured else []),
        encoder=run.bundle.encoder.made_from or run.bundle.encoder.handle,
        machine=f"{machine['cpu']}, {machine['cores']} cores" if machine else "",
    )


def _made(run: RunRecords) -> str:
    made = "measured" if "benchmark" not in run.missing else "imported" if run.training is None else "trained"
    return f"{made} on {run.made_on}" if run.made_on else ""


def _answers_verdict(run: RunRecords) -> VerdictText:
    if run.failed:
        return VerdictText("The answers changed: see the rows that did not pass.", "bad")
    if "parity" in run.missing:
        return VerdictText("Nothing is converted and compared yet: this is the trained model alone.", "wait")
    served_yet = "served" not in run.missing
    checked = {check.variant for check in run.served.checks} if served_yet else set()
    passed = [record.variant for record in run.parity if record.variant not in run.left_out]
    served, offline = (", ".join(variant for variant in passed if (variant in checked) is live) for live in (True, False))
    text = "Converted and served, it gives the answers of the trained model."
    more = [f"Passed after conversion and when served: {served}."] if served_yet else []
    if offline:
        more.append(f"Passed after conversion{' alone' if served_yet else ''}: {offline}.")
    if not served_yet:
        text = "Converted, it gives the answers of the trained model. The live server was not asked yet."
    if isinstance(run.elsewhere, ElsewhereRecord):
        more.append(f"Passed elsewhere: {', '.join(run.elsewhere.addresses)}{_on(run.elsewhere.made_at)}.")
    if run.left_out:
        more.append(f"Left out: {', '.join(_left_out_words(run))}.")
    return VerdictText(text, "good" if served_yet and not run.left_out else "wait", " ".join(more))


def _on(made_at: str) -> str:
    day = made_at.partition("T")[0]
    return f" (asked on {day})" if day else ""


def _left_out_words(run: RunRecords) -> list[str]:
    verdicts = {record.variant: VERDICTS[record.verdict].text for record in run.parity}
    return [f"{variant} ({verdicts.get(variant, 'not compared')})" for variant in run.left_out]


def _accuracy_tiles(run: RunRecords) -> list[tuple[str, str]]:
    metrics, nouns = run.bundle.metrics, TASK_NOUNS[run.bundle.task][1]
    tiles = [(percent(metrics.test_accuracy, 2), f"test accuracy on {metrics.test_rows:,d} {nouns}, FP32 SavedModel")]
    if metrics.entities:
        tiles.append((percent(metrics.entities.f1, 2), f"entity F1 of {metrics.entities.rows:,d} entities"))
    if "served" not in run.missing:
        worst = max(run.served.checks, key=lambda check: check.flip_rate_bound)
        most = f", at most ({worst.model})" if worst.flips and len(run.served.checks) > 1 else ""
        tiles.append((f"{worst.flips:,d} of {worst.rows:,d}", f"labels changed when served{most}"))
    return tiles


def run_figures(run: RunRecords) -> dict[str, go.Figure]:
    """Return every figure of the run by its name; one without data is empty, and of a record that
    is missing there is none.
    """
    figures = {
        "confusion": confusion_figure(run.bundle.metrics.confusion, run.labels),
        "training": training_figure(run.training) if run.training else go.Figure(),
    }
    if "parity" not in run.missing:
        figures["parity"] = parity_figure(run.parity)
    return figures | (_benchmark_figures(run.benchmark) if "benchmark" not in run.missing else {})


def _benchmark_figures(record: BenchmarkRecord) -> dict[str, go.Figure]:
    return {
        "ratios": ratios_figure(record),
        "latency": latency_figure(record),
        "open_loop": open_loop_figure(record),
        "stages": stages_figure(record),
        "padding": padding_figure(record),
        "front": front_figure(record),
    }


def served_reasons(check: LiveCheck) -> str:
    """Return why a served model did not pass, in a line; "" if it did."""
    wrong = [*check.wrong_answers[:_WRONG_ANSWERS]]
    if more := len(check.wrong_answers) - len(wrong):
        wrong.append(f"and {more:,d} more wrong answers")
    return "; ".join([*([judgement.reason([*check.failures])] if check.failures else []), *wrong])


def unseen_sentence(unseen: Sequence[Unseen]) -> str:
    """Return which classes the golden rows cannot judge, "" if they judge all."""
    if not unseen:
        return ""
    named = ", ".join(f"{group.label} ({_unseen_text(group)})" for group in unseen[:_NAMED_CLASSES])
    more = f" and {len(unseen) - _NAMED_CLASSES} more" if len(unseen) > _NAMED_CLASSES else ""
    return f"Too few held-out rows to judge these labels: {named}{more}."


def _unseen_text(group: Unseen) -> str:
    if not group.rows:
        return "no row has it"
    rows = "1 row" if group.rows == 1 else f"{group.rows} rows"
    text = f"{rows}, up to {percent(group.loss, 0)} of its right answers could be lost unseen"
    return text if group.answered else f"{text}, and the SavedModel never answers it"


def served_elsewhere(run: RunRecords) -> list[tuple[str, LiveCheck]]:
    """Return (address, check) of each server that `verify --address` asked."""
    if not isinstance(run.elsewhere, ElsewhereRecord):
        return []
    return list(zip(run.elsewhere.addresses, run.elsewhere.checks, strict=False))


def not_yet(run: RunRecords) -> dict[str, tuple[str, str]]:
    """Return why each record that is missing is so, and the command that writes it."""
    outdated = {"elsewhere": run.elsewhere} if isinstance(run.elsewhere, ManifestError) else {}
    missing = run.missing | outdated
    return {name: (f"{error.summary}: {Path(error.where).name}", error.fix) for name, error in missing.items()}


def not_run(run: RunRecords) -> list[tuple[str, str, str]]:
    """Return (what, why, fix) of what was not run yet, and of what this machine could not run."""
    waiting = [(_STAGES[name], *why) for name, why in not_yet(run).items()]
    alike: dict[tuple[str, str], list[str]] = {}
    for variant, skipped in run.skipped.items():
        alike.setdefault((skipped["reason"], skipped["fix"]), []).append(variant)
    variants = [(", ".join(names), *why) for why, names in alike.items()]
    measured = run.benchmark.skipped if "benchmark" not in run.missing else {}
    return waiting + variants + [(name, why, "") for name, why in measured.items()]


def all_versions(run: RunRecords) -> dict[str, str]:
    """Return the versions of the libraries that trained, compared and measured the run."""
    compared = run.parity[0].versions if "parity" not in run.missing else {}
    return run.bundle.versions | compared | (run.benchmark.versions if "benchmark" not in run.missing else {})


def provenance(run: RunRecords) -> list[tuple[str, str]]:
    """Return names and values of what the run was made from, how, and where."""
    source = run.bundle
    made = [
        ("corpus", f"{source.corpus.where} (sha256 {source.corpus.sha256[:16]}…)"),
        ("encoder", f"{source.encoder.handle} (sha256 {source.encoder.sha256[:16]}…)"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(all_versions(run).items()))),
    ]
    return made + (_measured_on(run.benchmark) if "benchmark" not in run.missing else [])


def _measured_on(measured: BenchmarkRecord) -> list[tuple[str, str]]:
    machine = measured.machine
    return [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['cpu_flags'])}"),
        ("commit", measured.commit or "not a git checkout"),
        ("model repository", f"sha256 {measured.repository_sha256}"),
        ("benchmark", measured.command),
        ("it took", _duration(measured)),
    ]


def _duration(measured: BenchmarkRecord) -> str:
    text = f"{measured.seconds / 60:.1f} minutes, {percent(measured.harness_share)} of them neither load nor server"
    resumed = measured.resumed_loads
    return f"{text}; {resumed} loads were measured by an earlier command that did not end" if resumed else text
