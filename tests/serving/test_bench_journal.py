from __future__ import annotations

from pathlib import Path

import pytest

from serving.bench_journal import PARTIAL, Journal, alone
from train.errors import ServerError

KEY = {"repository_sha256": "a", "planned": ["x", "y"]}


def test_a_second_benchmark_has_what_the_first_measured(tmp_path: Path) -> None:
    Journal(tmp_path, KEY).add("load", 0, "x", {"throughput": 1.5})
    again = Journal(tmp_path, KEY)
    again.add("load", 1, "x", {"throughput": 2.5})
    assert (again.taken_over, again.rounds("load", "x")) == (1, [{"throughput": 1.5}, {"throughput": 2.5}])


def test_another_repository_or_setting_begins_anew(tmp_path: Path) -> None:
    Journal(tmp_path, KEY).add("load", 0, "x", {"throughput": 1.5})
    assert Journal(tmp_path, KEY | {"repository_sha256": "b"}).get("load", 0, "x") is None


def test_a_line_that_was_cut_is_measured_again(tmp_path: Path) -> None:
    first = Journal(tmp_path, KEY)
    first.add("load", 0, "x", {"throughput": 1.5})
    first.add("load", 0, "y", {"throughput": 2.5})
    path = tmp_path / PARTIAL
    path.write_bytes(path.read_bytes()[:-5])
    again = Journal(tmp_path, KEY)
    assert (again.get("load", 0, "x"), again.get("load", 0, "y")) == ({"throughput": 1.5}, None)
    again.add("load", 0, "y", {"throughput": 3.5})
    assert Journal(tmp_path, KEY).get("load", 0, "y") == {"throughput": 3.5}


def test_two_benchmarks_of_a_run_do_not_mix(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ServerError, match="measured already"), alone(tmp_path):
        pass
    with alone(tmp_path):  # the first has ended
        pass
