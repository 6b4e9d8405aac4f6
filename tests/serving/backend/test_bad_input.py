"""Over two hundred requests that are wrong: each gets the answer of docs/bad_input.md's tables, and
harms nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest

from serving.server import triton
from serving.server.triton import Server
from tests.serving.backend.bad_input import bad_http, bad_input, bad_input_page, bad_requests
from tests.serving.backend.bad_input.bad_input import Case, over_grpc, over_http
from tests.serving.backend.bad_input.bad_input_page import PAGE, TABLES
from tests.support.serving import tiny_repository

pytestmark = pytest.mark.experiment("bad-input matrix")

CASES = list(chain(*TABLES.values()))
LEAK = re.compile(r"/\w+/|\.py\b|Traceback|site-packages")  # of a path on the server's machine, or of a trace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repository.classifiers(tmp_path_factory.mktemp("bad") / "run", others=True)


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    with triton.running(run / "model_repository") as running:
        yield running
        running.process.kill()  # stopped in good order, it would wait for the requests that it never answers


@pytest.fixture(scope="module")
def processes(server: Server) -> set[int]:
    return alive(server)


def alive(server: Server) -> set[int]:
    """Triton and its models' processes."""
    triton_itself = psutil.Process(server.process.pid)
    every = (triton_itself, *triton_itself.children(recursive=True))
    return {process.pid for process in every if process.status() != psutil.STATUS_ZOMBIE}


def good_answers(server: Server) -> list[tuple[str, str]]:
    ask, ask_ids = bad_requests.GOOD, bad_requests.GOOD_IDS
    return [
        over_http(ask.path, *ask.body())(server),
        over_grpc(ask.message())(server),
        over_grpc(ask_ids.message())(server),
    ]


GOOD = [("200", bad_requests.ANSWER), ("OK", bad_requests.ANSWER), ("OK", bad_requests.LOGITS)]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.protocol}: {case.what}" for case in CASES])
def test_the_documented_answer_then_the_same_processes_then_right_ones(server: Server, processes: set[int], case: Case) -> None:
    status, message = case.send(server)
    assert (status, message if not bad_input.fits(message, case.message) else case.message) == (case.status, case.message)
    assert not LEAK.search(message.replace("/etc/passwd", ""))
    assert good_answers(server) == GOOD
    assert alive(server) == processes


def test_there_are_sixty_cases_of_each_protocol() -> None:
    for protocol in ("http", "grpc"):
        assert len({case.what for case in CASES if case.protocol == protocol}) >= 60


def test_the_tables_of_the_page_are_these_cases() -> None:
    page = PAGE.read_text("utf-8")
    assert bad_input_page.with_tables(page) == page, "python -m tests.serving.backend.bad_input.bad_input_page"


NESTED = b"[" * 100_000 + b'"good"' + b"]" * 100_000
ENDINGS = {
    "a huge row of ids, as JSON": over_http(bad_http.IDS, bad_http.ids(2, 4, 3, shape=[1, 2**40])),
    "data 100,000 arrays deep": over_http(bad_http.INFER, bad_http.body(data=[]).replace(b"[]", NESTED)),
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    with triton.running(tiny_repository.classifiers(tmp_path / "run") / "model_repository") as running:
        yield running
        running.process.kill()  # it would drain, and wait for what no longer answers


@pytest.mark.parametrize("what", ENDINGS)
def test_what_the_page_says_ends_the_server_does(own: Server, what: str) -> None:
    with pytest.raises(ConnectionError):
        ENDINGS[what](own)
    assert own.process.wait(timeout=30) != 0


def test_what_the_page_says_ends_a_model_does_not_end_the_server(own: Server) -> None:
    huge = bad_requests.ask_ids(shape=(1, 2**62), raw=b"").message()
    assert over_grpc(huge)(own) == ("INTERNAL", "Stub process 'ids_0_0' is not healthy.")
    assert good_answers(own)[:2] == GOOD[:2]
