"""Retries: only when the server was unavailable, after pauses that differ between clients."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.connection import Unavailable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds
_Answer = TypeVar("_Answer")


async def persist(ask: Callable[[], Awaitable[_Answer]], retries: int, end: float) -> _Answer:
    """Ask up to 1 + `retries` times; no pause goes beyond the event loop's time `end`.

    Any length up to a pause's longest is equally likely ("full jitter"), so clients that lost their
    server together do not come back together. Raises what `ask` raises; Unavailable once there is
    no retry or no time left.
    """
    for number in range(retries):
        try:
            return await ask()
        except Unavailable:
            pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**number))
            if asyncio.get_running_loop().time() + pause >= end:
                raise
        await asyncio.sleep(pause)
    return await ask()
