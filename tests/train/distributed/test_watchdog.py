"""Which rank is named, told from files as ranks write them; with real ranks: test_faults.py."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import CHECKOUT
from train.distributed.watchdog import AFTER, BEFORE, DONE, IN, LOADING, Heartbeat, Watch, exit_statuses, first_failure


class Ranks:
    """Two ranks' signs of life and a clock that only the test moves."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.ticks, self.first = directory, 100.0, 0, 0
        self.watch = Watch(directory, 2, clock=lambda: self.now)

    def tick(self, *positions: tuple[int, ...] | None, seconds: float = 1) -> None:
        """Every rank with a position ticks, `seconds` after the last time."""
        self.now += seconds
        self.ticks += 1
        for rank, position in enumerate(positions):
            if position is not None:
                facts = {
                    "rank": rank,
                    "host": "here",
                    "pid": 7,
                    "ticks": self.ticks,
                    "position": position,
                    "phase": f"phase {position}",
                    "first": self.first,
                }
                (self.directory / f"rank.{rank}.json").write_text(json.dumps(facts))
        self.watch.look()

    def named(self, limit: float = 10, lost: set[int] | None = None) -> str | None:
        failure = self.watch.hanging(limit, lost or set())
        return failure.rank if failure else None


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    return Ranks(tmp_path)


def test_ranks_that_get_further_do_not_hang(ranks: Ranks) -> None:
    for step in range(100):
        ranks.tick((step, IN), (step, IN))
    assert ranks.named() is None


def test_a_long_step_within_the_limit_is_no_hang(ranks: Ranks) -> None:
    for _ in range(9):
        ranks.tick((3, IN), (3, BEFORE))
    assert ranks.named() is None


def test_the_rank_that_did_not_come_to_the_step_of_the_others_hangs(ranks: Ranks) -> None:
    for _ in range(12):
        ranks.tick((3, IN), (3, BEFORE))
    assert ranks.named() == "1"


def test_a_rank_whose_thread_is_silent_stands_still_even_if_it_was_ahead(ranks: Ranks) -> None:
    ranks.tick((3, BEFORE), (3, IN))
    for _ in range(17):
        ranks.tick((3, BEFORE), None)
    assert ranks.named(limit=1000) == "1"


def test_loading_and_the_first_step_may_take_longer_than_the_limit(ranks: Ranks) -> None:
    for _ in range(500):
        ranks.tick((0, IN), (LOADING, 2))
    assert ranks.named() is None


def test_a_rank_that_never_started_is_named(ranks: Ranks) -> None:
    for _ in range(610):
        ranks.tick((LOADING,), None)
    assert ranks.named() == "1"


def test_a_lost_rank_of_an_elastic_run_is_not_waited_for(ranks: Ranks) -> None:
    ranks.tick((3, IN), (3, IN))
    for step in range(30):
        ranks.tick((step, IN), None)
    assert ranks.named(lost={1}) is None
    assert ranks.named() == "1"


def test_when_all_are_in_the_same_step_it_is_said_that_none_is_to_blame_for_certain(ranks: Ranks) -> None:
    for _ in range(12):
        ranks.tick((3, IN), (3, IN))
    failure = ranks.watch.hanging(10, set())
    assert failure
    assert "every rank is there" in failure.reason


@pytest.mark.parametrize(
    ("position", "training"),
    [
        ((LOADING, 2), False),
        ((4, IN), False),  # tracing: there is nothing that it could save
        ((4, AFTER), True),
        ((5, IN), True),
        ((10, DONE, 3), False),
    ],
)
def test_only_ranks_that_have_taken_a_step_can_write_a_checkpoint(ranks: Ranks, position: tuple[int, ...], training: bool) -> None:
    ranks.first = 4
    ranks.tick(position)
    assert ranks.watch.training == training


def test_the_first_step_of_a_resumed_run_may_take_longer_than_the_limit(ranks: Ranks) -> None:
    ranks.first = 80
    for _ in range(100):
        ranks.tick((80, IN), (80, IN))
    assert ranks.named() is None


