"""Parity records as a table in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from train import terminal

_ELSEWHERE = " *"


def show(
    records: list[dict[str, Any]],
    skipped: dict[str, dict[str, str]] | None = None,
    failed: Mapping[str, Exception] | None = None,
) -> None:
    console = terminal.console()
    columns = ("variant", "flips", "rate <", "accuracy", "loss <", "|Δlogit|", "padding", "verdict")
    title = "Parity with the FP32 SavedModel (<: one-sided 95 % upper bound)"
    table = terminal.table(title, *columns, left=("variant", "verdict"))
    for record in records:
        table.add_row(
            record["variant"],
            f"{record['flips']}/{record['rows']}",
            f"{record['flip_rate_bound']:.2%}",
            f"{record['accuracy']:.2%}",
            f"{record['accuracy_loss_bound']:.2%}",
            f"{record['logit_difference_max']:.1e}",
            f"{record['invariance']['difference_max']:.1e}" if "invariance" in record else "–",
            terminal.verdict(record["passed"]) + ("" if record["as_meant"] else _ELSEWHERE),
        )
    for name in failed or {}:
        table.add_row(name, *["–"] * 6, terminal.VERDICTS["FAILED"])
    for name in skipped or {}:
        table.add_row(name, *["–"] * 6, terminal.VERDICTS["skipped"])
    console.print(table)
    console.print("[dim]|Δlogit|: largest change of a logit; padding: the same for a row alone, in a batch, and padded longer[/]")
    if any(not record["as_meant"] for record in records):
        names = ", ".join(record["variant"] for record in records if not record["as_meant"])
        console.print(f"[yellow]*[/] {names}: compared on a CPU, but meant for a GPU, whose arithmetic is another")
    for record in records:
        for failure in record["failures"]:
            console.print(
                f"[red]{record['variant']}[/]: {failure['what']} is {failure['would_pass']:.4g}, limit {failure['limit']:.4g}"
                f" (a limit of {failure['would_pass']:.4g} would have passed)"
            )
        for sentence in record["diagnosis"]:
            console.print(f"[red]{record['variant']}[/]: looks like this: {sentence}")
    for error in dict.fromkeys((failed or {}).values()):
        names = ", ".join(name for name, found in (failed or {}).items() if found is error)
        print(f"\n{names}: {error}", file=sys.stderr)
    for reason, fix in dict.fromkeys((why["reason"], why["fix"]) for why in (skipped or {}).values()):
        names = ", ".join(name for name, why in (skipped or {}).items() if why["reason"] == reason)
        console.print(f"[yellow]skipped[/] {names}: {reason}. To provide it: {fix}")
