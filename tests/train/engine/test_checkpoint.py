"""Checkpoints as directories; that a resumed run is bit-equal is seen in test_resume.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slipway.errors import TrainingError
from train.engine import checkpoint

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.array([np.nan, -0.0], np.float32)]
SETTINGS = {"seed": 1, "world_size": 2}


def write(directory: Path, *steps: int) -> None:
    progress = directory.parent / "progress.jsonl"
    for step in steps:
        progress.write_text(json.dumps({"step": step}) + "\n")
        checkpoint.write(directory, step, ARRAYS, SETTINGS, progress)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_was_written_is_restored_bit_by_bit(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 0)
    newest, warnings = checkpoint.newest(tmp_path / "checkpoints")
    assert newest
    restored = checkpoint.restore(newest, tmp_path)
    assert [array.tobytes() for array in restored] == [array.tobytes() for array in ARRAYS]
    assert [array.shape for array in restored] == [array.shape for array in ARRAYS]
    assert (newest.step, newest.settings, warnings) == (0, SETTINGS, [])


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 5, 100, 200)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000100", "step-00000200"]
    assert checkpoint.newest_step(tmp_path / "checkpoints") == 200


def test_a_new_checkpoint_stays_when_later_ones_are_damaged(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 200, 400)
    for path in (tmp_path / "checkpoints").glob("*/variables.npz"):
        flip(path)
    write(tmp_path / "checkpoints", 50)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000050"]


def test_removed_is_what_a_run_wrote_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 100)
    (tmp_path / "checkpoints/step-by-step.txt").write_text("a person's")
    checkpoint.remove(tmp_path / "checkpoints")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-by-step.txt"]


def test_with_nothing_beside_them_the_directory_goes_too(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 100)
    checkpoint.remove(tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("file", ["variables.npz", "progress.jsonl", "checkpoint.json"])
def test_a_damaged_newest_falls_back_to_the_one_before_and_names_the_file(tmp_path: Path, file: str) -> None:
    write(tmp_path / "checkpoints", 100, 200)
    damaged = tmp_path / "checkpoints/step-00000200" / file
    damaged.write_text("{") if file == "checkpoint.json" else flip(damaged)
    newest, warnings = checkpoint.newest(tmp_path / "checkpoints")
    assert newest
    assert newest.step == 100
    assert len(warnings) == 1
    assert str(damaged) in warnings[0]


def test_with_every_checkpoint_damaged_there_is_none_to_go_on_from(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints", 100)
    (tmp_path / "checkpoints/step-00000100/variables.npz").unlink()
    newest, warnings = checkpoint.newest(tmp_path / "checkpoints")
    assert newest is None
    assert "variables.npz" in warnings[0]


@pytest.mark.parametrize(("name", "value"), [("world_size", 3), ("seed", 2)])
def test_a_changed_setting_is_refused_with_both_values(tmp_path: Path, name: str, value: int) -> None:
    write(tmp_path / "checkpoints", 100)
    newest, _ = checkpoint.newest(tmp_path / "checkpoints")
    assert newest
    with pytest.raises(TrainingError) as refused:
        checkpoint.refuse_changes(newest, {**SETTINGS, name: value}, "slipway train runs/x")
    assert refused.value.expected == f"{name} {SETTINGS[name]}"
    assert refused.value.found == f"{name} {value}"


def test_half_a_checkpoint_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.write(tmp_path / "checkpoints", 1, ARRAYS, SETTINGS, tmp_path / "no progress")
    assert not (tmp_path / "checkpoints").exists()
