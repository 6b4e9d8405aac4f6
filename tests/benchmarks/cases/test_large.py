from __future__ import annotations

import threading

from benchmarks.cases import large
from benchmarks.cases.large import Others
from slipway.errors import ServerError

LATE = ServerError("no answer in 10 s", expected="an answer", found="none", where="127.0.0.1:1", fix="ask again")


def test_short_texts_are_asked_while_the_block_runs() -> None:
    twice = threading.Semaphore(0)
    with large.asking(twice.release) as others:
        assert twice.acquire(timeout=10)
        assert twice.acquire(timeout=10)
    assert others.answer("case").good is True


def test_a_short_text_without_an_answer_is_not_good() -> None:
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        raise LATE

    with large.asking(ask) as others:
        assert asked.wait(10)
    answer = others.answer("case")
    assert (answer.good, "no answer in 10 s" in answer.line) == (False, True)


def test_that_nothing_was_asked_is_not_good() -> None:
    assert Others().answer("case").good is False


def test_the_slowest_short_text_is_told() -> None:
    assert Others([0.01, 0.25, 0.1]).answer("case").line == "3 answered, the slowest in 0.25 s"
