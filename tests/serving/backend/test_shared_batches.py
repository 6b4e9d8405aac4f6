"""Requests that share a batch: answered as if they were alone, failing alone, and counted on the
metrics page.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import models
from export.graph import fused
from serving.server import triton
from serving.server.triton import Server
from slipway.client import client
from slipway.client.transport import PROTOCOLS, Options, RequestRefused
from slipway.contract.records import TEXT_MODEL
from tests.serving.backend.bad_input import odd_requests
from tests.serving.backend.bad_input.bad_input import Reply
from tests.support.serving import tiny_repository

pytestmark = pytest.mark.experiment("innocent clients in one batch")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(124))]
LONGEST = 40  # tokens; a batch of rows this unequal is mostly padding
TEXTS = [" ".join(WORDS[4 + (row * 7 + at) % 124] for at in range(1 + row * 5 % (LONGEST - 2))) for row in range(120)]
Counts = dict[str, float]
_LEAK = re.compile(r"/\w+/\w+|Traceback|site-packages|Failed to process|the model failed")  # a path, a trace, or our fault


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A BERT with attention, to which padding and neighbours could make a difference."""
    parts = tiny_repository.Parts(fused.write(models.make("tiny", labels=3)), WORDS, ("a", "b", "c"), LONGEST)
    run = tiny_repository.served(tmp_path_factory.mktemp("bert") / "run", parts)
    with triton.running(run / "model_repository") as running:
        yield running


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tiny_repository.classifiers(tmp_path_factory.mktemp("failing") / "run")
    with triton.running(run / "model_repository") as running:
        yield running


def counts(server: Server) -> Counts:
    """What text_classifier has counted, by name; a bucket by name and bound."""
    lines = re.findall(r"^slipway_(\w+)\{(.*)\} (\S+)$", server.metrics(), re.MULTILINE)
    own = [(name, labels, value) for name, labels, value in lines if f'model="{TEXT_MODEL}"' in labels]
    return {name + "".join(re.findall(r'le="(.*?)"', labels)): float(value) for name, labels, value in own}


def more(after: Counts, before: Counts) -> Counts:
    return {name: value - before[name] for name, value in after.items()}


def ask_at_once(server: Server, protocol: str, texts: list[str]) -> list[tuple[float, ...] | str]:
    """Each text as a request of its own, many in flight: its logits, or why it was refused."""
    address = server.http if protocol == "http" else server.grpc

    def ask(text: str) -> tuple[float, ...] | str:
        try:
            return connected.classify([text])[0].logits
        except RequestRefused as refused:
            return refused.found

    with client.Client(f"{protocol}://{address}") as connected, ThreadPoolExecutor(40) as threads:
        return list(threads.map(ask, texts))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_does_not_depend_on_its_neighbours(server: Server, protocol: str) -> None:
    before = counts(server)
    with client.Client(f"grpc://{server.grpc}") as connected:
        alone = [connected.classify([text])[0].logits for text in TEXTS]
    between = counts(server)
    np.testing.assert_allclose(ask_at_once(server, protocol, TEXTS), alone, atol=1e-5)
    apart, together = more(between, before), more(counts(server), between)
    assert apart["batches"] == apart["texts"] == together["texts"] == len(TEXTS)
    assert apart["padding_tokens"] == 0
    assert together["batches"] < len(TEXTS)  # or nothing would have been shown
    assert together["padding_tokens"] > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_that_fail_or_are_refused_fail_alone(failing: Server, protocol: str) -> None:
    answers = ask_at_once(failing, protocol, ["good oil", "breaks", "nan", " "] * 30)
    assert answers[::4] == [(0.0, 0.25)] * 30
    assert all("the model failed; its log has the reason" in str(answer) for answer in (*answers[1::4], *answers[2::4]))
    assert all("text 0 is empty" in str(answer) for answer in answers[3::4])
    assert "each request is run alone" in failing.log.read_text()  # or none of them would have had neighbours


@pytest.mark.parametrize("send", [odd_requests.send_over_http, odd_requests.send_over_grpc])
def test_no_id_parameter_name_header_or_text_harms_a_client_beside_it(
    server: Server, send: Callable[[Server, random.Random], Reply]
) -> None:
    """Four clients send odd requests, sixteen good ones of which none may fail."""

    def send_odd(seed: int) -> list[Reply]:
        dice = random.Random(seed)
        return [send(server, dice) for _ in range(150)]

    def ask_until_done(number: int) -> int:
        protocol = PROTOCOLS[number % 2]
        with client.Client(f"{protocol}://{server.address(protocol)}", Options(retries=0)) as connected:
            alone, answered = connected.classify(["w1 w2"])[0].logits, 0
            while not done.is_set():
                np.testing.assert_allclose(connected.classify(["w1 w2"])[0].logits, alone, atol=1e-5)
                answered += 1
            return answered

    done = threading.Event()
    with ThreadPoolExecutor(20) as threads:
        good = [threads.submit(ask_until_done, number) for number in range(16)]
        try:
            replies = [reply for replies in threads.map(send_odd, range(4)) for reply in replies]
        finally:
            done.set()
    assert min(asking.result() for asking in good) > 5  # or the error that one of them met
    assert len({status for status, _ in replies}) > 1  # answered, and refused
    assert [said for _, said in replies if _LEAK.search(said)] == []


def test_the_metrics_page_counts_tokens_padding_batches_truncations_and_seconds(server: Server) -> None:
    before, started = counts(server), time.perf_counter()
    with client.Client(f"http://{server.http}") as connected:
        connected.classify(["w1", "w1 w2 w3", "w1 " * 100])
        connected.classify(["w1 w2"])
        with pytest.raises(RequestRefused):
            connected.classify([""])
    took, counted = time.perf_counter() - started, more(counts(server), before)
    tokens = 3 + 5 + LONGEST + 4
    assert counted["texts"] == 4
    assert counted["tokens"] == tokens
    assert counted["truncated"] == 1
    assert counted["batches"] == 2
    assert 2 <= counted["micro_batches"] <= 4
    # All three as one, 3 · 40; or the two short ones apart from the long one; or each alone.
    assert counted["padding_tokens"] in (3 * LONGEST + 4 - tokens, 2 * 5 - (3 + 5), 0)
    assert counted["request_seconds_count"] == counted["request_seconds_bucket+Inf"] == 3
    assert 0 < counted["request_seconds_sum"] < took
    buckets = [value for name, value in counted.items() if name.startswith("request_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert counted["errors"] == 1


def test_every_metric_has_a_description_and_a_type(server: Server) -> None:
    page = server.metrics()
    for name in ("tokens", "padding_tokens", "texts", "batches", "micro_batches", "truncated", "errors"):
        assert re.search(rf"^# HELP slipway_{name} \w.*\n# TYPE slipway_{name} counter$", page, re.MULTILINE)
    assert "# TYPE slipway_request_seconds histogram" in page
    assert f'slipway_tokens{{model="{TEXT_MODEL}",version="1"}}' in page


def test_the_page_has_no_text_that_was_asked(server: Server, tmp_path: Path) -> None:
    with client.Client(f"http://{server.http}") as connected:
        connected.classify([tmp_path.name])
    assert tmp_path.name not in server.metrics()
    assert tmp_path.name not in server.log.read_text()
