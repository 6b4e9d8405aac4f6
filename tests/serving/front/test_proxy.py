"""The front before a real Triton: what it lets through, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from serving.front import config, proxy
from serving.front.config import Limits
from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load
from serving.server import triton
from serving.server.triton import Server
from slipway.client import transport
from slipway.client.client import AsyncClient
from slipway.client.transport import PROTOCOLS, Options
from slipway.contract.records import HOST, TEXT_MODEL, Ports
from slipway.errors import ServerError
from tests.support.command import CHECKOUT
from tests.support.experiments import Experiment
from tests.support.serving import tiny_repository

LIMITS = Limits(streams=2, queue=2, queue_seconds=0.2, body_seconds=0.5)
LONG = 1.5  # seconds that an inference takes: longer than any may wait, also on a machine that stalls
CROWD = 12


@dataclass(frozen=True)
class Fronted:
    ports: Ports
    server: Server
    told: list[str]

    def post(self, seconds: float) -> tuple[int, float, dict[str, str], bytes]:
        """Status, seconds, headers and body of the answer to an inference that takes so long."""
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [seconds]}]})
        return self.ask("POST", "/v2/models/one/infer", body)

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, float, dict[str, str], bytes]:
        started, connection = time.monotonic(), http.client.HTTPConnection(HOST, self.ports.http, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, time.monotonic() - started, {name.lower(): value for name, value in answer.getheaders()}, text
        finally:
            connection.close()

    def grpc(self, seconds: float) -> str:
        """ "OK", or the status of an inference that takes so long."""
        with tritonclient.grpc.InferenceServerClient(f"{HOST}:{self.ports.grpc}") as client:
            try:
                client.infer("one", [tensor(seconds)])
            except InferenceServerException as error:
                return str(error.status())
        return "OK"


def tensor(seconds: float) -> tritonclient.grpc.InferInput:
    x = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.full((1, 1), seconds, np.float32))
    return x


def haproxies() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() == "haproxy"]


def soon(holds: Callable[[], bool], within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    run, told = tiny_repository.sleepers(tmp_path_factory.mktemp("front") / "run"), list[str]()
    with triton.running(run / "model_repository") as server:
        ports = triton.free_ports()
        with proxy.running(ports, server.ports, LIMITS, run / "front.log", told.append):
            yield Fronted(ports, server, told)


def test_of_a_crowd_over_http_some_are_answered_and_the_others_refused_at_once(fronted: Fronted) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(fronted.post, [LONG] * CROWD))
    refused = [answer for answer in answers if answer[0] == 503]
    assert Counter(answer[0] for answer in answers) == {200: LIMITS.streams, 503: CROWD - LIMITS.streams}
    assert max(seconds for _, seconds, _, _ in refused) < LONG
    assert all(headers["retry-after"] == "1" and json.loads(body)["error"] for _, _, headers, body in refused)


def test_of_a_crowd_over_grpc_the_others_are_told_that_the_server_is_unavailable(fronted: Fronted) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = Counter(crowd.map(fronted.grpc, [LONG] * CROWD))
    assert answers == {"OK": LIMITS.streams, "StatusCode.UNAVAILABLE": CROWD - LIMITS.streams}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_that_finds_no_room_is_answered_before_its_deadline(protocol: str, echo_server: Server, tmp_path: Path) -> None:
    ports = triton.free_ports()
    tight = Limits(streams=1, queue=1, queue_seconds=0.001)
    with proxy.running(ports, echo_server.ports, tight, tmp_path / "front.log", print):
        address = f"{protocol}://{HOST}:{ports.http if protocol == 'http' else ports.grpc}"
        once = asyncio.run(crowd(address, Options(retries=0)))
        until_the_deadline = asyncio.run(crowd(address, Options()))
    assert transport.Busy in once
    assert until_the_deadline == {str}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_perf_analyzer_was_refused_is_known_for_that(protocol: str, echo_server: Server, tmp_path: Path) -> None:
    ports = triton.free_ports()
    (tmp_path / "inputs.json").write_text('{"data": [{"text": {"content": ["a"], "shape": [1]}}]}', "utf-8")
    with proxy.running(ports, echo_server.ports, Limits(1, 1, 0.001), tmp_path / "front.log", print):
        load = Load(TEXT_MODEL, protocol, f"{HOST}:{ports.http if protocol == 'http' else ports.grpc}", 16, 300)
        result = perf_analyzer.run(load, tmp_path / "inputs.json")
    assert (result.exit_status, result.rejected) == (99, 1), result.failure


async def crowd(address: str, options: Options) -> set[type]:
    """What a hundred calls at a time end with: a label, or an error."""
    async with AsyncClient(address, options) as client:
        answers = await asyncio.gather(*(client.classify(["a text"]) for _ in range(100)), return_exceptions=True)
    return {type(answer) if isinstance(answer, BaseException) else type(answer[0].label) for answer in answers}


def test_health_and_metrics_are_asked_while_no_inference_has_room(fronted: Fronted) -> None:
    with ThreadPoolExecutor(LIMITS.streams) as crowd:
        busy = [crowd.submit(fronted.post, LONG) for _ in range(LIMITS.streams)]
        time.sleep(LONG / 6)
        status, seconds, _, _ = fronted.ask("GET", "/v2/health/ready")
        assert not any(one.done() for one in busy)
    assert (status, seconds < LONG) == (200, True)


def test_a_grpc_stream_goes_through_and_takes_no_place(fronted: Fronted) -> None:
    answers: list[float] = []
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{fronted.ports.grpc}") as client:
        client.start_stream(lambda result, error: answers.append(float(result.as_numpy("y")[0, 0]) if result else -1.0))
        for seconds in (0.0, 0.125):
            client.async_stream_infer("one", [tensor(seconds)])
        assert soon(lambda: len(answers) == 2)
        assert fronted.post(0.0)[0] == 200
        client.stop_stream()
    assert answers == [0.0, 0.125]


@pytest.mark.experiment("deadline and cancel")
def test_grpc_clients_who_give_up_hear_of_their_deadline_and_end_nobody_elses_request(
    fronted: Fronted, experiment: Experiment, tmp_path: Path
) -> None:
    ports, until = triton.free_ports(), time.monotonic() + 2.5
    with (
        proxy.running(ports, fronted.server.ports, Limits(32, 8), tmp_path / "front.log", print),
        ThreadPoolExecutor(28) as clients,
    ):
        innocents = [clients.submit(ends, ports.grpc, 20.0, until) for _ in range(4)]
        impatient = [clients.submit(ends, ports.grpc, 0.2, until) for _ in range(24)]
        theirs, others = (sum((client.result() for client in group), Counter()) for group in (impatient, innocents))
    experiment.measure("gRPC clients' requests past their deadline", theirs["DEADLINE_EXCEEDED"], at_least=24)
    experiment.measure("of these that ended otherwise", (theirs - Counter(OK=10**6, DEADLINE_EXCEEDED=10**6)).total(), at_most=0)
    experiment.measure("requests beside them that failed", others.total() - others["OK"], at_most=0)


def ends(port: int, deadline: float, until: float) -> Counter[str]:
    """How the requests of a client ended that asks until then, on a connection of its own."""
    seen: Counter[str] = Counter()
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{port}", channel_args=[("grpc.use_local_subchannel_pool", 1)]) as client:
        while time.monotonic() < until:
            try:
                client.infer("one", [tensor(0.02)], client_timeout=deadline)
                seen["OK"] += 1
            except InferenceServerException as error:
                past = "DEADLINE_EXCEEDED" in str(error.status())
                seen["DEADLINE_EXCEEDED" if past else f"{error.status()} {error.message()}"] += 1
    return seen


def test_clients_that_never_send_the_rest_hold_no_place(fronted: Fronted) -> None:
    head = b"POST /v2/models/one/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"
    slow = [socket.create_connection((HOST, fronted.ports.http), timeout=10) for _ in range(4 * LIMITS.streams)]
    try:
        for connection in slow:
            connection.sendall(head)
        assert fronted.post(0.0)[0] == 200
        assert [connection.recv(13)[9:12] for connection in slow] == [b"408"] * len(slow)
    finally:
        for connection in slow:
            connection.close()


def test_the_request_in_half_a_million_chunks_that_ends_triton_does_not_reach_it(fronted: Fronted) -> None:
    connection = socket.create_connection((HOST, fronted.ports.http), timeout=20)
    with connection:
        connection.sendall(b"POST /v2/models/one/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            connection.sendall(b"1\r\n \r\n" * 600_000 + b"0\r\n\r\n")
        except OSError:
            pass  # refused before its end
        else:
            assert connection.recv(12)[9:] == b"411"
    assert fronted.post(0.0)[0] == 200
    assert fronted.server.process.poll() is None


def test_a_trailer_is_no_beginning_of_the_next_clients_request(fronted: Fronted) -> None:
    """Triton takes it for one, and would not answer who comes next on its connection."""
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [0.0]}]}).encode()
    head = b"POST /v2/models/one/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((HOST, fronted.ports.http), timeout=20) as connection:
        connection.sendall(head + b"%x\r\n%s\r\n0\r\nname: value\r\n\r\n" % (len(body), body))
        assert connection.recv(12)[9:] == b"200"
    assert fronted.post(0.0)[:1] == (200,)


@pytest.mark.parametrize(("path", "header"), [("/v2/models/one/infer", "x" * 9000), (f"/v2/models/{'x' * 9000}/infer", "x")])
def test_a_head_that_triton_would_not_read_is_refused_with_its_limit(fronted: Fronted, path: str, header: str) -> None:
    connection = http.client.HTTPConnection(HOST, fronted.ports.http, timeout=20)
    connection.request("POST", path, "{}", {"x": header})
    answer = connection.getresponse()
    assert (answer.status, "8000 bytes" in json.loads(answer.read())["error"]) == (431, True)
    connection.close()


def test_a_body_larger_than_any_batch_is_refused_before_it_is_sent(fronted: Fronted) -> None:
    with socket.create_connection((HOST, fronted.ports.http), timeout=10) as connection:
        connection.sendall(b"POST /v2/models/one/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")
        assert connection.recv(12)[9:] == b"413"


def test_the_metrics_are_tritons_and_the_fronts_own(fronted: Fronted) -> None:
    pages = {}
    for path in ("/metrics", config.FRONT_METRICS):
        connection = http.client.HTTPConnection(HOST, fronted.ports.metrics, timeout=10)
        connection.request("GET", path)
        pages[path] = connection.getresponse().read().decode()
        connection.close()
    assert "nv_inference_request_success" in pages["/metrics"]
    assert 'haproxy_backend_http_requests_total{proxy="http_inferences"}' in pages[config.FRONT_METRICS].replace(" ", "")


def test_a_killed_front_is_back(fronted: Fronted) -> None:
    [before] = haproxies()
    before.kill()
    assert soon(lambda: [child.pid for child in haproxies()] not in ([], [before.pid]))
    assert soon(lambda: answers(fronted))
    assert len(fronted.told) == 1


def answers(fronted: Fronted) -> bool:
    try:
        return fronted.ask("GET", "/v2/health/live")[0] == 200
    except OSError:
        return False


def test_it_ends_with_the_block_though_connections_are_idle(tmp_path: Path) -> None:
    ports, log = triton.free_ports(), tmp_path / "front.log"
    before = {child.pid for child in haproxies()}
    with proxy.running(ports, Ports(1, 2, 3), LIMITS, log, print):
        [own] = {child.pid for child in haproxies()} - before
        idle = [socket.create_connection((HOST, port)) for port in vars(ports).values()]
        started = time.monotonic()
    for connection in idle:
        connection.close()
    assert time.monotonic() - started < 5
    assert not psutil.pid_exists(own)
    triton.check_ports(ports)


ALONE = """
import sys, time
from pathlib import Path
from serving.front import proxy
from serving.front.config import Limits
from slipway.contract.records import Ports
ports, triton = (Ports(*map(int, words.split())) for words in sys.argv[1:3])
with proxy.running(ports, triton, Limits(2, 2), Path(sys.argv[3]), print):
    print("listening", flush=True)
    time.sleep(60)
"""


def test_when_its_parent_is_killed_it_answers_what_it_began_and_ends(fronted: Fronted, tmp_path: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv, of util-linux")
    ports = triton.free_ports()
    words = [" ".join(str(port) for port in vars(both).values()) for both in (ports, fronted.server.ports)]
    parent = subprocess.Popen([sys.executable, "-c", ALONE, *words, tmp_path / "log"], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"listening\n"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(Fronted(ports, fronted.server, []).post, LONG)
        time.sleep(LONG / 3)
        parent.kill()
        assert answer.result()[0] == 200
    parent.wait()
    parent.stdout.close()
    assert soon(lambda: is_free(ports))


def is_free(ports: Ports) -> bool:
    try:
        triton.check_ports(ports)
    except ServerError:
        return False
    return True


def test_a_taken_port_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    ports = triton.free_ports()
    before = {child.pid for child in haproxies()}
    with socket.create_server((HOST, ports.metrics)), pytest.raises(ServerError):  # noqa: SIM117
        with proxy.running(ports, Ports(1, 2, 3), LIMITS, tmp_path / "front.log", lambda _: None):
            pytest.fail("it runs")
    assert {child.pid for child in haproxies()} == before
