"""The benchmark's rounds on a real Triton, of a tiny model, with what can go wrong."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving import bench_rounds, bench_rows, bench_server, perf_analyzer, stages, supervisor
from serving.bench_inputs import Inputs
from serving.bench_journal import Journal
from serving.bench_plan import NETWORK, SETTINGS, SYSTEM, Planned
from serving.bench_repository import Subject
from serving.bench_rounds import Bench
from serving.bench_server import BenchServer, Clock
from serving.gpu_watch import GpuWatch
from serving.perf_analyzer import Load
from serving.records import TEXT_MODEL
from tests.serving import tiny

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
        patch.setattr(bench_rounds, "_MOST_TRIES", 1)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tiny.classifiers(tmp_path_factory.mktemp("bench"))
    (found / "bundle").mkdir()
    (found / "bundle" / "golden.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    perf_analyzer.write_texts(TEXTS, "single_text", found / "texts.json")
    return found


def measure(run: Path, loads: list[Planned], served: BenchServer, journal: Journal) -> dict[str, dict[str, Any]]:
    subjects = [Subject(TEXT_MODEL, "text", "tiny", False, "")]
    inputs: Inputs = {("text", "own"): [run / "texts.json"] * SETTING.rounds}
    bench_rounds.measure(Bench(run, SETTING, loads, subjects, inputs, journal, served, GpuWatch(), served.clock))
    return {one.id: bench_rows.row(bench_rows.measured(one, journal), 100) for one in loads}


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[BenchServer]:
    with bench_server.running(run / "model_repository", Clock()) as found:
        yield found


@pytest.fixture(scope="module")
def rows(run: Path, served: BenchServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One round of what works, and of what does not."""
    loads = [GOOD, OTHER_WAY, AT_RANDOM, WRONG_MODEL, WRONG_AT_RANDOM]
    return measure(run, loads, served, Journal(tmp_path_factory.mktemp("journal"), {}))


@pytest.mark.parametrize("one", [GOOD, OTHER_WAY, AT_RANDOM], ids=["network", "shared memory", "at random"])
def test_a_load_is_measured_with_where_its_time_went(one: Planned, rows: dict[str, dict[str, Any]]) -> None:
    row = rows[one.id]
    assert (row["status"] in ("ok", "invalid"), row["errors"], row["exit_status"]) == (True, 0, 0)
    assert row["throughput"]["value"] > 0
    assert min(row["stages"].values()) >= 0
    assert row["stages"]["engine_ms"] > 0
    assert 0 <= row["padding_waste"] < 1


def test_a_load_at_random_is_half_of_what_the_closed_loops_reached(rows: dict[str, dict[str, Any]]) -> None:
    closed = max(rows[one.id]["throughput"]["value"] for one in (GOOD, OTHER_WAY))
    assert rows[AT_RANDOM.id]["rate"] == pytest.approx(closed / 2, rel=0.01)


def test_a_model_that_is_not_there_costs_its_own_row_alone(rows: dict[str, dict[str, Any]]) -> None:
    row = rows[WRONG_MODEL.id]
    assert (row["status"], row["exit_status"]) == ("FAILED", 99)
    assert "'nobody' is not found" in row["why"][0]
    assert "its capacity is unknown" in rows[WRONG_AT_RANDOM.id]["why"][0]


def test_what_is_killed_during_a_load_is_back_for_the_next(
    run: Path, served: BenchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's Python process during the first load, the server during the second; the third is measured."""
    real, calls = perf_analyzer.run, []

    def kill(pid: int) -> None:
        before = stages.read(served.server, TEXT_MODEL)["requests"]
        while stages.read(served.server, TEXT_MODEL)["requests"] == before:
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
    found = measure(run, loads, served, Journal(tmp_path, {}))
    first, second, third = (found[one.id] for one in bench_rounds._order(loads, 0))
    assert [(one["status"], one["exit_status"]) for one in (first, second)] == [("FAILED", 99)] * 2
    assert all("had error" in one["why"][0] for one in (first, second))  # a killed Python process can end this Triton, too
    assert (third["status"] in ("ok", "invalid"), third["errors"]) == (True, 0)


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
    found = measure(run, [GOOD, OTHER_WAY], served, second)
    assert (second.taken_over, len(sent)) == (1, 5)  # three before, then warming up and the load that was missing
    assert all(row["requests"] > 0 for row in found.values())


QUIET = {"failure": "", "others_share": 0.0, "steal_share": 0.0, "mhz": None}
BUSY, BROKEN = QUIET | {"others_share": 0.5}, QUIET | {"failure": "exit status 99", "others_share": 0.5}


@pytest.mark.parametrize(
    ("tries", "kept"),
    [([BUSY, QUIET], QUIET), ([BUSY, BUSY, BUSY], BUSY), ([BUSY, BROKEN], BROKEN)],
    ids=["quiet", "never", "failed"],
)
def test_a_disturbed_load_is_measured_again_until_it_is_quiet_or_fails(
    tries: list[Any], kept: dict[str, Any], run: Path, served: BenchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Path]] = []

    def tried(_: Bench, load: Load, file: Path) -> dict[str, Any]:
        asked.append((load.seed, file))
        return dict(tries[len(asked) - 1])

    monkeypatch.setattr(bench_rounds, "_MOST_TRIES", 3)
    monkeypatch.setattr(bench_rounds, "_tried", tried)
    inputs: Inputs = {("text", "own"): [run / "first.json", run / "second.json"]}
    bench = Bench(run, SETTING, [GOOD], [], inputs, Journal(tmp_path, {}), served, GpuWatch(), served.clock)
    assert bench_rounds._load(bench, GOOD, 1) == kept | {"tries": len(tries)}
    assert asked == [(1, run / "second.json")] * len(tries)
