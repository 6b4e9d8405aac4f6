from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import CHECKOUT
from train.distributed.watchdog import IN, Heartbeat


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
