"""Calls of many megabytes to a running server, and short texts of others meanwhile.

A large call passes, with the label that its beginning has, or is refused alone: the short texts
that are asked all the time are answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from benchmarks.cases.answers import Answer
from benchmarks.cases.calls import Call
from slipway.client.client import Client
from slipway.errors import SlipwayError

CASE = "k03-large-messages"
_MIB = 2**20  # the longest text in bytes
_SECONDS = 120  # for a large call
_SHORT, _HELD_UP = "Oil prices fall", 10  # seconds after which a short text has no answer
_PAUSE = 0.05  # seconds between two short texts


@dataclass
class Others:
    """Short texts that were asked while something else went on."""

    seconds: list[float] = field(default_factory=list)  # of each that was answered
    failures: list[str] = field(default_factory=list)

    def answer(self, case: str) -> Answer:
        if self.failures:
            return Answer(case, 1, f"error: {len(self.failures)} have no answer: {self.failures[0]}", good=False)
        slowest = max(self.seconds, default=0)
        return Answer(case, 0, f"{len(self.seconds)} answered, the slowest in {slowest:.2f} s", bool(self.seconds))


def answers(http: str, grpc: str) -> Iterator[Answer]:
    """Make every call over both protocols, while a second client asks short texts."""
    for protocol, address in (("http", http), ("grpc", grpc)):
        with Client(f"{protocol}://{address}") as client, Client(f"{protocol}://{address}") as other:
            calls = list(_calls(client, f"{CASE}/{protocol}"))
            with asking(lambda: other.classify([_SHORT], deadline=_HELD_UP)) as others:
                yield from [call.answer() for call in calls]
            yield others.answer(f"{CASE}/{protocol}, short texts meanwhile")


def _calls(client: Client, case: str) -> Iterator[Call]:
    def labels(texts: list[str]) -> list[str]:
        return [answer.label for answer in client.classify(texts, deadline=_SECONDS)]

    # Of a long text the beginning is read, and of a long word the same as of one of 300 characters.
    beginning, word, emoji, short = (labels([text]) for text in ("oil " * 1000, "x" * 300, "😀" * 300, _SHORT))
    for what, texts, good in (
        ("32 texts of 1 MiB", ["oil " * (_MIB // 4)] * 32, beginning * 32),
        ("one of a byte more", ["good", "oil " * (_MIB // 4) + "x"], f"text 1 is too long: expected at most {_MIB} bytes"),
        ("1 MiB in characters, more in bytes", ["é" * _MIB], f"expected at most {_MIB} bytes, found {2 * _MIB}"),
        ("one word of 1 MiB", ["x" * _MIB], word),
        ("1 MiB of emoji", ["😀" * (_MIB // 4)], emoji),
        ("3,000 short ones", [_SHORT] * 3000, short * 3000),
    ):
        yield Call(f"{case}, {what}", partial(labels, texts), good)


@contextmanager
def asking(ask: Callable[[], object]) -> Iterator[Others]:
    """Call `ask` again and again in a thread while the block runs; what it raises is a failure."""
    others, over = Others(), threading.Event()

    def loop() -> None:
        while not over.is_set():
            started = time.monotonic()
            try:
                ask()
                others.seconds.append(time.monotonic() - started)
            except SlipwayError as error:
                others.failures.append(f"{error.summary}: {error.found}")
            over.wait(_PAUSE)

    thread = threading.Thread(target=loop, name="short texts", daemon=True)
    thread.start()
    try:
        yield others
    finally:
        over.set()
        thread.join()
