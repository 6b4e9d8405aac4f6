from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import cases
from tests.support.serving import tiny_repository


def test_each_corpus_and_each_repository_is_a_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d01-kind").mkdir()
    (tmp_path / "d01-kind/rows.csv").write_text("text,label\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(80)))
    (tmp_path / "d01-kind/other.csv").write_text("nothing that is known\n1\n")
    tiny_repository.sleepers(tmp_path / "r01-kind", ("one",))
    monkeypatch.setattr(sys, "argv", ["cases", str(tmp_path)])
    assert cases.main() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines if line and "-kind" in line[0]] == [
        ["d01-kind/other.csv", "3", "see"],
        ["d01-kind/rows.csv", "0", "see"],
        ["r01-kind/model_repository", "0", "see"],
    ]
