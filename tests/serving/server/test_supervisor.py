"""`slipway serve`: closed without the key, stopped without a dropped request, back after a kill."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving import commands
from serving.server import control, shared_memory, supervisor, triton
from serving.server.triton import Server
from slipway.contract import manifest
from slipway.contract.records import HOST, REPOSITORY, Ports
from slipway.errors import ServerError
from tests.support import clock
from tests.support.command import CHECKOUT
from tests.support.experiments import Experiment
from tests.support.faults import here
from tests.support.serving import tiny_repository


@dataclass(frozen=True)
class Serving:
    process: psutil.Popen
    run: Path
    port: int
    output: Path

    def tritons(self) -> list[psutil.Process]:
        return [child for child in self.process.children() if child.name() == "tritonserver"]

    def triton(self) -> psutil.Process:
        [server] = self.tritons()
        return server

    def stubs(self) -> list[psutil.Process]:
        """The living Python processes: Triton does not reap a killed one."""
        return [child for child in self.triton().children() if child.status() != psutil.STATUS_ZOMBIE]

    def stub(self, model: str) -> psutil.Process:
        """The Python process of a model."""
        return next(child for child in self.stubs() if f"/{model}/1/" in child.cmdline()[1])

    def key(self) -> str:
        return str(json.loads((self.run / control.RECORD).read_text())["key"])

    def said(self, since: int = 0) -> str:
        """What it has printed, from that character on."""
        return self.output.read_text()[since:]

    def shared_memory(self) -> list[Path]:
        return list(shared_memory.ROOT.glob(f"slipway_{self.process.pid}_*"))

    def post(self, path: str, body: object = None, key: str = "") -> tuple[int, str]:
        """Status and text of the answer; GET without a body; 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {control.HEADER: key} if key else {}
        request = urllib.request.Request(f"http://{HOST}:{self.port}/v2/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def sleep(self, model: str, seconds: float) -> int:
        """Status of an inference that takes so long."""
        x = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [seconds]}
        return self.post(f"models/{model}/infer", {"inputs": [x]})[0]

    def sleep_over_grpc(self, model: str, seconds: float) -> float:
        """What the model answers: the seconds it was asked to take."""
        tensor = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.full((1, 1), seconds, np.float32))
        with tritonclient.grpc.InferenceServerClient(f"{HOST}:{self.port + 1}") as connection:
            return float(connection.infer(model, [tensor]).as_numpy("y")[0, 0])

    def seconds_until(self, holds: Callable[[], bool], within: float) -> float:
        started = time.monotonic()
        while not holds():
            assert time.monotonic() - started < within, self.output.read_text()
            time.sleep(0.05)
        return time.monotonic() - started


def free_port() -> int:
    """One with two free ones before and after it."""
    while True:
        port = triton.free_ports().http
        with contextlib.suppress(ServerError):
            triton.check_ports(Ports(port - 2, port - 1, port))
            return port


