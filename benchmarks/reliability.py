"""The table of docs/reliability.md, from the raw lines that `make reliability` writes.

records/reliability/<experiment>.jsonl holds, for each test of that experiment: a line `test` (date,
commit, machine), its figures, and a line `outcome`, which a test lacks that ended with its process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import RECORDS, Machine, Table
from slipway.contract.records import from_json

LINES = RECORDS / "reliability"


@dataclass
class Tested:
    """One test's figures and how it ended."""

    header: dict[str, Any]
    figures: list[dict[str, Any]] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=lambda: {"outcome": "not finished", "reason": "", "seconds": 0.0})


def read(path: Path) -> tuple[str, list[Tested]]:
    """Return an experiment's name and its tests; of a test that ran twice, the last."""
    tests: dict[str, Tested] = {}
    name = path.stem
    for text in path.read_text("utf-8").splitlines():
        line = json.loads(text)
        name = line["experiment"]
        if line["line"] == "test":
            tests[line["test"]] = Tested(line)
        elif line["line"] == "figure":
            tests[line["test"]].figures.append(line)
        elif line["line"] == "outcome":
            tests[line["test"]].outcome = line
    return name, list(tests.values())


def page() -> str:
    """Return the table of all experiments, those that failed first, with links to their lines."""
    experiments = [(path, *read(path)) for path in sorted(LINES.glob("*.jsonl"))]
    if not experiments:
        return "Not measured yet: `make reliability`.\n"
    rows = [row for path, name, tests in experiments for row in _rows(path, name, tests)]
    rows.sort(key=lambda row: not row[2].startswith("**failed"))
    headers = [test.header for _, _, tests in experiments for test in tests]
    dates, commits = ({str(header[key])[:10] for header in headers} for key in ("date", "commit"))
    machine = from_json(Machine, headers[0]["machine"])
    when = f"{', '.join(sorted(dates))}, commit {', '.join(sorted(commits))}"
    note = f"{len(experiments)} experiments, {len(headers)} tests; {when}, {machine}."
    return Table("", ("experiment", "measured (limit)", "tests"), rows, note).markdown()


def _rows(path: Path, name: str, tests: list[Tested]) -> list[tuple[str, ...]]:
    figures = [_figure(figure) for test in tests for figure in test.figures]
    passed = sum(test.outcome["outcome"] == "passed" for test in tests)
    failed = [test for test in tests if test.outcome["outcome"] not in ("passed", "skipped")]
    ended = f"{passed} passed"
    for test in tests:
        if test.outcome["outcome"] == "skipped":
            ended += f", skipped: {test.outcome['reason']}"
    if failed:
        ended = f"**failed {len(failed)} of {len(tests)}**: {'; '.join(test.outcome['reason'] for test in failed)}"
    link = f"[{name}](../benchmarks/records/reliability/{path.name})"
    return [(link, "; ".join(dict.fromkeys(figures)) or "behaviour only", ended)]


def _figure(figure: dict[str, Any]) -> str:
    limits = [f"{sign} {_number(figure[key])}" for key, sign in (("at_most", "≤"), ("at_least", "≥")) if figure[key] is not None]
    measured = f"{figure['what']} {_number(figure['value'])} {figure['unit']}".rstrip()
    return measured + (f" ({', '.join(limits)})" if limits else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
