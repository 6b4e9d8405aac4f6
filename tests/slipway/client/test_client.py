"""The client: right answers however it is called, and what it does when the server is slow, away,
or says no.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest

from serving.server import triton
from serving.server.triton import Server
from slipway.client import client, transport
from slipway.client.client import AsyncClient, Client
from slipway.client.transport import PROTOCOLS, Options, RequestRefused, Tls, Unavailable
from slipway.contract.records import HOST
from slipway.errors import ServerError
from tests.support.serving.forwarding import forwarding, over_tls, self_signed

TEXTS = [f"text {number}" for number in range(150)]  # more than one request holds
both = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def server(echo_server: Server) -> Server:
    return echo_server


def test_answers_come_in_the_order_of_the_texts(connection: Client) -> None:
    assert [answer.label for answer in connection.classify(TEXTS)] == TEXTS


def test_a_client_takes_a_bare_address_or_a_url_and_is_closed_by_hand(echo_server: Server) -> None:
    for address in (echo_server.http, f"http://{echo_server.http}/", f"grpc://{echo_server.grpc}"):
        plain = Client(address)
        assert plain.classify(["text"])[0].label == "text"
        plain.close()


def test_an_async_client_takes_a_url(echo_server: Server) -> None:
    async def ask() -> str:
        async with AsyncClient(f"grpc://{echo_server.grpc}") as server:
            return (await server.classify(["text"]))[0].label

    assert asyncio.run(ask()) == "text"


@pytest.mark.parametrize("address", ["https://ann:secret@models.example:443", "models.example:80/?key=secret"])
def test_an_address_with_a_password_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(ServerError, match="--headers") as refused:
        Client(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", ["", "ftp://127.0.0.1:8000", "http://", "127.0.0.1:port", "127.0.0.1:80000", None, 8000])
def test_another_address_is_refused_with_the_forms_there_are(address: Any) -> None:
    with pytest.raises(ServerError, match="grpc://host:port"):
        Client(address)


def test_the_port_of_grpc_asked_over_http_is_named(echo_server: Server) -> None:
    with Client(f"http://{echo_server.grpc}") as wrong, pytest.raises(RequestRefused, match=f"grpc://{echo_server.grpc}"):
        wrong.classify(["text"])


def test_the_port_of_http_asked_over_grpc_is_named(echo_server: Server) -> None:
    with Client(f"grpc://{echo_server.http}") as wrong, pytest.raises(Unavailable, match=f"http://{echo_server.http}"):
        wrong.classify(["text"])


def test_one_string_is_one_text(connection: Client) -> None:
    assert [answer.label for answer in connection.classify("text")] == ["text"]


def test_one_string_is_one_text_of_an_async_client(echo_server: Server) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(echo_server.http) as server:
            return [answer.label for answer in await server.classify("text")]

    assert asyncio.run(ask()) == ["text"]


def test_a_generator_may_ask_the_client_that_reads_it(connection: Client) -> None:
    def texts() -> Iterator[str]:
        yield connection.classify("inner", deadline=5)[0].label

    assert [answer.label for answer in connection.classify(texts(), deadline=10)] == ["inner"]


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), "5"])
def test_a_deadline_that_is_none_is_refused(connection: Client, deadline: Any) -> None:
    with pytest.raises(ServerError, match="seconds above 0"):
        connection.classify(["text"], deadline=deadline)


@pytest.mark.parametrize("model", ["", None, 7, "a/b"])
def test_a_model_that_has_no_name_is_refused(connection: Client, model: Any) -> None:
    with pytest.raises(ServerError, match="no model's name"):
        connection.classify(["text"], model=model)


@both
@pytest.mark.parametrize("headers", [{"key": 7}, {"a key": "secret"}, {"key": "secret\n"}, {"key": "secrét"}])
def test_headers_that_cannot_be_sent_are_refused_and_not_shown(protocol: str, headers: Any) -> None:
    with pytest.raises(ServerError, match="cannot be sent") as refused:
        Client(f"{protocol}://127.0.0.1:1", Options(headers=headers))
    assert "secr" not in str(refused.value)


def test_the_models_task_is_told_by_its_inputs(connection: Client) -> None:
    assert connection.task() == "single_text"


def test_one_client_serves_several_threads(connection: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda text: connection.classify([text])[0].label, TEXTS))
    assert answers == TEXTS


@both
def test_many_calls_are_in_flight_at_once(echo_server: Server, protocol: str) -> None:
    async def ask() -> list[str]:
        async with client.AsyncClient(f"{protocol}://{echo_server.address(protocol)}") as server:
            parts = await asyncio.gather(*(server.classify([text]) for text in TEXTS))
        return [answer.label for [answer] in parts]

    assert asyncio.run(ask()) == TEXTS


def test_a_waiting_client_works_inside_of_a_running_event_loop(connection: Client) -> None:
    async def notebook() -> str:
        return connection.classify(["a cell"])[0].label

    assert asyncio.run(notebook()) == "a cell"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Takes connections and says nothing."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening


def at(listening: socket.socket) -> str:
    return f"{HOST}:{listening.getsockname()[1]}"


@both
def test_a_call_ends_at_its_deadline(silent: socket.socket, protocol: str) -> None:
    started = time.monotonic()
    with (
        client.Client(f"{protocol}://{at(silent)}") as server,
        pytest.raises(ServerError, match=r"within 0\.3 s.*\n.*\n.*request [0-9a-f]{16}"),
    ):
        server.classify(TEXTS, deadline=0.3)
    assert time.monotonic() - started < 2


def test_a_cancelled_http_request_closes_its_connection(silent: socket.socket) -> None:
    with client.Client(f"http://{at(silent)}") as server:
        future = server.start(server.aio.classify(["text"]))
        with silent.accept()[0] as accepted:
            accepted.settimeout(10)
            assert accepted.recv(1)
            future.cancel()
            while accepted.recv(4096):
                pass


def test_a_cancelled_grpc_request_is_cancelled_in_the_server(echo_server: Server) -> None:
    with client.Client(f"grpc://{echo_server.grpc}") as server:
        future = server.start(server.aio.classify(["slow"]))
        time.sleep(0.5)
        future.cancel()
        started = time.monotonic()
        assert server.classify(["cancelled"])[0].tokens == 1
        assert time.monotonic() - started < 3  # slow takes five


@both
def test_closing_ends_what_is_in_flight(silent: socket.socket, protocol: str) -> None:
    with client.Client(f"{protocol}://{at(silent)}") as server:
        future = server.start(server.aio.classify(["text"]))
    wait_for([future], timeout=5)
    with pytest.raises(CancelledError):
        future.result(0)


@both
def test_a_server_that_comes_later_is_waited_for(echo_server: Server, protocol: str) -> None:
    port = triton.free_ports().http
    options = Options(deadline=30, retries=100)
    with client.Client(f"{protocol}://{HOST}:{port}", options) as server:
        future = server.start(server.aio.classify(["late"]))
        time.sleep(1)
        assert not future.done()
        with forwarding(echo_server.address(protocol), port):
            assert future.result(30)[0].label == "late"


@both
def test_a_server_that_comes_back_is_found_by_the_next_call(echo_server: Server, protocol: str) -> None:
    port = triton.free_ports().http
    with client.Client(f"{protocol}://{HOST}:{port}", Options(retries=50)) as server:
        for text in ("before", "after"):
            with forwarding(echo_server.address(protocol), port):
                assert server.classify([text])[0].label == text


@both
def test_retries_end_before_the_deadline(protocol: str) -> None:
    nobody = f"{HOST}:{triton.free_ports().http}"
    started = time.monotonic()
    with (
        mock.patch("random.uniform", return_value=1.0),
        client.Client(f"{protocol}://{nobody}", Options(deadline=3, retries=1000)) as server,
        pytest.raises(Unavailable, match="serve RUN"),
    ):
        server.classify(["text"])
    assert time.monotonic() - started < 3  # after two pauses: the third would end with the deadline


def failing(kind: type[ServerError], asked: list[int]) -> Callable[[], Any]:
    async def ask() -> None:
        asked.append(1)
        raise kind("no", expected="", found="", where="", fix="")

    return ask


@pytest.mark.parametrize(("kind", "times"), [(Unavailable, 4), (RequestRefused, 1), (ServerError, 1)])
def test_only_the_unavailable_is_asked_again(kind: type[ServerError], times: int) -> None:
    asked: list[int] = []
    with mock.patch("asyncio.sleep"), pytest.raises(kind):
        asyncio.run(transport.persist(failing(kind, asked), retries=3, end=float("inf")))
    assert len(asked) == times


def test_a_busy_server_is_asked_again_until_the_deadline() -> None:
    asked: list[int] = []
    loop = mock.Mock(time=mock.Mock(side_effect=range(100)))  # s; each look is one later
    persisting = transport.persist(failing(transport.Busy, asked), retries=3, end=20.0)
    with mock.patch("asyncio.sleep"), mock.patch("random.uniform", return_value=0.0), pytest.raises(transport.Busy):  # noqa: SIM117
        with mock.patch("asyncio.get_running_loop", return_value=loop):
            asyncio.run(persisting)
    assert len(asked) == 21


def test_without_retries_a_busy_server_is_asked_once() -> None:
    asked: list[int] = []
    with pytest.raises(transport.Busy):
        asyncio.run(transport.persist(failing(transport.Busy, asked), retries=0, end=float("inf")))
    assert len(asked) == 1


def test_pauses_are_drawn_and_grow_up_to_a_limit() -> None:
    with mock.patch("random.uniform", return_value=0.0) as drawn, pytest.raises(Unavailable):
        asyncio.run(transport.persist(failing(Unavailable, []), retries=7, end=float("inf")))
    assert [call.args for call in drawn.call_args_list] == [(0, pause) for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0)]


Heard = list[dict[str, str]]  # the headers of each request


@contextmanager
def http_answers(*answers: tuple[int, bytes]) -> Iterator[tuple[str, Heard]]:
    """The address of a server that gives these answers in turn, and what it heard."""
    heard: Heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            heard.append({name.lower(): value for name, value in self.headers.items()})
            status, body = answers[len(heard) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{HOST}:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def grpc_answers(*codes: grpc.StatusCode) -> Iterator[tuple[str, Heard]]:
    """The same for gRPC, whose answers are these refusals."""
    heard: Heard = []

    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        heard.append(dict(context.invocation_metadata()))
        context.abort(codes[len(heard) - 1], "as told")
        return b""

    methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield f"{HOST}:{port}", heard
    finally:
        server.stop(None).wait()


@contextmanager
def busy_then_refusing(protocol: str) -> Iterator[tuple[str, Heard]]:
    if protocol == "http":
        with http_answers((503, b'{"error": "come again"}'), (400, b'{"error": "as told"}')) as found:
            yield found
    else:
        with grpc_answers(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT) as found:
            yield found


@both
def test_a_busy_server_is_asked_again_and_a_refusal_is_final(protocol: str) -> None:
    with busy_then_refusing(protocol) as (where, heard), client.Client(f"{protocol}://{where}") as server:
        with pytest.raises(RequestRefused, match="as told"):
            server.classify(["text"])
        assert len(heard) == 2


@both
def test_headers_go_with_every_request(protocol: str) -> None:
    options = Options(headers={"X-Key": "secret"})
    with busy_then_refusing(protocol) as (where, heard), client.Client(f"{protocol}://{where}", options) as server:
        with pytest.raises(RequestRefused):
            server.classify(["text"])
        assert [one["x-key"] for one in heard] == ["secret", "secret"]


def test_http_answers_are_not_asked_for_compressed() -> None:
    with busy_then_refusing("http") as (where, heard), client.Client(f"http://{where}") as server:
        with pytest.raises(RequestRefused):
            server.classify(["text"])
        assert heard[0]["accept-encoding"] == "identity"


def test_headers_are_not_shown() -> None:
    assert "secret" not in repr(Options(headers={"X-Key": "secret"}))


def test_an_answer_that_is_not_tritons_is_refused() -> None:
    with http_answers((200, b"<html>")) as (where, _), client.Client(f"http://{where}") as server, pytest.raises(RequestRefused):
        server.classify(["text"])


def test_an_answer_to_fewer_texts_than_were_asked_is_refused() -> None:
    label = {"name": "label", "datatype": "BYTES", "shape": [1, 1], "data": ["yes"]}
    answer = json.dumps({"model_name": "text_classifier", "model_version": "1", "outputs": [label]}).encode()
    refused = pytest.raises(ServerError, match=r"expected  2 rows of label\n  found     1")
    with http_answers((200, answer)) as (where, _), client.Client(f"http://{where}") as server, refused:
        server.classify(["one", "two"])


def test_the_servers_refusal_carries_the_requests_id(connection: Client) -> None:
    with pytest.raises(RequestRefused, match=r"text 1 is empty\n.*request [0-9a-f]{16}"):
        connection.classify(["text", ""])


def test_a_refusal_names_the_rows_of_its_request(connection: Client) -> None:
    with pytest.raises(RequestRefused, match=r"text 5 is empty\n.*whose row 0 is row 64 of the call"):
        connection.classify([*TEXTS[:69], "", *TEXTS[69:]])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return self_signed(tmp_path_factory.mktemp("tls"))


@both
def test_tls_with_certificates_of_both_sides(echo_server: Server, protocol: str, certificate: Tls) -> None:
    options = Options(tls=certificate)
    with over_tls(echo_server, protocol, certificate) as where, client.Client(f"{protocol}://{where}", options) as server:
        assert server.classify(["private"])[0].label == "private"
        with Client(f"{protocol}s://{where}", options) as by_url:
            assert by_url.classify(["private"])[0].label == "private"


@both
def test_a_server_with_an_unknown_certificate_gets_no_text(echo_server: Server, protocol: str, certificate: Tls) -> None:
    with (
        over_tls(echo_server, protocol, certificate) as where,
        client.Client(f"{protocol}://{where}", Options(tls=Tls())) as server,
        pytest.raises(RequestRefused, match="certificate is not trusted"),
    ):
        server.classify(["private"])


@both
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_files_that_are_no_certificates_are_refused(protocol: str, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    if content:
        path.write_text(content)
    with (
        pytest.raises(ServerError, match=r"authorities\.pem"),
        client.Client(f"{protocol}://127.0.0.1:1", Options(tls=Tls(path))) as server,
    ):
        server.classify(["private"])