def serve(run: Path, output: Path) -> Serving:
    """`slipway serve`'s process, once it has said that it is ready."""
    port = free_port()
    environment = {**os.environ, "AIP_MODE": "PREDICTION"}  # what would make this Triton serve Vertex AI, on all addresses
    with output.open("wb") as file:
        process = psutil.Popen(
            [sys.executable, "-m", "tests.support.serving.unproven", str(run), str(port)],
            cwd=CHECKOUT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    serving = Serving(process, run, port, output)
    serving.seconds_until(lambda: "stop it" in output.read_text() or process.poll() is not None, within=60)
    assert process.poll() is None, output.read_text()
    return serving


def stop(serving: Serving) -> int:
    if serving.process.poll() is None:
        serving.process.terminate()
    return int(serving.process.wait(20))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One for the tests after which it serves all its models again."""
    running = serve(tiny_repository.sleepers(tmp_path_factory.mktemp("shared") / "run"), tmp_path_factory.mktemp("said") / "said")
    yield running
    assert stop(running) == 0, running.said()
    assert not running.shared_memory()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Serving]:
    """One that does not come back from a test."""
    running = serve(tiny_repository.sleepers(tmp_path / "run"), tmp_path / "said")
    yield running
    stop(running)


CLOSED = {  # path of each closed API → what is sent
    "repository/index": {},
    "repository/models/one/load": {},
    "systemsharedmemory/status": None,
    "cudasharedmemory/status": None,
    "trace/setting": None,
    "logging": None,
}


@pytest.mark.experiment("closed by default")
@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("key", ["", "KEY-FROM-PIPE"])
def test_an_api_that_changes_the_server_is_closed_without_the_key(serving: Serving, path: str, key: str) -> None:
    status, answer = serving.post(path, CLOSED[path], key)
    assert (status, "restricted" in answer) == (403, True)


@pytest.mark.parametrize("path", CLOSED)
def test_it_is_open_to_who_has_the_key(serving: Serving, path: str) -> None:
    key = serving.key()
    assert serving.post(path, CLOSED[path], key)[0] == 200


@pytest.mark.experiment("closed by default")
@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("RepositoryIndex", service_pb2.RepositoryIndexRequest),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest),
        ("TraceSetting", service_pb2.TraceSettingRequest),
        ("LogSettings", service_pb2.LogSettingsRequest),
    ],
)
def test_it_is_closed_and_opened_over_grpc_too(serving: Serving, call: str, request_type: type) -> None:
    key = serving.key()
    with grpc.insecure_channel(f"{HOST}:{serving.port + 1}") as channel:
        ask = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), call)
        with pytest.raises(grpc.RpcError, match="restricted"):
            ask(request_type(), timeout=10)
        ask(request_type(), timeout=10, metadata=[(f"triton-grpc-protocol-{control.HEADER}", key)])


def test_the_key_is_in_no_command_line_and_no_environment(serving: Serving) -> None:
    key = serving.key()
    shown = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            shown += [*process.cmdline(), *process.environ().values()]
    assert any("KEY-FROM-PIPE" in word for word in shown), "the server is not among them at all"
    assert not any(key in word for word in shown)


@pytest.mark.experiment("closed by default")
def test_the_key_lies_where_its_owner_alone_can_read_it(serving: Serving) -> None:
    assert (serving.run / control.RECORD).stat().st_mode & 0o777 == 0o600


@pytest.mark.experiment("closed by default")
def test_three_ports_are_open_and_all_on_loopback(serving: Serving) -> None:
    connections = [link for process in serving.process.children() for link in process.net_connections()]
    listening = {(link.laddr.ip.removeprefix("::ffff:"), link.laddr.port) for link in connections}
    assert {address for address in listening if address[1] in range(serving.port, serving.port + 3)} == {
        (HOST, serving.port + offset) for offset in range(3)
    }
    assert {ip for ip, _ in listening} == {HOST}


def test_it_says_that_it_is_for_one_machine_and_what_production_wants(serving: Serving) -> None:
    shown = serving.output.read_text()
    assert "for one machine and development" in shown
    assert "Triton 26.08 or newer behind a proxy" in shown


def test_every_line_of_the_log_is_json_with_time_level_and_message(serving: Serving) -> None:
    lines = [json.loads(line) for line in (serving.run / "triton.log").read_text().splitlines()]
    assert len(lines) > 10
    assert all({"time", "level", "message"} <= set(line) for line in lines)


def refused(serving: Serving, port: int) -> str:
    """What who serves the same run on that port, and the two after it, is told."""
    with pytest.raises(ServerError) as raised:
        commands.keep_serving(serving.run / "model_repository", serving.run, Ports(port, port + 1, port + 2))
    return str(raised.value)


@pytest.mark.experiment("port taken")
@pytest.mark.timeout(60)
def test_a_port_in_use_is_named_and_the_log_of_who_uses_it_stays(serving: Serving) -> None:
    before = (serving.run / "triton.log").stat().st_size
    for taken in (serving.port, serving.port - 1, serving.port - 2):
        assert f"{HOST}:{serving.port} free" in refused(serving, taken)
    assert (serving.run / "triton.log").stat().st_size >= before
    assert (serving.run / control.RECORD).exists()


@pytest.mark.timeout(60)
def test_a_second_server_of_a_run_is_refused_with_the_address_of_the_first(serving: Serving) -> None:
    assert f"{HOST}:{serving.port}" in refused(serving, free_port())
    assert json.loads((serving.run / control.RECORD).read_text())["http"].endswith(str(serving.port))


@pytest.mark.parametrize(("there", "next_step"), [([], "train"), (["bundle"], "export"), (["bundle", "artifacts"], "build")])
def test_a_run_without_a_repository_is_named_with_the_next_command(tmp_path: Path, there: list[str], next_step: str) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    done = here("serve", tmp_path, "--port", free_port())
    assert done.returncode == 6
    assert f"{next_step} {tmp_path}" in done.stderr


@pytest.mark.experiment("supervisor killed")
def test_what_is_left_of_a_dead_server_goes_and_a_living_one_keeps_all(serving: Serving) -> None:
    """Also of one whose process number another process has by now."""
    prefix, lock = shared_memory.reserve(serving.port)
    region = shared_memory.ROOT / f"{prefix}region"
    region.touch()
    before = own_names(f"slipway_{serving.process.pid}_")
    shared_memory.clear_dead()
    assert region.exists()
    os.close(lock)
    shared_memory.clear_dead()
    assert own_names(prefix) == []
    assert own_names(f"slipway_{serving.process.pid}_") == before
    assert before
    assert serving.sleep("one", 0) == 200


def own_names(prefix: str) -> list[str]:
    return sorted(path.name for path in shared_memory.ROOT.iterdir() if path.name.startswith(prefix))


def test_the_lock_of_a_killed_server_is_held_by_its_python_processes_until_they_end(serving: Serving) -> None:
    [lock] = shared_memory.ROOT.glob(f"slipway_{serving.process.pid}_*_lock")
    holding = {process.pid for process in (serving.triton(), *serving.triton().children()) if has_open(process.pid, lock)}
    assert holding == {serving.triton().pid, *(child.pid for child in serving.triton().children())}
    assert not has_open(serving.process.pid, lock)


def has_open(process: int, path: Path) -> bool:
    return any(os.path.realpath(file) == str(path) for file in Path(f"/proc/{process}/fd").iterdir())


def counted(serving: Serving) -> dict[str, float]:
    """What Triton's metrics page says of restarts, by series or model."""
    with urllib.request.urlopen(f"http://{HOST}:{serving.port + 2}/metrics", timeout=10) as answer:
        lines = re.findall(r"^(slipway_\w+)(?:\{model=\"(\w+)\"\})? (\d+)$", answer.read().decode(), re.MULTILINE)
    return {model or name: float(count) for name, model, count in lines}


@pytest.mark.experiment("stub killed")
def test_a_killed_python_process_is_noticed_within_2_s_and_served_again_within_5_s(
    serving: Serving, experiment: Experiment
) -> None:
    told, before = len(serving.said()), counted(serving)
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(serving.sleep("one", 3)))  # in flight when it is killed
    asking.start()
    time.sleep(0.5)
    with clock.running() as seconds:
        started = seconds()
        serving.stub("one").kill()
        serving.seconds_until(lambda: "the Python process of one is gone" in serving.said(told), within=10)
        noticed = seconds() - started
        while serving.sleep("one", 0) != 200:
            assert seconds() - started < 5, serving.said(told)
        back = seconds() - started
    experiment.measure("noticed after", noticed, "s", at_most=2)
    experiment.measure("served again after", back, "s", at_most=5)
    asking.join(20)
    assert statuses == [500]
    assert serving.sleep("two", 0) == 200
    serving.seconds_until(lambda: counted(serving) == {**before, "one": before["one"] + 1}, within=10)


