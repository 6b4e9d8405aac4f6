"""Experiments of reliability: tests of faults and load, whose raw lines become the table of
docs/reliability.md.

A test says which experiment it belongs to with `@pytest.mark.experiment("stub killed")`; several
tests, wherever they lie, may belong to one. What it measures goes through the `experiment`
fixture, with the limit it has to hold. Nothing is written but with `--lines DIRECTORY`: one file
an experiment, a JSON line for each event, figure and outcome. `make reliability` does that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from slipway import provenance

_REPORT = pytest.StashKey[pytest.TestReport]()  # of its call, or of the phase that did not pass


@dataclass
class Experiment:
    """What one test of an experiment measures."""

    name: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    def measure(
        self, what: str, value: float, unit: str = "", *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Record a figure and hold it to its limits; without a limit it is only shown.

        Raises AssertionError where a limit is missed, after the figure was recorded.
        """
        self.lines.append({"line": "figure", "what": what, "value": value, "unit": unit, "at_most": at_most, "at_least": at_least})
        assert at_most is None or value <= at_most, f"{self.name}: {what} is {value:g} {unit}, at most {at_most:g} wanted"
        assert at_least is None or value >= at_least, f"{self.name}: {what} is {value:g} {unit}, at least {at_least:g} wanted"


_MEASURED = pytest.StashKey[Experiment]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("experiments", "experiments of reliability")
    group.addoption("--lines", type=Path, help="write each experiment's raw lines into this directory")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    before = item.stash.get(_REPORT, None)
    if report.outcome != "passed" or (report.when == "call" and before is None):
        item.stash[_REPORT] = report
    marker, directory = item.get_closest_marker("experiment"), item.config.getoption("--lines")
    if marker and directory and report.when == "setup":  # a test that kills its process is in the lines, too
        _write(directory, marker.args[0], item, [{"line": "test", **_signature()}])
    if marker and directory and report.when == "teardown":
        last = item.stash[_REPORT]
        outcome = {"line": "outcome", "outcome": last.outcome, "reason": _reason(last), "seconds": round(last.duration, 2)}
        _write(directory, marker.args[0], item, [*(item.stash[_MEASURED].lines if _MEASURED in item.stash else []), outcome])
    return report


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> Experiment:
    """The experiment that the test's marker names."""
    marker = request.node.get_closest_marker("experiment")
    assert marker, f"{request.node.nodeid} asks for the fixture `experiment` without the marker of that name"
    return request.node.stash.setdefault(_MEASURED, Experiment(marker.args[0]))


def file_name(experiment: str) -> str:
    """Return the name of an experiment's lines: `stub killed` → `stub_killed.jsonl`."""
    return re.sub(r"\W+", "_", experiment).strip("_").lower() + ".jsonl"


def _write(directory: Path, name: str, item: pytest.Item, lines: list[dict[str, Any]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    of = {"experiment": name, "test": item.nodeid}
    with FileLock(directory / ".lock"), (directory / file_name(name)).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**of, **line}, ensure_ascii=False) + "\n" for line in lines)


def _reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped, or the last line of its failure; of a passed one, nothing."""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr).strip().splitlines()[-1] if report.outcome == "failed" else ""


@cache
def _signature() -> dict[str, Any]:
    """Return when, at which commit and on which machine."""
    record = provenance.record()
    return {"date": datetime.now(UTC).date().isoformat(), **{key: record[key] for key in ("commit", "machine")}}
