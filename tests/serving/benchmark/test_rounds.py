"""The benchmark's rounds on a real Triton, of a tiny model, with what can go wrong."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.benchmark import plan, results, rounds
from serving.benchmark.journal import Journal, LoadRound
from serving.benchmark.plan import NETWORK, SETTINGS, SYSTEM, Planned
from serving.benchmark.record import MeasuredModel, Row
from serving.benchmark.rounds import BenchServer, BenchSetup, Clock
from serving.load import latency_breakdown, perf_analyzer
from serving.load.interference import GpuWatch
from serving.load.perf_analyzer import InputFiles, Load, LoadResult
from serving.server import supervisor
from slipway.contract.records import TEXT_MODEL
from tests.support.serving import tiny_repository

SETTING = replace(SETTINGS["quick"], rounds=1, texts=4, window_ms=100)
TEXTS = ["good good", "good", "nothing known", "good good good"]


def planned(subject: str = TEXT_MODEL, transport: str = NETWORK, clients: int | None = 2, share: float | None = None) -> Planned:
    return Planned(subject, "text", "grpc", transport, "own", clients, share)


GOOD, OTHER_WAY, AT_RANDOM = planned(), planned(transport=SYSTEM), planned(clients=None, share=0.5)
WRONG_MODEL, WRONG_AT_RANDOM = planned("nobody"), planned("nobody", clients=None, share=0.5)


@pytest.fixture(scope="module", autouse=True)
def once() -> Iterator[None]:
    """Each load: beside other tests every one is disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "_MOST_TRIES", 1)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tiny_repository.classifiers(tmp_path_factory.mktemp("bench"))
    (directory / "bundle").mkdir()
    (directory / "bundle" / "golden.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    perf_analyzer.write_texts(TEXTS, "single_text", directory / "texts.json")
    return directory


def measure(run: Path, loads: list[Planned], served: BenchServer, journal: Journal) -> dict[str, Row]:
    subjects = [MeasuredModel(TEXT_MODEL, "text", "tiny", False, "")]
    inputs: InputFiles = {("text", "own"): [run / "texts.json"] * SETTING.rounds}
    rounds.measure_rounds(BenchSetup(run, SETTING, loads, subjects, inputs, journal, served, GpuWatch()))
    return {load.id: results.result_row(results.load_rounds(load, journal), 100) for load in loads}


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[BenchServer]:
    with rounds.bench_server(run / "model_repository", Clock()) as server:
        yield server


@pytest.fixture(scope="module")
def rows(run: Path, served: BenchServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """One round of what works, and of what does not."""
    loads = [GOOD, OTHER_WAY, AT_RANDOM, WRONG_MODEL, WRONG_AT_RANDOM]
    return measure(run, loads, served, Journal(tmp_path_factory.mktemp("journal"), {}))


@pytest.mark.parametrize("load", [GOOD, OTHER_WAY, AT_RANDOM], ids=["network", "shared memory", "at random"])
def test_a_load_is_measured_with_its_latency_breakdown(load: Planned, rows: dict[str, Row]) -> None:
    row = rows[load.id]
    assert (row.status in ("ok", "invalid"), row.errors, row.exit_status) == (True, 0, 0)
    assert row.throughput is not None
    assert row.throughput.value > 0
    assert row.stages is not None
    assert min(asdict(row.stages).values()) >= 0
    assert row.stages.engine_ms > 0
    assert row.padding_waste is not None
    assert 0 <= row.padding_waste < 1


def test_a_load_at_random_is_half_of_what_the_closed_loops_reached(rows: dict[str, Row]) -> None:
    closed = max(rows[load.id].rounds[0].throughput or 0 for load in (GOOD, OTHER_WAY))
    assert rows[AT_RANDOM.id].rate == pytest.approx(closed / 2, rel=0.01)


def test_a_model_that_is_not_there_costs_its_own_row_alone(rows: dict[str, Row]) -> None:
    row = rows[WRONG_MODEL.id]
    assert (row.status, row.exit_status) == ("FAILED", 99)
    assert "'nobody' is not found" in row.why[0]
    assert "its capacity is unknown" in rows[WRONG_AT_RANDOM.id].why[0]


def test_what_is_killed_during_a_load_is_back_for_the_next(
    run: Path, served: BenchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's Python process during the first load, the server during the second; the third is
    measured.
    """
    real, calls = perf_analyzer.run, []

    def kill(pid: int) -> None:
        before = latency_breakdown.read(served.server, TEXT_MODEL)["requests"]
        while latency_breakdown.read(served.server, TEXT_MODEL)["requests"] == before:
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

    stub = next(pid for pid, model in supervisor.processes(served.server).items() if model and model[0] == TEXT_MODEL)

    def killed(load: Load, inputs: Path) -> Any:
        calls.append(load)
        pid = {2: stub, 3: served.server.process.pid}.get(len(calls))  # the first call warms up
        if pid:
            threading.Thread(target=kill, args=(pid,), daemon=True).start()
        return real(replace(load, window_ms=500) if pid else load, inputs)

    monkeypatch.setattr(perf_analyzer, "run", killed)
    loads = [GOOD, OTHER_WAY, planned(clients=3)]
    rows = measure(run, loads, served, Journal(tmp_path, {}))
    first, second, third = (rows[load.id] for load in plan.order(loads, 0))
    assert [(row.status, row.exit_status) for row in (first, second)] == [("FAILED", 99)] * 2
    assert all("had error" in row.why[0] for row in (first, second))  # a killed Python process can end this Triton, too
    assert (third.status in ("ok", "invalid"), third.errors) == (True, 0)


def test_a_benchmark_that_was_ended_goes_on_where_it_was(
    run: Path, served: BenchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sent = perf_analyzer.run, []

    def interrupted(load: Load, inputs: Path) -> Any:
        sent.append(load)
        if len(sent) == 3:  # warming up, the first load, the second
            raise KeyboardInterrupt
        return real(load, inputs)

    monkeypatch.setattr(perf_analyzer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(run, [GOOD, OTHER_WAY], served, Journal(tmp_path, {}))
    second = Journal(tmp_path, {})
    rows = measure(run, [GOOD, OTHER_WAY], served, second)
    assert (second.taken_over, len(sent)) == (1, 5)  # three before, then warming up and the load that was missing
    assert all(row.requests > 0 for row in rows.values())


QUIET = LoadRound(result=LoadResult("", np.zeros(0), 0.0, 0, ""))
BUSY = replace(QUIET, others_share=0.5)
BROKEN = replace(QUIET, result=replace(QUIET.result, failure="exit status 99: no such file", exit_status=99))
ENDLESS = replace(QUIET, result=replace(QUIET.result, failure="no end within 90 s", exit_status=None))


@pytest.mark.parametrize(
    ("tries", "kept"),
    [
        ([BUSY, QUIET], QUIET),
        ([BUSY, BUSY, BUSY], BUSY),
        ([BROKEN, BUSY, QUIET], QUIET),
        ([BROKEN, BROKEN, BROKEN], BROKEN),
        ([BUSY, ENDLESS], ENDLESS),
    ],
    ids=["quiet", "never quiet", "failed once", "fails", "endless"],
)
def test_a_load_that_failed_or_was_disturbed_is_measured_again_twice_unless_it_finds_no_end(
    tries: list[LoadRound], kept: LoadRound, run: Path, served: BenchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Path]] = []

    def try_load(_: BenchSetup, load: Load, file: Path) -> LoadRound:
        asked.append((load.seed, file))
        return tries[len(asked) - 1]

    monkeypatch.setattr(rounds, "_MOST_TRIES", 3)
    monkeypatch.setattr(rounds, "_try_load", try_load)
    inputs: InputFiles = {("text", "own"): [run / "first.json", run / "second.json"]}
    bench = BenchSetup(run, SETTING, [GOOD], [], inputs, Journal(tmp_path, {}), served, GpuWatch())
    assert rounds._measure_load(bench, GOOD, 1) == replace(kept, tries=len(tries))
    assert asked == [(1, run / "second.json")] * len(tries)