def test_a_model_that_was_loaded_anew_on_purpose_is_left_alone_when_its_old_process_ends(serving: Serving) -> None:
    """The old one takes a while to end beside the new."""
    told = len(serving.said())
    control.reload(f"{HOST}:{serving.port + 1}", serving.key(), "one", within=10)
    serving.seconds_until(lambda: len(serving.stubs()) == 2, within=10)
    time.sleep(1)
    assert "gone" not in serving.said(told)


def test_a_model_that_was_unloaded_on_purpose_stays_so(serving: Serving) -> None:
    told = len(serving.said())
    assert serving.post("repository/models/one/unload", {}, serving.key())[0] == 200
    serving.seconds_until(lambda: len(serving.stubs()) == 1, within=5)
    time.sleep(1)
    assert serving.sleep("one", 0) == 404
    assert "gone" not in serving.said(told)
    assert serving.post("repository/models/one/load", {}, serving.key())[0] == 200


@pytest.mark.experiment("server killed")
def test_a_killed_server_is_back_within_8_s(serving: Serving, experiment: Experiment) -> None:
    server = serving.triton()
    with clock.running() as seconds:
        started = seconds()
        server.kill()
        serving.seconds_until(lambda: serving.sleep("one", 0) == 200, within=30)
        experiment.measure("back after", seconds() - started, "s", at_most=8)
    assert serving.triton().pid != server.pid


