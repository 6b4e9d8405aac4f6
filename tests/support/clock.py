"""A clock for limits that the program has to keep, on a machine that other tenants stop now and
then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NAP, _LATE = 0.05, 0.1  # seconds


@contextmanager
def running() -> Iterator[Callable[[], float]]:
    """Seconds as time.monotonic() gives them, without those in which nobody ran: a thread that only
    naps woke too late by them.
    """
    lock, ended = threading.Lock(), threading.Event()
    woke, lost = time.monotonic(), 0.0

    def late(now: float) -> float:
        seconds = now - woke - _NAP
        return seconds if seconds > _LATE else 0.0

    def nap() -> None:
        nonlocal woke, lost
        while not ended.wait(_NAP):
            with lock:
                now = time.monotonic()
                woke, lost = now, lost + late(now)

    def clock() -> float:
        with lock:
            now = time.monotonic()
            return now - lost - late(now)

    thread = threading.Thread(target=nap, daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        ended.set()
        thread.join()
