"""A run of two real ranks that SIGTERM interrupted, and that then goes on to the very weights of
one that nothing interrupted.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import clock
from tests.support.command import slipway, slipway_output, succeed
from tests.support.training import jobs

pytestmark = pytest.mark.experiment("exact resume")

HASH_OF_VARIABLES = """
import hashlib, sys
from slipway.tensorflow import SavedClassifier
values = [variable.numpy() for variable in SavedClassifier(sys.argv[1]).variables]
print(len(values), hashlib.sha256(b"".join(sorted(value.tobytes() for value in values))).hexdigest())
"""


@dataclass(frozen=True)
class Interrupted:
    out: Path
    flags: list[object]
    status: int
    seconds: float  # from SIGTERM to the end
    stderr: str

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.out.parent / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def interrupted(training_flags: list[object], tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    flags = [*training_flags, "--checkpoint-every", 10]
    out, process = jobs.finetune_to_step(15, lambda: tmp_path_factory.mktemp("interrupted"), *flags)
    with clock.running() as seconds:
        asked = seconds()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        return Interrupted(out, training_flags, process.returncode, seconds() - asked, stderr)


def test_sigterm_writes_a_checkpoint_in_time_and_exits_with_its_own_code(interrupted: Interrupted) -> None:
    assert interrupted.status == 75, interrupted.stderr
    assert interrupted.seconds < 20  # Kubernetes kills after 30; it is 3 to 6, and 12 beside six promotions
    assert len(interrupted.checkpoints) == 2
    assert "--resume" in interrupted.stderr
    assert not interrupted.out.exists()


def test_the_checkpoint_is_of_the_last_step_that_was_taken(interrupted: Interrupted) -> None:
    newest = interrupted.checkpoints[-1]
    assert len(jobs.steps(interrupted.out.parent / "checkpoints" / newest)) == int(newest.removeprefix("step-"))


def test_a_new_run_does_not_take_the_checkpoints_of_another_away(interrupted: Interrupted) -> None:
    done = slipway("train", interrupted.out.parent, *interrupted.flags)
    assert done.returncode == 5
    assert "an interrupted run lies here" in done.stderr
    assert len(interrupted.checkpoints) == 2


def test_another_number_of_ranks_is_refused_with_both_numbers(interrupted: Interrupted) -> None:
    done = slipway("train", interrupted.out.parent, *interrupted.flags, "--resume", "--processes", 3)
    assert done.returncode == 5
    assert "expected  world_size 2\n" in done.stderr
    assert "found     world_size 3\n" in done.stderr


def test_a_changed_setting_is_refused_with_both_values(interrupted: Interrupted) -> None:
    done = slipway("train", interrupted.out.parent, *interrupted.flags, "--resume", "--seed", 2)
    assert done.returncode == 5
    assert "seed 1" in done.stderr
    assert "seed 2" in done.stderr


@dataclass(frozen=True)
class Both:
    uninterrupted: Path
    resumed: Path
    said: str
    damaged: str


@pytest.fixture(scope="module")
def both(interrupted: Interrupted, finished_run: Path) -> Both:
    """The resumed run finds its newest checkpoint damaged, and an epoch's end before it."""
    damaged = interrupted.out.parent / "checkpoints" / interrupted.checkpoints[-1] / "variables.npz"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    said = slipway_output("train", interrupted.out.parent, *interrupted.flags, "--checkpoint-every", 0, "--resume")
    return Both(finished_run / "bundle", interrupted.out, said, str(damaged))


def history(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "history.json").read_text("utf-8"))
    return found


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(both: Both) -> None:
    assert f"is damaged and was passed over ({both.damaged}" in both.said
    assert "resuming  after step " in both.said


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one_bit_by_bit(both: Both) -> None:
    whole, resumed = (
        [[line[name] for name in ("step", "loss", "gradient_norm", "learning_rate", "tokens")] for line in history(run)["steps"]]
        for run in (both.uninterrupted, both.resumed)
    )
    assert len(whole) == history(both.uninterrupted)["steps"][-1]["steps"]
    assert resumed == whole


def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one_bit_by_bit(both: Both) -> None:
    uninterrupted, resumed = (succeed("-c", HASH_OF_VARIABLES, run / "saved_model") for run in (both.uninterrupted, both.resumed))
    assert resumed == uninterrupted


def test_a_resumed_run_validates_as_an_uninterrupted_one(both: Both) -> None:
    assert history(both.resumed)["validation"] == history(both.uninterrupted)["validation"]


def test_the_checkpoints_are_gone_when_the_bundle_is_complete(both: Both) -> None:
    assert not (both.resumed.parent / "checkpoints").exists()
