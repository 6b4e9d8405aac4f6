from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.benchmark.journal import PARTIAL, Journal, LoadRound, Pace, only_benchmark
from serving.load.interference import GpuUse
from serving.load.perf_analyzer import LoadResult
from slipway.errors import ServerError

KEY = {"repository_sha256": "a", "planned": ["x", "y"]}


def test_a_second_benchmark_has_what_the_first_measured(tmp_path: Path) -> None:
    result = LoadResult("perf_analyzer", np.array([1.5, 2.5]), 100.0, 0, "")
    measured = LoadRound(others_share=0.01, result=result, rate=70.0, counted={"requests": 2.0}, gpu=GpuUse(20, None), tries=1)
    Journal(tmp_path, KEY).add(0, "x", measured)
    again = Journal(tmp_path, KEY)
    kept = again.get(LoadRound, 0, "x")
    assert kept is not None
    assert kept.result.latencies.tolist() == [1.5, 2.5]
    assert replace(kept, result=result) == measured
    again.add(1, "x", measured)
    assert (again.taken_over, again.loads) == (1, 2)
    assert again.rounds(LoadRound, "x") == [kept, measured]


def test_another_repository_or_setting_begins_anew(tmp_path: Path) -> None:
    Journal(tmp_path, KEY).add(0, "x", Pace(1.5))
    assert Journal(tmp_path, KEY | {"repository_sha256": "b"}).get(Pace, 0, "x") is None


def test_a_line_that_was_cut_is_measured_again(tmp_path: Path) -> None:
    first = Journal(tmp_path, KEY)
    first.add(0, "x", Pace(1.5))
    first.add(0, "y", Pace(2.5))
    path = tmp_path / PARTIAL
    path.write_bytes(path.read_bytes()[:-5])
    again = Journal(tmp_path, KEY)
    assert (again.get(Pace, 0, "x"), again.get(Pace, 0, "y")) == (Pace(1.5), None)
    again.add(0, "y", Pace(3.5))
    assert Journal(tmp_path, KEY).get(Pace, 0, "y") == Pace(3.5)


def test_two_benchmarks_of_a_run_do_not_mix(tmp_path: Path) -> None:
    with only_benchmark(tmp_path), pytest.raises(ServerError, match="measured already"), only_benchmark(tmp_path):
        pass
    with only_benchmark(tmp_path):  # the first has ended
        pass
