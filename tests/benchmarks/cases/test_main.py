from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.cases import __main__ as script
from benchmarks.cases import calls, good_data
from benchmarks.cases.good_data import Good
from tests.support.serving import tiny_repository


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one corpus, of which no good answer is known."""
    rows = tmp_path / "cases/d01-kind/rows.csv"
    rows.parent.mkdir(parents=True)
    rows.write_text("text,label\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(80)))
    monkeypatch.setattr(sys, "argv", ["cases", str(tmp_path / "cases")])
    return tmp_path / "cases"


def rows_of(output: str) -> list[list[str]]:
    lines = [line.split() for line in output.splitlines()]
    return [line[:3] for line in lines if line and "-kind/" in line[0]]


def test_a_case_of_which_no_good_answer_is_known_is_left_to_see(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cases / "d01-kind/other.csv").write_text("nothing that is known\n1\n")
    tiny_repository.sleepers(cases / "r01-kind", ("one",))
    assert script.main() == 0
    assert rows_of(capsys.readouterr().out) == [
        ["d01-kind/other.csv", "3", "see"],
        ["d01-kind/rows.csv", "0", "see"],
        ["r01-kind/model_repository", "0", "see"],
    ]


@pytest.mark.parametrize(("labels", "word", "status"), [("a, b", "yes", 0), ("World, Sports", "NO", 1)])
def test_an_answer_that_is_not_the_good_one_ends_the_script_with_1(
    labels: str, word: str, status: int, cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(good_data.CORPORA, "d01-kind/rows.csv", Good(0, (f": {labels}; 80 rows: ",)))
    assert script.main() == status
    assert rows_of(capsys.readouterr().out) == [["d01-kind/rows.csv", "0", word]]


def test_without_a_run_the_calls_are_left_to_see(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cases / calls.CASE).mkdir()
    assert script.main() == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [calls.CASE])
    assert row.split(maxsplit=1)[1].split() == ["see", "no", "--run", "RUN", "was", "given"]
