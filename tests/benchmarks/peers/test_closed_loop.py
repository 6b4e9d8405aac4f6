"""benchmarks.peers.closed_loop against a server of the test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from benchmarks.peers import closed_loop
from slipway.contract.records import HOST
from slipway.errors import ServerError


@dataclass
class Application:
    """A server that answers a body with itself, all waiting clients at once, a moment after
    `together` of them have come.
    """

    together: int = 1
    pause: float = 0.02  # s
    fails: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    most_waiting: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        body, turn = await request.read(), asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        if len(self.waiting) >= self.together:
            done, self.waiting = self.waiting, []
            asyncio.get_running_loop().call_later(
                self.pause, lambda: [waiter.set_result(None) for waiter in done if not waiter.done()]
            )
        await turn
        return web.Response(body=body, status=500 if self.fails else 200)


@contextmanager
def served(application: Application) -> Iterator[str]:
    """Its address, for the block."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    address = []

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/", application.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        address.append(f"http://{HOST}:{runner.addresses[0][1]}/")
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_answers_come_in_the_order_of_the_texts() -> None:
    bodies = [str(number).encode() for number in range(50)]
    with served(Application(pause=0.001)) as url:
        assert closed_loop.answers(url, bodies, concurrency=8) == bodies


def test_as_many_texts_are_in_flight_as_the_load_says() -> None:
    application = Application(together=6)
    with served(application) as url:
        closed_loop.window(url, [b"a", b"b"], concurrency=6, seconds=0.1)
    assert application.most_waiting == 6


def test_a_server_that_answers_in_bursts_is_not_measured_by_where_the_window_ends() -> None:
    """Eight answers every 0.2 s, in a window of 0.3 s: one burst and a half."""
    with served(Application(together=8, pause=0.2)) as url:
        measured = closed_loop.window(url, [b"a"], concurrency=8, seconds=0.3)
    assert len(measured.latencies) == 32  # four bursts
    assert 12 < measured.texts_per_second <= 45  # 8 / 0.2 = 40; two bursts in 0.3 s would be 53
    assert measured.latencies.min() >= 195


@pytest.mark.parametrize(
    "ask", [lambda url: closed_loop.answers(url, [b"oil"], 1), lambda url: closed_loop.window(url, [b"oil"], 2, 0.1)]
)
def test_a_failed_answer_ends_the_measurement_with_its_message(ask: Callable[[str], object]) -> None:
    with served(Application(fails=True)) as url, pytest.raises(ServerError, match="status 500: oil"):
        ask(url)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ServerError, match=f"{HOST}:9"):
        closed_loop.window(f"http://{HOST}:9/", [b"oil"], 2, 0.1)
