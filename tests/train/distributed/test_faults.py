"""Faults of one of two real ranks: everything ends within 30 s, the rank to blame is named, nothing
is left running.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from slipway.errors import TrainingError
from tests.support.training import jobs
from train.distributed import launcher
from train.distributed.ranks import Ranks

pytestmark = pytest.mark.experiment("worker faults")

LIMIT = 30  # seconds from the fault to the end


class Ended:
    """What became of a job, and how long after its fault it ended."""

    def __init__(self, directory: Path, faults: list[dict[str, Any]], fault: Callable[[], None], after_step: int) -> None:
        (directory / "faults.json").write_text(json.dumps(faults))
        self.directory, self.error = directory, ""
        self.pids: list[int] = []
        self._planted, self._over = time.monotonic(), threading.Event()
        watcher = threading.Thread(target=self._plant, args=(fault, after_step))
        watcher.start()
        try:
            launcher.run(directory, Ranks(processes=2), worker="tests.support.training.faulty_worker")
        except TrainingError as error:
            self.error = str(error)
        self._over.set()
        self.seconds = time.monotonic() - self._planted
        watcher.join()
        self.steps = jobs.steps(directory)

    def _plant(self, fault: Callable[[], None], after_step: int) -> None:
        if jobs.wait_for_step(self.directory, after_step, lambda: not self._over.is_set()):
            self.pids = [jobs.process_of(self.directory, rank) for rank in (0, 1)]
            fault()
            self._planted = time.monotonic()

    @property
    def left_running(self) -> list[int]:
        return [pid for pid in self.pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def end(generated: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    def run(*faults: tuple[int, int, str], kill: signal.Signals | None = None, **settings: Any) -> Ended:
        directory = jobs.prepare(tmp_path_factory.mktemp("fault") / "job", generated, tiny_encoder, **settings)
        planted = [{"rank": rank, "step": step, "kind": kind} for rank, step, kind in faults]

        def fault() -> None:
            if kill:
                os.kill(jobs.process_of(directory, 1), kill)

        return Ended(directory, planted, fault, after_step=min([step for _, step, _ in faults], default=5) - 1)

    return run


@pytest.fixture(scope="module")
def killed(end: Callable[..., Ended]) -> Ended:
    return end(kill=signal.SIGKILL, epochs=50)


def test_a_killed_rank_is_named_with_the_signal(killed: Ended) -> None:
    assert "rank 1, the first that failed" in killed.error
    assert "was ended by SIGKILL" in killed.error


def test_a_killed_rank_ends_everything_soon(killed: Ended) -> None:
    assert killed.seconds < LIMIT
    assert killed.left_running == []


@pytest.fixture(scope="module")
def stopped(end: Callable[..., Ended]) -> Ended:
    return end(kill=signal.SIGSTOP, epochs=50)


def test_a_rank_that_stands_still_is_named_without_waiting_for_the_hang_limit(stopped: Ended) -> None:
    assert "rank 1, the first that failed" in stopped.error
    assert "stands still: no sign of life" in stopped.error


def test_a_rank_that_stands_still_ends_everything_soon(stopped: Ended) -> None:
    assert stopped.seconds < LIMIT
    assert stopped.left_running == []


@pytest.fixture(scope="module")
def hung(end: Callable[..., Ended]) -> Ended:
    return end((0, 4, "sleep"), hang_limit=5)


def test_a_rank_that_hangs_is_named_with_the_step_it_is_in(hung: Ended) -> None:
    assert "rank 0, the first that failed" in hung.error
    assert "before step 4" in hung.error
    assert "no rank got further for 5 s (--hang-limit)" in hung.error


def test_a_rank_that_hangs_ends_everything_soon(hung: Ended) -> None:
    assert hung.seconds < LIMIT
    assert hung.left_running == []


@pytest.fixture(scope="module")
def skipped_then_raised(end: Callable[..., Ended]) -> Ended:
    return end((1, 3, "nan"), (1, 6, "raise"), on_nan="skip")


def test_with_skip_a_nan_of_one_rank_skips_the_step_on_all_and_is_counted(skipped_then_raised: Ended) -> None:
    assert [line["step"] for line in skipped_then_raised.steps if line["skipped"]] == [3]
    assert skipped_then_raised.steps[2]["nonfinite_ranks"] == [1]


def test_with_skip_training_goes_on_with_finite_losses(skipped_then_raised: Ended) -> None:
    after = skipped_then_raised.steps[3:]
    assert [line["step"] for line in after] == [4, 5]
    assert all(line["loss"] < 2 for line in after)


def test_an_exception_names_the_rank_that_raised_and_not_the_one_it_took_along(skipped_then_raised: Ended) -> None:
    assert "rank 1, the first that failed" in skipped_then_raised.error
    assert "RuntimeError: planted" in skipped_then_raised.error
    assert skipped_then_raised.seconds < LIMIT
    assert skipped_then_raised.left_running == []


@pytest.fixture(scope="module")
def nan(end: Callable[..., Ended]) -> Ended:
    return end((1, 3, "nan"))


def test_with_stop_a_nan_ends_the_run_in_its_step_and_names_the_rank(nan: Ended) -> None:
    assert "rank 1, step 3 of 10; no rank applied it" in nan.error
    assert [line["step"] for line in nan.steps] == [1, 2, 3]
