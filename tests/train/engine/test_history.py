"""Progress lines and TensorBoard events of a run, also of one that was resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.engine import history
from train.engine.history import History, StepLine, ValidationLine
from train.job import PROGRESS


def step_line(step: int, loss: float) -> StepLine:
    return StepLine(
        step=step,
        steps=9,
        epoch=1,
        examples=32 * step,
        tokens=1600 * step,
        padded_tokens=1920 * step,
        seconds=2.0 * step,
        outside_seconds=0.1,
        loss=loss,
        learning_rate=1e-4,
        gradient_norm=2.0,
        skipped=False,
        nonfinite_ranks=[],
        ranks=2,
    )


def take_steps(book: History, first: int, last: int, loss: float = 1.0) -> None:
    for step in range(first, last + 1):
        book.write(step_line(step, loss / step))


def steps_of(directory: Path) -> list[int]:
    return [line["step"] for line in history.read(directory)["steps"]]


def scalars(directory: Path, tag: str) -> list[tuple[int, float]]:
    """(step, value) as TensorBoard reads them."""
    events = EventAccumulator(str(directory)).Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def test_every_step_can_be_read_as_soon_as_it_was_taken(tmp_path: Path) -> None:
    with History(tmp_path, None) as book:
        take_steps(book, 1, 2)
        assert steps_of(tmp_path) == [1, 2]


def test_steps_and_validations_are_told_apart(tmp_path: Path) -> None:
    with History(tmp_path, None) as book:
        take_steps(book, 1, 1)
        book.write(ValidationLine(1, 1, 0.5, 0.75))
    assert history.read(tmp_path) == {
        "steps": [asdict(step_line(1, 1.0))],
        "validation": [{"epoch": 1, "step": 1, "validation_loss": 0.5, "validation_accuracy": 0.75}],
    }


def test_a_loss_that_is_not_finite_is_null_and_not_invalid_json(tmp_path: Path) -> None:
    with History(tmp_path, tmp_path / "events") as book:
        book.write(step_line(1, float("nan")))
        book.write(step_line(2, 0.5))
    assert '"loss": null' in (tmp_path / PROGRESS).read_text().splitlines()[0]
    assert scalars(tmp_path / "events", "train/loss") == [(2, 0.5)]


def test_tensorboard_finds_each_value_under_its_step(tmp_path: Path) -> None:
    with History(tmp_path, tmp_path / "events") as book:
        take_steps(book, 1, 2)
        book.write(ValidationLine(1, 2, 0.5, 0.75))
    assert scalars(tmp_path / "events", "train/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars(tmp_path / "events", "validation/accuracy") == [(2, 0.75)]


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A run that ended after step 5, in the middle of writing a line; its last checkpoint is of
    step 3.
    """
    with History(tmp_path, tmp_path / "events") as book:
        take_steps(book, 1, 3)
        book.write(ValidationLine(1, 3, 0.5, 0.75))
        take_steps(book, 4, 5)
    with (tmp_path / PROGRESS).open("a") as file:
        file.write('{"step": 6, "lo')
    return tmp_path


def test_a_resumed_run_drops_the_steps_after_its_checkpoint_and_takes_them_again(interrupted: Path) -> None:
    with History(interrupted, None, from_step=3) as book:
        take_steps(book, 4, 6)
    assert steps_of(interrupted) == [1, 2, 3, 4, 5, 6]
    assert len(history.read(interrupted)["validation"]) == 1


def test_a_line_that_was_not_written_to_its_end_is_dropped(interrupted: Path) -> None:
    with History(interrupted, None, from_step=9):
        pass
    assert steps_of(interrupted) == [1, 2, 3, 4, 5]


def test_a_run_that_starts_anew_keeps_no_line(interrupted: Path) -> None:
    with History(interrupted, None) as book:
        take_steps(book, 1, 1)
    assert steps_of(interrupted) == [1]


def test_tensorboard_shows_a_step_that_was_taken_again_once(interrupted: Path) -> None:
    with History(interrupted, interrupted / "events", from_step=3) as book:
        take_steps(book, 4, 5, loss=3.0)
    assert scalars(interrupted / "events", "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.75), (5, 0.6)]


def test_whoever_tails_the_file_sees_the_same_file_shrink(interrupted: Path) -> None:
    with (interrupted / PROGRESS).open() as tail:
        tail.read()
        before = tail.tell()
        with History(interrupted, None, from_step=3):
            assert tail.seek(0, 2) < before
        tail.seek(0)
        lines: list[dict[str, Any]] = [json.loads(line) for line in tail]
    assert lines[-1]["step"] == 3
