"""Parity records as a table in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from export.parity.gate import ParityRecord
from slipway import console
from slipway.contract.parity import judgement

_ELSEWHERE = " *"


def show(records: list[ParityRecord], skipped: Mapping[str, Mapping[str, str]], failed: Mapping[str, Exception]) -> None:
    screen = console.console()
    columns = ("variant", "flips", "rate <", "accuracy", "loss <", "|Δp|", "verdict")
    title = "Parity with the FP32 SavedModel (<: one-sided 95 % upper bound)"
    table = console.table(title, *columns, left=("variant", "verdict"))
    for record in records:
        table.add_row(*_row(record))
    for name in failed:
        table.add_row(name, *["–"] * 5, console.VERDICTS["FAILED"])
    for name in skipped:
        table.add_row(name, *["–"] * 5, console.VERDICTS["skipped"])
    screen.print(table)
    screen.print("|Δp|: 99th percentile of the change of a probability; more in parity.json", style="dim")
    if elsewhere := [record.artifact.variant.name for record in records if not record.as_meant]:
        names = ", ".join(elsewhere)
        _say(screen, "yellow", "*", f" {names}: compared on a CPU, but meant for a GPU, whose arithmetic is another")
    for record in records:
        _explain(screen, record)
    _name_unseen(screen, records)
    for error in dict.fromkeys(failed.values()):
        names = ", ".join(name for name, cause in failed.items() if cause is error)
        print(f"\n{names}: {error}", file=sys.stderr)
    for reason, fix in dict.fromkeys((why["reason"], why["fix"]) for why in skipped.values()):
        names = ", ".join(name for name, why in skipped.items() if why["reason"] == reason)
        _say(screen, "yellow", "skipped", f" {names}: {reason}. To provide it: {fix}")


def _explain(screen: Console, record: ParityRecord) -> None:
    """Print what did not pass, why, and what to do about it."""
    name, color = record.artifact.variant.name, "red" if record.verdict == judgement.WORSE else "yellow"
    for failure in record.failures:
        _say(screen, color, name, f": {failure}")
    for sentence in record.diagnosis:
        _say(screen, color, name, f": looks like this: {sentence}")
    if record.verdict == judgement.UNDECIDED:
        texts = "a classifier's texts without labels (--unlabelled FILE) count for changed answers, not for lost ones"
        _say(screen, color, name, f": too few golden rows to decide; {texts}")
    if record.failures:
        _say(screen, color, name, " is left out: what passed is built and served without it")


def _say(screen: Console, color: str, subject: str, text: str) -> None:
    """Print a line with its subject in a colour."""
    screen.print(Text.assemble((subject, color), text))


def _name_unseen(screen: Console, records: list[ParityRecord]) -> None:
    """Name the classes that the golden rows cannot judge; they are the same for every variant."""
    for group in records[0].measured.unseen if records else []:
        rows = "1 row has it" if group.rows == 1 else f"{group.rows} rows have it"
        lost = f"{group.loss:.0%} of its answers could be lost unseen ({rows}, {group.answered} are answered so)"
        _say(screen, "yellow", group.label, f": {lost if group.answered else f'the model never answers it ({rows})'}")


def _row(record: ParityRecord) -> list[str | Text]:
    measured = record.measured
    return [
        record.artifact.variant.name,
        f"{measured.flips}/{measured.rows}",
        f"{measured.flip_rate_bound:.2%}",
        f"{measured.accuracy:.2%}",
        f"{measured.accuracy_loss_bound:.2%}",
        f"{measured.probabilities.difference_p99:.1e}" if measured.probabilities else "–",
        console.VERDICTS[record.verdict] + ("" if record.as_meant else _ELSEWHERE),
    ]
