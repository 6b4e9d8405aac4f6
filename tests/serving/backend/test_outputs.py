"""What a client is told when a served model fails or refuses, and what the log says of the same
request.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from serving.server import triton
from serving.server.triton import Server
from slipway.client import client
from slipway.client.transport import PROTOCOLS
from slipway.contract.records import TEXT_MODEL
from slipway.errors import ServerError
from tests.support.serving import tiny_repository

MODELS = (TEXT_MODEL, "ids")
Ask = Callable[[str, object], Any]
FAILING = {TEXT_MODEL: b"good breaks", "ids": [2, 6, 3]}
REFUSED = {TEXT_MODEL: b"  ", "ids": [99]}
GOOD = {TEXT_MODEL: b"good", "ids": [2, 4, 3]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tiny_repository.classifiers(tmp_path_factory.mktemp("journal") / "run")
    with triton.running(run / "model_repository") as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def ask(server: Server, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """(model, input, request id) → its answer."""
    api: Any = {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]
    connection = api.InferenceServerClient(server.address(request.param))

    def asked(model: str, value: object, request_id: str = "") -> Any:
        values = np.array([[value]], object) if model == TEXT_MODEL else np.array([value], np.int32)
        name, kind = ("text", "BYTES") if model == TEXT_MODEL else ("input_word_ids", "INT32")
        tensor = api.InferInput(name, list(values.shape), kind)
        tensor.set_data_from_numpy(values)
        return connection.infer(model, [tensor], request_id=request_id)

    yield asked
    connection.close()


def logged(server: Server, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The log's lines of a request; they come a moment after its answer."""
    deadline = time.monotonic() + 5
    while True:
        log = server.log.read_text()
        lines = [json.loads(line) for line in log[: log.rfind("\n") + 1].splitlines()]  # the last may be half there
        matching = [line for line in lines if request_id in line.get("request_ids", ())]
        if len(matching) >= count or time.monotonic() > deadline:
            return matching
        time.sleep(0.02)


@pytest.mark.parametrize("model", MODELS)
def test_a_failing_model_tells_the_client_its_request_id_and_no_path_or_trace(ask: Ask, model: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(model, FAILING[model], "told-7")
    assert caught.value.message() == "the model failed; its log has the reason (request told-7)"


@pytest.mark.parametrize("model", MODELS)
def test_the_log_has_the_reason_and_the_trace_under_that_id(ask: Ask, server: Server, model: str, tmp_path: Path) -> None:
    with pytest.raises(InferenceServerException):
        ask(model, FAILING[model], tmp_path.name)
    [line] = logged(server, tmp_path.name)
    assert (line["level"], line["model"], line["version"]) == ("error", model, "1")
    assert "Gather" in line["message"]
    assert "engine.py" in line["trace"]


@pytest.mark.parametrize("model", MODELS)
def test_a_request_without_an_id_gets_one_that_the_log_knows(ask: Ask, server: Server, model: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(model, FAILING[model])
    match = re.fullmatch(r".* \(request ([0-9a-f]{32})\)", caught.value.message())
    assert match
    assert len(logged(server, match[1])) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_refusal_says_what_is_wrong_and_the_request_id(ask: Ask, server: Server, model: str, tmp_path: Path) -> None:
    with pytest.raises(InferenceServerException, match=f"expected .* \\(request {tmp_path.name}\\)"):
        ask(model, REFUSED[model], tmp_path.name)
    assert [line["level"] for line in logged(server, tmp_path.name, 2)] == ["warning", "info"]


@pytest.mark.parametrize("model", MODELS)
def test_after_a_failure_the_next_good_request_is_answered_and_logged(ask: Ask, server: Server, model: str, tmp_path: Path) -> None:
    with pytest.raises(InferenceServerException):
        ask(model, FAILING[model])
    assert ask(model, GOOD[model], tmp_path.name).as_numpy("logits").shape == (1, 2)
    assert [line["message"] for line in logged(server, tmp_path.name)] == ["batch done"]


def test_a_very_long_request_id_is_cut(ask: Ask) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(TEXT_MODEL, REFUSED[TEXT_MODEL], "x" * 100_000)
    assert len(caught.value.message()) < 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_clients_error_names_the_request_that_the_log_knows(server: Server, protocol: str) -> None:
    with client.Client(f"{protocol}://{server.address(protocol)}") as connection:
        assert connection.classify(["good"])[0].label == "no"
        with pytest.raises(ServerError) as caught:
            connection.classify(["good breaks"])
    match = re.search("request ([0-9a-f]{16})", caught.value.where)
    assert match
    assert [line["level"] for line in logged(server, match[1])] == ["error"]


def test_requests_are_answered_when_nobody_reads_the_log_any_more(tmp_path: Path) -> None:
    """As after a supervisor's end; the server drains then."""
    run = tiny_repository.classifiers(tmp_path / "run")
    with triton.running(run / "model_repository") as server, client.Client(f"http://{server.http}") as connection:
        assert server.process.stdout
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), server.process.stdout.fileno())  # the pipe's other end is closed with its last read
        assert [connection.classify(["good"])[0].label for _ in range(10)] == ["no"] * 10
        with pytest.raises(ServerError, match="the model failed; its log has the reason"):
            connection.classify(["good breaks"])
        assert not server.reader.is_alive()
        server.process.kill()


def test_a_request_that_cannot_be_read_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("not asked"))
    from serving.backend import outputs

    first, second = outputs.of_each(lambda request: request.decode(), [b"good", b"\xff"])
    assert first == "good"
    assert isinstance(second, outputs.Failure)
    assert "Traceback" in second.trace
