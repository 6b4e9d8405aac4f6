from __future__ import annotations

import json
from pathlib import Path

import pytest

from train.distributed import launcher
from train.distributed.launcher import Display, Tail
from train.job import PROGRESS


def test_only_new_and_whole_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntwo\nthr")
    assert tail.lines() == ["one", "two"]
    assert tail.lines() == []
    path.write_text("one\ntwo\nthree\n")
    assert tail.lines() == ["three"]


def test_after_a_file_was_cut_its_new_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.write_text("one\ntwo\nthree\n")
    tail = Tail(path)
    tail.lines()
    path.write_text("one\n")
    assert tail.lines() == []
    path.write_text("one\nagain\n")
    assert tail.lines() == ["again"]


def test_a_validation_loss_that_is_not_finite_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / PROGRESS).write_text('{"epoch": 1, "step": 5, "validation_loss": null, "validation_accuracy": 0.25}\n')
    with Display(tmp_path) as display:
        display.update()
    assert "validation accuracy 0.2500  loss not finite" in capsys.readouterr().out


def test_rates_and_what_is_left_leave_out_the_first_step_which_traces_the_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_LINE_EVERY", 0)
    steps = [{"step": step, "steps": 51, "examples": 32 * step, "seconds": 30 + step, "loss": 1.0} for step in (1, 11)]
    (tmp_path / PROGRESS).write_text("".join(f"{json.dumps(line)}\n" for line in steps))
    with Display(tmp_path) as display:
        display.update()
    first, second = (line.strip() for line in capsys.readouterr().out.splitlines() if "step " in line and "/" in line)
    assert first == "step 1/51  loss 1.000"
    assert second == "step 11/51  loss 1.000  32.0 examples/s  40 s left"
