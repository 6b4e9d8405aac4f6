"""What a configuration says, the real Triton does: warm-up, priorities, a queue that refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving.model_config import Batching, Queue
from serving.server import triton
from serving.server.triton import Server
from slipway.errors import ServerError
from tests.support.serving import tiny_repository


@pytest.mark.parametrize("word", ["nan", "breaks"])
def test_a_version_that_cannot_answer_its_golden_rows_is_refused(tmp_path: Path, word: str) -> None:
    run = tiny_repository.classifiers(tmp_path, golden=[2, tiny_repository.WORDS.index(word), 3])
    with pytest.raises(ServerError, match="not finite" if word == "nan" else "Gather"), triton.running(run / "model_repository"):
        pass


class Asked:
    """Requests to `one`, a sleeper, each in a thread of its own: who ended when, and how."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._threads: list[threading.Thread] = []
        self.ended: list[str] = []
        self.errors: dict[str, str] = {}

    def ask(self, name: str, seconds: float, **options: Any) -> None:
        """Begin a request that fills a batch, so that none shares one; it is in the queue when this
        returns.
        """
        self._threads.append(threading.Thread(target=self._infer, args=(name, seconds, options)))
        self._threads[-1].start()
        time.sleep(0.4)

    def _infer(self, name: str, seconds: float, options: dict[str, Any]) -> None:
        x = tritonclient.http.InferInput("x", [tiny_repository.SLEEPERS_BATCH, 1], "FP32")
        x.set_data_from_numpy(np.full((tiny_repository.SLEEPERS_BATCH, 1), seconds, np.float32))
        with tritonclient.http.InferenceServerClient(self._server.http) as connection:
            try:
                connection.infer("one", [x], **options)
            except InferenceServerException as error:
                self.errors[name] = error.message()
        self.ended.append(name)

    def wait(self) -> None:
        for one in self._threads:
            one.join()


@contextmanager
def asked(run: Path, batching: Batching) -> Iterator[Asked]:
    with triton.running(tiny_repository.sleepers(run, ("one",), batching) / "model_repository") as server:
        requests = Asked(server)
        yield requests
        requests.wait()


def test_a_request_of_the_first_priority_overtakes_those_that_name_none(tmp_path: Path) -> None:
    with asked(tmp_path, Batching(priorities=2)) as requests:
        requests.ask("running", 3)
        requests.ask("waiting", 0.4)
        requests.ask("waiting too", 0.4)
        requests.ask("urgent", 0.4, priority=1)
    assert requests.ended == ["running", "urgent", "waiting", "waiting too"]


def test_a_full_queue_refuses_at_once_and_a_long_wait_is_ended(tmp_path: Path) -> None:
    with asked(tmp_path, Batching(queue=Queue(size=2, timeout=1_500_000))) as requests:
        requests.ask("running", 4)
        requests.ask("waits too long", 0.4)
        requests.ask("asked for less", 0.4, timeout=1_000_000)
        requests.ask("one too many", 0.4)
        assert "one too many" in requests.ended
        assert "running" not in requests.ended
    assert "Exceeds maximum queue size" in requests.errors.pop("one too many")
    assert requests.errors == dict.fromkeys(("waits too long", "asked for less"), "Request timeout expired")
