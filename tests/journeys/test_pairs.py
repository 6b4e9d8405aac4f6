"""Text pairs through the real Triton: the golden answers, clear refusals, and neighbours that do
not suffer from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load
from serving.server import triton
from serving.server.triton import Server
from slipway.client import client
from slipway.client.client import Client
from slipway.client.transport import PROTOCOLS
from slipway.contract import bundle
from slipway.contract.bundle import Golden
from slipway.errors import ServerError
from tests.support.command import command, slipway_output, succeed

MODEL = "bert_onnx_fp32"


@pytest.fixture(scope="module")
def server(pairs_run: Path) -> Iterator[Server]:
    with triton.running(pairs_run / "model_repository") as running:
        yield running


@pytest.fixture
def golden(pairs_run: Path) -> Golden:
    return bundle.load_golden(bundle.load(pairs_run / "bundle"))


def test_pairs_pass_parity_over_both_protocols_by_text_and_by_ids(pairs_run: Path) -> None:
    slipway_output("verify", pairs_run)
    checks = json.loads((pairs_run / "served.json").read_text("utf-8"))["checks"]
    found = {(check["model"], check["protocol"], check["rows"], check["passed"]) for check in checks}
    asked = ("text_classifier (onnx_fp32)", MODEL)
    assert found >= {(name, protocol, 400, True) for protocol in PROTOCOLS for name in asked}


def test_perf_analyzer_and_the_engines_limit_take_pairs(server: Server, pairs_run: Path, golden: Golden, tmp_path: Path) -> None:
    perf_analyzer.write_texts(golden.texts[:100], "text_pair", tmp_path / "texts.json")
    found = perf_analyzer.run(Load("text_classifier", "grpc", server.grpc, 8, window_ms=500), tmp_path / "texts.json")
    assert (found.failure, found.errors, found.latencies.size > 0) == ("", 0, True)
    version = pairs_run / "model_repository/text_classifier/1"
    limit = json.loads(succeed("-m", "serving.load.engine_limit", version, pairs_run / "bundle/golden.jsonl", "--texts", 100))
    assert limit["mean_tokens"] == golden.ids.lengths[:100].mean()


def test_pairs_are_answered_with_the_golden_logits(connection: Client, golden: Golden) -> None:
    answers = connection.classify(golden.texts)
    np.testing.assert_allclose([answer.logits for answer in answers], golden.logits, atol=1e-4)
    assert [answer.tokens for answer in answers] == golden.ids.lengths.tolist()


def test_where_the_second_text_begins_matters(connection: Client) -> None:
    one, other = connection.classify([("ba be", "fick"), ("ba", "be fick")])
    assert one.tokens == other.tokens
    assert np.abs(np.subtract(one.logits, other.logits)).max() > 1e-3


@pytest.mark.parametrize(("pair", "message"), [(("", "be"), "text 1 is empty"), (("ba", " "), "text_b 1 is empty")])
def test_an_empty_text_of_a_pair_is_refused_by_its_name(connection: Client, pair: tuple[str, str], message: str) -> None:
    with pytest.raises(ServerError, match=message):
        connection.classify([("ba", "be"), pair])


def test_a_pair_without_its_second_text_is_refused(connection: Client) -> None:
    with pytest.raises(ServerError, match="expected 2 inputs but got 1"):
        connection.classify(["ba be"])


@pytest.mark.parametrize("texts", [["ba", ("be", "bi")], [("ba", "be", "bi")], [()]])
def test_what_is_no_pair_is_refused_before_it_is_sent(texts: list[str]) -> None:
    with client.Client("http://127.0.0.1:1") as unused, pytest.raises(ServerError, match="neither single texts nor pairs"):
        unused.classify(texts)


def test_type_ids_are_wanted_and_checked(connection: Client) -> None:
    ids = np.array([[2, 7, 3, 8, 3]], np.int32)
    assert connection.logits(MODEL, ids, np.array([[0, 0, 0, 1, 1]], np.int32)).shape == (1, 3)
    for types, message in ((None, "expected 2 inputs but got 1"), (ids, "type ids 0 and 1"), (0 * ids[:, :2], "of the shape")):
        with pytest.raises(ServerError, match=message):
            connection.logits(MODEL, ids, types)


def test_a_bad_pair_among_many_sent_at_once_fails_alone(server: Server, golden: Golden) -> None:
    def ask(number: int) -> tuple[float, ...] | str:
        with client.Client(f"grpc://{server.grpc}") as connected:
            try:
                return connected.classify([("ba", "") if number % 2 else golden.texts[number]])[0].logits
            except ServerError as refused:
                return refused.found

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(ask, range(64)))
    np.testing.assert_allclose(np.array(answers[::2]), golden.logits[:64:2], atol=1e-4)
    assert all("is empty" in str(answer) for answer in answers[1::2])


def test_ask_wants_the_second_text(server: Server) -> None:
    ask = ["-m", "slipway.cli", "ask", "--port", server.ports.http, "ba be"]
    alone = command(*ask)
    assert (alone.returncode, "--second" in alone.stderr) == (8, True)
    assert succeed(*ask, "--second", "bi").split("\n")[1:3] == ["ba be", "bi"]
