"""Asking again: only when the server was unavailable, after pauses that many clients do not take at the same moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.connection import Unavailable

_FIRST, _LONGEST = 0.1, 2.0  # seconds a pause takes at most
_Answer = TypeVar("_Answer")


async def persist(ask: Callable[[], Awaitable[_Answer]], retries: int, end: float) -> _Answer:
    """What `ask` answers, asked up to 1 + `retries` times. `end`: the loop's time that no pause goes beyond.

    Raises what `ask` raises; Unavailable once there is no retry or no time left. Any length up to a pause's most is equally
    likely ("full jitter"), so clients that lost their server together do not come back together.
    """
    for number in range(retries):
        try:
            return await ask()
        except Unavailable:
            pause = random.uniform(0, min(_LONGEST, _FIRST * 2**number))
            if asyncio.get_running_loop().time() + pause >= end:
                raise
        await asyncio.sleep(pause)
    return await ask()
