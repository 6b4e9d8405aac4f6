from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from serving.load import interference


@pytest.fixture
def spinning() -> Iterator[psutil.Process]:
    """A process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(0.1)
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def test_what_another_process_takes_is_seen(spinning: psutil.Process) -> None:
    before, started = interference.look([]), spinning.cpu_times().user
    time.sleep(0.5)
    after, spent = interference.look([]), spinning.cpu_times().user - started
    disturbance = interference.between(before, after)
    cores = (after.at - before.at) * len(psutil.Process().cpu_affinity())
    assert disturbance.others_share >= 0.7 * spent / cores > 0


def test_a_process_of_the_server_is_none_of_the_others(spinning: psutil.Process) -> None:
    tree, started = interference.tree(spinning.pid), spinning.cpu_times().user
    before = interference.look(tree)
    time.sleep(0.5)
    after, spent = interference.look(tree), spinning.cpu_times().user - started
    assert after.ours - before.ours >= 0.9 * spent - 0.03 > 0  # both are counted in hundredths of a second


def test_looking_costs_next_to_nothing(spinning: psutil.Process) -> None:
    tree = interference.tree(spinning.pid)
    started = time.process_time()
    for _ in range(20):
        interference.between(interference.look(tree), interference.look(tree))
    assert (time.process_time() - started) / 20 < 0.01  # s, of a load that takes 1.5


def test_a_process_that_is_gone_took_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert interference.tree(process.pid) == []