@pytest.mark.experiment("drain")
@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_stopping_server_waits_for_the_longest_request_and_for_no_idle_connection(
    own: Serving, seconds: float, experiment: Experiment
) -> None:
    """At most 2 s more; those requests are answered, and nothing is left."""
    idle = [http.client.HTTPConnection(HOST, own.port) for _ in range(5)]
    for connection in idle:
        connection.request("GET", "/v2/health/ready")
        assert connection.getresponse().read() == b""
    answers: list[float] = []
    asks = (lambda: own.sleep("one", seconds), lambda: own.sleep_over_grpc("two", seconds))
    asking = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asks]
    with clock.running() as now:
        for thread in asking:
            thread.start()
        time.sleep(max(0.3, seconds / 2))
        started = now()
        assert stop(own) == 0, own.said()
        took = now() - started
    for thread in asking:
        thread.join()
    assert sorted(answers) == [seconds, 200]
    # 0.5 s for this process, which starts nothing anew but Python's own end.
    experiment.measure(f"with requests of {seconds:g} s in flight, stopped in", took, "s", at_most=seconds + 2 + 0.5)
    for connection in idle:
        connection.close()
    assert not own.shared_memory()
    assert not (own.run / control.RECORD).exists()


@pytest.mark.experiment("tamper")
def test_a_model_whose_files_were_changed_is_not_loaded_anew_and_the_others_are(own: Serving) -> None:
    model = own.run / "model_repository" / "two" / "1" / "model.py"
    model.write_text(tiny_repository.SLEEPER + "# changed")
    own.stub("one").kill()
    own.seconds_until(lambda: "one is served again" in own.said(), within=10)
    own.stub("two").kill()
    own.seconds_until(lambda: "the server goes on without the model" in own.said(), within=10)
    time.sleep(1.5)  # looked at again and again
    assert own.said().count("of two is gone") == 1
    assert f"was changed after it was written: {model}" in own.said()
    assert (own.sleep("two", 0), own.sleep("one", 0)) == (404, 200)
    own.triton().kill()  # nor is the server started on them
    assert own.process.wait(20) == 6
    assert f"where     {model}" in own.said()


BROKEN_LATER = """
from pathlib import Path
if Path(__file__).parents[3].joinpath("broken").exists():
    raise RuntimeError("broken by now")
"""


def test_a_model_that_cannot_be_loaded_anew_is_named_with_its_own_message_and_served_once_it_can(tmp_path: Path) -> None:
    run = tiny_repository.sleepers(tmp_path / "run")
    (run / "model_repository" / "one" / "1" / "model.py").write_text(tiny_repository.SLEEPER + BROKEN_LATER)
    manifest.seal(run / "model_repository", REPOSITORY, {})
    own = serve(run, tmp_path / "said")
    (run / "broken").touch()
    own.stub("one").kill()
    message = "failed to load 'one' version 1: Internal: RuntimeError: broken by now"
    own.seconds_until(lambda: message in own.said(), within=60)
    assert "could not load it anew" in own.said()
    (run / "broken").unlink()
    own.seconds_until(lambda: own.sleep("one", 0) == 200, within=60)
    assert stop(own) == 0
    assert not own.shared_memory()


