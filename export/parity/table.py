"""Parity records as a table in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from export.parity.gate import ParityRecord
from slipway import console

_ELSEWHERE = " *"


def show(records: list[ParityRecord], skipped: Mapping[str, Mapping[str, str]], failed: Mapping[str, Exception]) -> None:
    screen = console.console()
    columns = ("variant", "flips", "rate <", "accuracy", "loss <", "|Δlogit|", "padding", "verdict")
    title = "Parity with the FP32 SavedModel (<: one-sided 95 % upper bound)"
    table = console.table(title, *columns, left=("variant", "verdict"))
    for record in records:
        table.add_row(*_row(record))
    for name in failed:
        table.add_row(name, *["–"] * 6, console.VERDICTS["FAILED"])
    for name in skipped:
        table.add_row(name, *["–"] * 6, console.VERDICTS["skipped"])
    screen.print(table)
    screen.print("[dim]|Δlogit|: largest change of a logit; padding: the same for a row alone, in a batch, and padded longer[/]")
    if elsewhere := [record.artifact.variant.name for record in records if not record.as_meant]:
        names = ", ".join(elsewhere)
        screen.print(f"[yellow]*[/] {names}: compared on a CPU, but meant for a GPU, whose arithmetic is another")
    for record in records:
        name = record.artifact.variant.name
        for failure in record.failures:
            screen.print(f"[red]{name}[/]: {failure} (a limit of {failure.would_pass:.4g} would have passed)")
        for sentence in record.diagnosis:
            screen.print(f"[red]{name}[/]: looks like this: {sentence}")
    for error in dict.fromkeys(failed.values()):
        names = ", ".join(name for name, cause in failed.items() if cause is error)
        print(f"\n{names}: {error}", file=sys.stderr)
    for reason, fix in dict.fromkeys((why["reason"], why["fix"]) for why in skipped.values()):
        names = ", ".join(name for name, why in skipped.items() if why["reason"] == reason)
        screen.print(f"[yellow]skipped[/] {names}: {reason}. To provide it: {fix}")


def _row(record: ParityRecord) -> list[str]:
    measured, invariance = record.measured, record.measured.invariance
    return [
        record.artifact.variant.name,
        f"{measured.flips}/{measured.rows}",
        f"{measured.flip_rate_bound:.2%}",
        f"{measured.accuracy:.2%}",
        f"{measured.accuracy_loss_bound:.2%}",
        f"{measured.logit_difference_max:.1e}",
        f"{invariance.difference_max:.1e}" if invariance else "–",
        console.verdict(record.passed) + ("" if record.as_meant else _ELSEWHERE),
    ]
