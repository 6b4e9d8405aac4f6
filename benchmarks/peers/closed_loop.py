"""The load: a fixed number of clients over HTTP, each waiting for its answer before the next text.

perf_analyzer drives servers that speak Triton's protocol (or a few others'), and a FastAPI
application of one's own speaks none. So every server here, Slipway too, is asked by this one loop,
in a process of its own; a `Protocol` says how a text is put to a server, and where its answer has
the logits.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import cpu_seconds
from slipway.errors import ServerError

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_OUTPUTS = ("label", "probability", "logits")
T = TypeVar("T")
_PATIENCE = 60  # seconds for one answer
_ANSWERS_EACH = 4
_POLL = 0.01  # seconds


@dataclass(frozen=True)
class Protocol:
    body: Callable[[str], bytes]  # a text → the request
    logits: Callable[[bytes], list[float]]  # an answer → its logits


def _kserve_body(text: str) -> bytes:
    given = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [given], "outputs": [{"name": name} for name in _OUTPUTS]}).encode()


def _kserve_logits(answer: bytes) -> list[float]:
    outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
    return [float(value) for value in outputs["logits"]]


def _plain_body(text: str) -> bytes:
    return json.dumps({"text": text}).encode()


def _plain_logits(answer: bytes) -> list[float]:
    return [float(value) for value in json.loads(answer)["logits"]]


KSERVE = Protocol(_kserve_body, _kserve_logits)
PLAIN = Protocol(_plain_body, _plain_logits)


def kserve_path(model: str) -> str:
    return f"/v2/models/{model}/infer"


@dataclass(frozen=True)
class Window:
    """The answers that came within one stretch of time, when all clients were at work."""

    texts_per_second: float
    latencies: NDArray[np.float64]  # ms, of those answers
    client_cpu_ms: float  # CPU time of this process, an answer


def answers(url: str, bodies: Sequence[bytes], concurrency: int) -> list[bytes]:
    """Return each body's answer, in order.

    Raises ServerError at the first whose status is not 200, or that is missing.
    """

    async def ask() -> list[bytes]:
        contents = [b""] * len(bodies)
        turns = iter(enumerate(bodies))

        async def client(session: aiohttp.ClientSession) -> None:
            for number, body in turns:
                contents[number] = await _post(session, url, body)

        async with _session() as session:
            await asyncio.gather(*(client(session) for _ in range(concurrency)))
        return contents

    return _run(ask(), url)


def window(url: str, bodies: Sequence[bytes], concurrency: int, seconds: float) -> Window:
    """Measure for that many seconds, or until the clients had four answers each on average.

    It begins when every client has had an answer. Servers that batch answer all clients at once:
    the window begins and ends with an answer, so that it holds whole bursts. Raises ServerError as
    `answers`.
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
                await asyncio.sleep(_POLL)
            cpu, began, before = cpu_seconds(), time.perf_counter(), sum(map(len, came))
            while time.perf_counter() < began + seconds or sum(map(len, came)) < before + _ANSWERS_EACH * concurrency:
                await asyncio.sleep(_POLL)
            cpu, ended = cpu_seconds() - cpu, time.perf_counter()
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
    """An answer with another status than 200."""


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
