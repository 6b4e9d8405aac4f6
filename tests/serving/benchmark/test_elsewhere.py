"""`slipway bench RUN --address …`: a server that runs already, measured from outside."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from serving import commands, options
from serving.benchmark import benchmark, elsewhere
from serving.benchmark.journal import LoadRound
from serving.benchmark.plan import SETTINGS, BenchSetting
from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load, LoadResult
from serving.server import triton
from serving.server.triton import Server
from slipway.client import endpoint
from slipway.client.endpoint import Described
from slipway.client.transport import PROTOCOLS
from slipway.contract import manifest
from slipway.contract.records import BENCHMARK, ENDPOINT, ENDPOINT_BENCHMARK, HOST, REPOSITORY
from slipway.errors import ServerError, SlipwayError, UsageError
from tests.support.command import CHECKOUT, Once
from tests.support.serving import word_runs
from tests.support.serving.forwarding import forwarding, over_tls, self_signed

SMALL = replace(SETTINGS["quick"], rounds=1, texts=8, window_ms=100, concurrency=(2,))
SCHEMA = json.loads((CHECKOUT / "docs/benchmark.schema.json").read_text("utf-8"))
HERE = f"http://{HOST}:8000"
DESCRIBED = Described("triton", "2.51.0", ("1",), "python", ("text",))


@pytest.fixture(scope="module")
def built(once: Once) -> Path:
    return once("verified_elsewhere", word_runs.build)


@pytest.fixture(scope="module")
def server(built: Path) -> Iterator[Server]:
    with triton.running(built / "model_repository") as running:
        yield running


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "run", ignore=shutil.ignore_patterns(ENDPOINT)))


def given(declare: Callable[[argparse.ArgumentParser], None], run: Path, *words: object) -> argparse.Namespace:
    """The arguments of a command, as the command line reads them."""
    parser = argparse.ArgumentParser()
    declare(parser)
    return parser.parse_args([str(run), *map(str, words)])


def measure(run: Path, *words: object, setting: BenchSetting = SMALL) -> int:
    return elsewhere.measure(given(options.bench_options, run, *words), setting)


def recorded(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / ENDPOINT_BENCHMARK).read_text("utf-8"))
    return record


def test_what_was_verified_is_measured_over_both_protocols_beside_the_runs_own_benchmark(
    run: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = [f"{protocol}://{server.address(protocol)}" for protocol in PROTOCOLS]
    where = [word for address in addresses for word in ("--address", address)]
    (run / BENCHMARK).write_text("of the run's own server")
    assert commands.verify(given(options.verify_options, run, *where)) == 0
    small = ("--rounds", 1, "--concurrency", 2, "--window-ms", 100, "--texts", 8)
    assert benchmark.bench(given(options.bench_options, run, *where, *small)) == 0
    printed = capsys.readouterr().out
    assert "warning" not in printed
    assert max(map(len, printed.partition("Asked from")[2].partition("choose")[0].splitlines())) <= 80
    record = recorded(run)
    assert [(place["address"], place["server"], place["verified"]) for place in record["addresses"]] == [
        (address, "triton", True) for address in addresses
    ]
    assert [(row["protocol"], row["exit_status"], row["errors"]) for row in record["rows"]] == [("http", 0, 0), ("grpc", 0, 0)]
    for row in record["rows"]:
        assert 0 < record["client_share"][row["id"]] <= 1
        jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/row"}).validate(row)
        assert (row["stages"], row["padding_waste"], row["gpu"]) == (None, None, None), "it cannot be known from outside"
    assert (run / BENCHMARK).read_text() == "of the run's own server"


def test_headers_and_certificates_reach_the_server_and_a_key_is_in_no_record(run: Path, server: Server, tmp_path: Path) -> None:
    certificate, seen = self_signed(tmp_path), {protocol: bytearray() for protocol in PROTOCOLS}
    files = ("--authorities", certificate.authorities, "--certificate", certificate.certificate, "--key", certificate.key)
    with ExitStack() as stack:
        places = [stack.enter_context(over_tls(server, protocol, certificate, seen[protocol])) for protocol in PROTOCOLS]
        where = ("--address", f"https://{places[0]}", "--address", f"grpcs://{places[1]}")
        assert measure(run, *where, *files, "--header", "x-key:kept-secret") == 0
    assert [place["tls"] for place in recorded(run)["addresses"]] == [True, True]
    requests = [row["requests"] for row in recorded(run)["rows"]]
    assert all(seen[protocol].count(b"kept-secret") > asked for protocol, asked in zip(PROTOCOLS, requests, strict=True))
    assert "kept-secret" not in (run / ENDPOINT_BENCHMARK).read_text("utf-8")


def test_a_server_that_goes_away_costs_its_rows_and_no_waiting(run: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    real, way, calls = perf_analyzer.run, ExitStack(), []

    def closed_after_warming_up(load: Load, inputs: Path) -> LoadResult:
        calls.append(load)
        if len(calls) == 2:
            way.close()
        return real(load, inputs)

    monkeypatch.setattr(perf_analyzer, "run", closed_after_warming_up)
    where = way.enter_context(forwarding(server.http))
    assert measure(run, "--address", where, "--retries", 0, setting=replace(SMALL, rounds=3, concurrency=(1, 2))) == 1
    rows = recorded(run)["rows"]
    assert [(row["status"], row["exit_status"]) for row in rows] == [("FAILED", 99)] * 2
    assert "the server had gone" in rows[0]["why"][-1]
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--address", HERE, "--headers", "keys.txt"], "a file of headers"),
        (["--address", HERE, "--subjects", "bert_ort_int8"], "both"),
        (["--address", HERE, "--address", "http://model.example"], "http://model.example"),
    ],
    ids=["a file of headers", "other models", "two servers"],
)
def test_what_cannot_be_measured_elsewhere_is_refused_by_name(words: list[str], found: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=found) as refused:
        measure(tmp_path, *words)
    assert f"bench {tmp_path} --address {HERE}" in refused.value.fix


@pytest.mark.parametrize("entry", [benchmark.bench, commands.verify])
def test_options_of_a_connection_without_an_address_are_refused(entry: Callable[..., int], tmp_path: Path) -> None:
    declare = options.bench_options if entry is benchmark.bench else options.verify_options
    with pytest.raises(UsageError, match="--header, --tls and no address"):
        entry(given(declare, tmp_path, "--header", "a:b", "--tls"))


@pytest.mark.parametrize("record", ["{", "{}", '{"addresses": ["http://x"], "checks": []}', "[]"])
def test_a_record_that_cannot_be_read_is_no_proof(tmp_path: Path, record: str) -> None:
    (tmp_path / ENDPOINT).write_text(record)
    assert "cannot be read" in elsewhere._why_not_verified(tmp_path, HERE, DESCRIBED)


def test_a_server_of_another_task_is_refused_before_it_is_loaded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "describe", lambda _: replace(DESCRIBED, inputs=("text", "text_b")))
    with pytest.raises(ServerError, match="text_b"):
        measure(run, "--address", HERE)


def test_nothing_is_written_where_no_server_answers(run: Path) -> None:
    where = f"{HOST}:{triton.free_ports().http}"
    with pytest.raises(SlipwayError, match=where):
        measure(run, "--address", where, "--retries", 0)
    assert not (run / ENDPOINT_BENCHMARK).exists()


def verified(run: Path, **changes: Any) -> Path:
    """A run whose endpoint.json says that HERE answers as it, but for the changes."""
    repository = run / "model_repository_ngc" / REPOSITORY
    repository.parent.mkdir(parents=True)
    repository.write_text("{}")
    record = {"addresses": [HERE], "servers": [asdict(DESCRIBED)], "checks": [{"passed": True}]}
    manifest.write_json(run / ENDPOINT, record | {"repository_sha256": manifest.sha256(repository)} | changes)
    return run


def test_a_server_is_verified_where_the_record_of_its_address_says_so(tmp_path: Path) -> None:
    assert elsewhere._why_not_verified(verified(tmp_path), HERE, DESCRIBED) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"addresses": ["grpc://127.0.0.1:8001"]}, "is of grpc"),
        ({"checks": [{"passed": False}]}, "did not pass"),
        ({"repository_sha256": "0" * 64}, "built anew"),
        ({"servers": [asdict(replace(DESCRIBED, model_versions=("2",)))]}, "server and version"),
    ],
    ids=["another address", "failed", "another repository", "another version"],
)
def test_a_server_is_not_verified_otherwise_and_it_is_said_why(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    assert why in elsewhere._why_not_verified(verified(tmp_path, **changes), HERE, DESCRIBED)


def test_a_server_on_this_machine_is_known_by_its_address() -> None:
    places = {f"{HOST}:8000": True, "localhost": True, "192.0.2.1:8000": False}
    assert {host: elsewhere._is_here(host) for host in places} == places


@pytest.mark.parametrize(("here", "counts"), [(True, True), (False, False)], ids=["on this machine", "elsewhere"])
def test_what_others_take_of_the_cores_is_judged_only_where_it_cannot_be_the_servers(here: bool, counts: bool) -> None:
    bench = elsewhere._Bench(SMALL, {}, {"http": here}, [])
    busy = LoadRound(result=LoadResult("", np.ones(1), 1.0, 0, ""), others_share=0.5)
    assert (elsewhere._disturbed(bench, "http", [busy]) == [[]]) == counts