def test_so_may_the_step_after_the_loss_of_a_rank(ranks: Ranks) -> None:
    for step in (40, 41, 42):
        ranks.tick((step, IN), (step, IN))
    ranks.first = 40
    for _ in range(100):
        ranks.tick((40, IN), None)
    assert ranks.named(lost={1}) is None


def test_a_later_step_of_a_resumed_run_may_not(ranks: Ranks) -> None:
    ranks.first = 80
    for _ in range(100):
        ranks.tick((81, IN), (81, IN))
    assert ranks.named() is not None


def record(directory: Path, rank: int, kind: str, time: float) -> None:
    facts: dict[str, Any] = {
        "rank": rank,
        "time": time,
        "type": kind,
        "error": f"{kind}: …",
        "slipway": {},
        "trace": "",
    }
    (directory / f"failure.{rank}.json").write_text(json.dumps(facts))


def test_the_first_own_error_counts_before_what_it_did_to_the_others(tmp_path: Path) -> None:
    record(tmp_path, 0, "HorovodInternalError", time=1)
    record(tmp_path, 2, "ValueError", time=3)
    record(tmp_path, 1, "KeyError", time=2)
    failure = first_failure(tmp_path, "Process 0 exit with status code 1.\nProcess 1 exit with status code 1.\n")
    assert failure
    assert (failure.rank, failure.reason) == ("1", "KeyError: …")


def test_a_rank_that_was_killed_counts_before_the_ones_horovodrun_ended(tmp_path: Path) -> None:
    record(tmp_path, 0, "UnknownError", time=1)
    log = "Process 2 exit with status code 143.\nProcess 1 exit with status code 137.\nProcess 0 exit with status code 1.\n"
    failure = first_failure(tmp_path, log)
    assert failure
    assert failure.rank == "1"
    assert "SIGKILL" in failure.reason


def test_a_rank_that_someone_sent_sigterm_is_the_first_in_horovodruns_order(tmp_path: Path) -> None:
    failure = first_failure(tmp_path, "Process 2 exit with status code 143.\nProcess 1 exit with status code 143.\n")
    assert failure
    assert failure.rank == "2"


def test_without_a_trace_no_rank_is_named(tmp_path: Path) -> None:
    assert first_failure(tmp_path, "ssh not successful for host b\n") is None


def test_exit_statuses_are_read_from_horovodruns_log() -> None:
    assert exit_statuses("[0]<stdout>:x\nProcess 1 exit with status code 137.\nProcess 0 exit with status code 1.\n") == {
        1: 137,
        0: 1,
    }


def test_a_rank_tells_where_it_is_and_that_it_lives_also_while_it_does_nothing(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, 3) as heartbeat:
        first = json.loads((tmp_path / "rank.3.json").read_text())
        heartbeat.at("in step 5", 4, IN)
        time.sleep(1.2)
    last = json.loads((tmp_path / "rank.3.json").read_text())
    assert last["ticks"] > first["ticks"]
    assert (last["phase"], last["position"]) == ("in step 5", [4, IN])


@pytest.mark.parametrize("end", ["(job / 'ended').touch()", "job.rename(job.with_name('away'))"])
def test_a_rank_ends_with_its_job(tmp_path: Path, end: str) -> None:
    program = (
        "import sys, time; from pathlib import Path; from train.distributed.watchdog import Heartbeat; job = Path(sys.argv[1])\n"
        f"with Heartbeat(job, 0): {end}; time.sleep(60)"
    )
    (tmp_path / "job").mkdir()
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "job"], cwd=CHECKOUT, check=False, timeout=20)
    assert done.returncode == 1


def test_what_is_shown_after_the_last_step_is_of_the_rank_furthest_behind(ranks: Ranks) -> None:
    ranks.tick((5, DONE, 8), (5, IN))
    assert ranks.watch.evaluating == ""
    ranks.tick((5, DONE, 8), (5, DONE, 3))
    assert ranks.watch.evaluating == "phase (5, 3, 3)"
