"""`slipway verify RUN --address …`: a server that runs already, held against RUN's SavedModel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import commands
from serving.server import triton
from serving.server.triton import Server
from slipway.contract import bundle, manifest
from slipway.contract.records import ENDPOINT, HOST, REPOSITORY, SERVED, TEXT_MODEL
from tests.support.command import Once, slipway, slipway_output
from tests.support.serving import word_runs


@pytest.fixture(scope="module")
def run(once: Once) -> Path:
    return once("verified_elsewhere", word_runs.build)


@pytest.fixture(scope="module")
def elsewhere(run: Path) -> Iterator[Server]:
    with triton.running(run / "model_repository") as server:
        yield server


def test_it_is_asked_at_every_address_and_the_record_says_where(run: Path, elsewhere: Server) -> None:
    addresses = [f"http://{elsewhere.http}", f"grpc://{elsewhere.grpc}"]
    done = slipway("verify", run, *(word for address in addresses for word in ("--address", address)))
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((run / ENDPOINT).read_text("utf-8"))
    assert (record["passed"], record["addresses"]) == (True, addresses)
    assert [(check["protocol"], check["flips"], check["passed"]) for check in record["checks"]] == [
        ("http", 0, True),
        ("grpc", 0, True),
    ]
    assert not (run / SERVED).exists(), "the record of the run's own server is another"


def test_a_server_of_another_model_fails_and_the_labels_are_counted(elsewhere: Server, tmp_path: Path) -> None:
    other = word_runs.build(tmp_path / "other", wrong=12)
    done = slipway("verify", other, "--address", elsewhere.http)
    assert (done.returncode, "worse" in done.stdout) == (1, True), done.stdout + done.stderr
    assert json.loads((other / ENDPOINT).read_text("utf-8"))["checks"][0]["flips"] > 0


def test_what_serve_proposes_to_ask_is_a_held_out_text(run: Path, elsewhere: Server) -> None:
    words = commands._question(bundle.load(run / "bundle"))
    assert words[0] in bundle.load_golden(bundle.load(run / "bundle")).texts
    assert words[0] in slipway_output("ask", *words, "--address", elsewhere.http)


@pytest.mark.parametrize("task", ["text_pair", "tagging"])
def test_of_other_tasks_it_proposes_what_ask_takes(task: str, tmp_path: Path) -> None:
    source = bundle.load(word_runs.make(tmp_path / "run", task=task) / "bundle")
    assert [word.startswith("--") for word in commands._question(source)] == [False, True, False][: 3 if task == "text_pair" else 1]


def test_limits_of_one_target_are_not_taken_for_the_other(tmp_path: Path) -> None:
    for directory, engine in (("model_repository", "ort_int8"), ("model_repository_ngc", "ort_fp32")):
        (tmp_path / directory).mkdir()
        manifest.write_json(tmp_path / directory / REPOSITORY, {TEXT_MODEL: engine})
    done = slipway("verify", tmp_path, "--address", "grpc://model.example:443")
    assert done.returncode == 2
    fix = f"slipway verify {tmp_path} --address grpc://model.example:443 --target ngc"
    assert fix in done.stderr


def test_a_server_that_is_not_there_is_not_said_to_be_started_here(run: Path) -> None:
    port = triton.free_ports().http
    here = slipway("verify", run, "--address", f"{HOST}:{port}", "--retries", 0)
    away = slipway("verify", run, "--address", f"127.0.0.2:{port}", "--retries", 0)
    assert (here.returncode, away.returncode) == (8, 8)
    assert "slipway serve RUN" in here.stderr
    assert "slipway serve" not in away.stderr
