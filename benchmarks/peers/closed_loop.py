"""The load: a fixed number of clients over HTTP, each sending its next text when it has the answer to the last. The same for all.

perf_analyzer drives servers that speak Triton's protocol (or a few others'), and a FastAPI application of one's own speaks none.
So everything here, Slipway too, is asked by this one loop, out of a process of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import numpy as np
from numpy.typing import NDArray

from train.errors import ServerError

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
T = TypeVar("T")
_PATIENCE = 60  # seconds for one answer
_ANSWERS_EACH = 4
_LOOK = 0.01  # seconds


@dataclass(frozen=True)
class Window:
    """What was answered within one stretch of time, when all clients were at work."""

    texts_per_second: float
    latencies: NDArray[np.float64]  # ms, of the answers that came within it
    client_cpu_ms: float  # of this process, an answer


def answers(url: str, bodies: Sequence[bytes], concurrency: int) -> list[bytes]:
    """Each body's answer, in order. Raises ServerError at the first that has another status than 200, or none."""

    async def ask() -> list[bytes]:
        found = [b""] * len(bodies)
        turns = iter(enumerate(bodies))

        async def client(session: aiohttp.ClientSession) -> None:
            for number, body in turns:
                found[number] = await _post(session, url, body)

        async with _session() as session:
            await asyncio.gather(*(client(session) for _ in range(concurrency)))
        return found

    return _run(ask(), url)


def window(url: str, bodies: Sequence[bytes], concurrency: int, seconds: float) -> Window:
    """Ask for that long, from when each client has had an answer; longer, until they had four each on average.

    Servers that batch answer all clients at once: the window begins and ends with an answer, so that it holds whole bursts.
    Raises ServerError as `answers`.
    """

    async def ask() -> Window:
        came: list[list[tuple[float, float]]] = [[] for _ in range(concurrency)]  # by client: when, and after how many ms
        turns, over = itertools.cycle(bodies), asyncio.Event()

        async def client(session: aiohttp.ClientSession, own: list[tuple[float, float]]) -> None:
            while not over.is_set():
                sent = time.perf_counter()
                await _post(session, url, next(turns))
                now = time.perf_counter()
                own.append((now, (now - sent) * 1000))

        async with _session() as session, asyncio.TaskGroup() as clients:
            for own in came:
                clients.create_task(client(session, own))
            while not all(came):
                await asyncio.sleep(_LOOK)
            cpu, began, before = _cpu_seconds(), time.perf_counter(), sum(map(len, came))
            while time.perf_counter() < began + seconds or sum(map(len, came)) < before + _ANSWERS_EACH * concurrency:
                await asyncio.sleep(_LOOK)
            cpu, ended = _cpu_seconds() - cpu, time.perf_counter()
            over.set()
        within = [(at, ms) for own in came for at, ms in own if began < at <= ended]
        last = max(at for at, _ in within)
        return Window(len(within) / (last - began), np.array([ms for _, ms in within]), cpu * 1000 / len(within))

    return _run(ask(), url)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=_HEADERS, timeout=aiohttp.ClientTimeout(total=_PATIENCE)
    )


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
    async with session.post(url, data=body) as answer:
        content = await answer.read()
        if answer.status != 200:
            raise _Refused(f"status {answer.status}: {content[:200].decode('utf-8', 'replace')}")
        return content


class _Refused(Exception):
    """An answer that is none."""


def _run(asking: Coroutine[Any, Any, T], url: str) -> T:
    try:
        return asyncio.run(asking)
    except (ExceptionGroup, _Refused, aiohttp.ClientError, TimeoutError) as error:
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        raise ServerError(
            "a server did not answer a text",
            expected="status 200",
            found=str(first) or type(first).__name__,
            where=url,
            fix="its log says more; then the same command again",
        ) from error


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