def test_a_repository_that_is_exchanged_while_it_is_read_is_not_taken_for_a_changed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a promotion does: in the middle of the look, every file is another one."""
    repository = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository"
    after = tiny_repository.sleepers(tmp_path / "after", ("one", "two")) / "model_repository"
    looks: list[str] = []

    def hashes(directory: Path, leave_out: tuple[str, ...] = (), below: str = "") -> dict[str, str]:
        if not looks:
            repository.rename(tmp_path / "before")
            after.rename(repository)
        looks.append(below)
        return sealed_hashes(directory, leave_out, below)

    sealed_hashes = manifest.hashes
    monkeypatch.setattr(manifest, "hashes", hashes)
    triton.check_files(repository)
    assert len(looks) == 2


@pytest.mark.experiment("server killed")
def test_a_server_that_is_killed_while_it_starts_again_comes_back(own: Serving) -> None:
    """As by two requests that end it, the second in the moment before it is ready."""
    for _ in range(2):
        pid = own.triton().pid
        own.triton().kill()
        own.seconds_until(lambda pid=pid: [child.pid for child in own.tritons()] not in ([], [pid]), within=10)
    own.triton().kill()
    back = own.seconds_until(lambda: own.sleep("one", 0) == 200, within=60)
    print(f"back {back:.2f} s after the last kill")
    assert "Triton did not start: starting it again in 1 s" in own.said()
    assert counted(own) == {"slipway_server_restarts": 1, "slipway_failed_starts": 2, "one": 0, "two": 0}
    assert stop(own) == 0, own.said()


@pytest.mark.experiment("supervisor killed")
def test_with_a_killed_supervisor_the_server_answers_what_it_has_and_ends(own: Serving, experiment: Experiment) -> None:
    """Within 3 s, though a client keeps its connection and others go on asking."""
    answers: list[float] = []
    idle = http.client.HTTPConnection(HOST, own.port)
    idle.request("GET", "/v2/health/ready")
    assert idle.getresponse().read() == b""
    asking = [threading.Thread(target=lambda ask=ask: answers.append(ask("one", 1))) for ask in (own.sleep, own.sleep_over_grpc)]
    for thread in asking:
        thread.start()
    time.sleep(0.5)
    server = own.triton()
    processes = [server, *server.children()]
    with clock.running() as seconds:
        started = seconds()
        own.process.kill()
        own.process.wait()
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            assert seconds() - started < 3
            time.sleep(0.02)
        gone = seconds() - started
    experiment.measure("all its processes gone after", gone, "s", at_most=3)
    for thread in asking:
        thread.join()
    idle.close()
    assert sorted(answers) == [1, 200]
    with control.record(own.run, {"http": "another"}):  # what it left is no obstacle
        assert json.loads((own.run / control.RECORD).read_text()) == {"http": "another"}


@pytest.mark.experiment("stub killed")
@pytest.mark.timeout(60)
def test_a_python_process_that_is_gone_before_the_first_look_is_noticed(tmp_path: Path) -> None:
    repository, said = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository", list[str]()
    server = triton.start(repository, triton.free_ports(), tmp_path / "log", control.new_key())
    [stub] = psutil.Process(server.process.pid).children()
    stub.kill()
    while stub.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    def tell(message: str) -> None:
        said.append(message)
        if message == "one is served again":
            raise KeyboardInterrupt

    try:
        assert supervisor.keep(lambda: server, tell, lambda _: None)
    finally:
        triton.stop(server)
    assert said[0].startswith("the Python process of one is gone")


@pytest.mark.experiment("drain")
def test_a_server_that_is_stopped_while_it_says_that_it_is_ready_is_stopped_well(tmp_path: Path) -> None:
    repository = tiny_repository.sleepers(tmp_path / "run", ("one",)) / "model_repository"
    servers: list[Server] = []

    def start() -> Server:
        servers.append(triton.start(repository, triton.free_ports(), tmp_path / "log", control.new_key()))
        return servers[0]

    def greet(_: Server) -> None:
        raise KeyboardInterrupt

    assert supervisor.keep(start, lambda _: None, greet)
    assert servers[0].process.poll() is not None


def test_a_server_that_keeps_ending_is_started_again_later_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts, pauses, said = collections.Counter[str](), list[float](), list[str]()

    def start() -> Server:
        starts["server"] += 1
        if starts["server"] == 9:
            raise KeyboardInterrupt
        if starts["server"] % 2 == 0:
            raise ServerError("not ready", expected="ready", found="ended", where="here", fix="wait")
        process = subprocess.Popen(["false"], start_new_session=True)
        (tmp_path / "log").touch()
        return Server(process, tmp_path, Ports(), tmp_path / "log", threading.Thread(), "slipway_none_", key="")

    monkeypatch.setattr(supervisor, "_LOOK_EVERY", 0)
    monkeypatch.setattr(supervisor.time, "sleep", lambda seconds: pauses.append(seconds) if seconds else None)
    assert supervisor.keep(start, said.append, lambda _: None)
    assert pauses == [1, 2, 4, 8, 10, 10, 10]
    assert len([message for message in said if "starting it again" in message]) == 8
