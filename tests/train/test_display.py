from __future__ import annotations

from pathlib import Path

from train.display import Tail


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
