"""The table of reliability: raw lines of experiments become rows, and no failure hides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reliability
from tests.support.command import CHECKOUT

HEADER = {
    "line": "test",
    "date": "2026-12-03",
    "commit": "c6c15c25d149",
    "machine": {"cpu": "a CPU", "cpu_flags": [], "cores": 2, "memory_gib": 24, "system": "Linux"},
}
FIGURE = {"line": "figure", "what": "back after", "value": 1.25, "unit": "s", "at_most": 2.0, "at_least": None}


@pytest.fixture(autouse=True)
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reliability, "LINES", tmp_path)
    return tmp_path


def write(directory: Path, experiment: str, *lines: dict[str, Any], test: str = "tests/test_a.py::test_a") -> None:
    with (directory / f"{experiment.replace(' ', '_')}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"experiment": experiment, "test": test, **line}) + "\n" for line in lines)


def outcome(ended: str, reason: str = "") -> dict[str, Any]:
    return {"line": "outcome", "outcome": ended, "reason": reason, "seconds": 1.0}


def rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in row.strip("|").split("|")] for row in reliability.page().splitlines() if row.startswith("| [")
    ]


def test_a_figure_stands_beside_its_limit(lines: Path) -> None:
    write(lines, "stub killed", HEADER, FIGURE, outcome("passed"))
    [[_, measured, tests]] = rows()
    assert (measured, tests) == ("back after 1.25 s (≤ 2)", "1 passed")


def test_what_failed_comes_first_and_says_why(lines: Path) -> None:
    write(lines, "a drain", HEADER, outcome("passed"))
    write(lines, "stub killed", HEADER, FIGURE, outcome("failed", "back after 9 s"))
    assert "failed 1 of 1" in rows()[0][2]
    assert "back after 9 s" in rows()[0][2]


def test_a_skipped_test_is_not_among_the_passed(lines: Path) -> None:
    write(lines, "small shm", HEADER, outcome("skipped", "needs root"))
    assert rows()[0][2] == "0 passed, skipped: needs root"


def test_a_test_that_ended_with_its_process_failed(lines: Path) -> None:
    write(lines, "stub killed", HEADER)
    assert "failed 1 of 1" in rows()[0][2]


def test_lines_of_two_workers_may_be_mixed(lines: Path) -> None:
    write(lines, "soak", HEADER, test="a")
    write(lines, "soak", HEADER, test="b")
    write(lines, "soak", FIGURE, outcome("passed"), test="a")
    write(lines, "soak", outcome("passed"), test="b")
    assert rows()[0][1:3] == ["back after 1.25 s (≤ 2)", "2 passed"]


def test_every_test_of_the_record_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    named = {test.header["test"].split("[")[0] for path in reliability.LINES.glob("*.jsonl") for test in reliability.read(path)[1]}
    gone = [
        test
        for test in named
        for file, _, function in [test.partition("::")]
        if f"def {function}(" not in (CHECKOUT / file).read_text("utf-8")
    ]
    assert gone == []
