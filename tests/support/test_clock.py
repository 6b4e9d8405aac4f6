from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.support import clock
from tests.support.command import CHECKOUT

_STOPPED = """
import time
from tests.support import clock
with clock.running() as seconds:
    started, ours = time.monotonic(), seconds()
    print("begins", flush=True)
    time.sleep(2)
    print(time.monotonic() - started, seconds() - ours, flush=True)
"""


def test_it_goes_on_while_the_machine_does() -> None:
    with clock.running() as seconds:
        before = seconds()
        time.sleep(0.5)
        assert seconds() - before > 0.3


def test_it_stands_still_while_the_machine_does() -> None:
    with subprocess.Popen([sys.executable, "-c", _STOPPED], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(process.pid, signal.SIGCONT)
        all_seconds, ours = map(float, process.stdout.readline().split())
    assert all_seconds >= 2.9
    assert ours <= all_seconds - 2.5
