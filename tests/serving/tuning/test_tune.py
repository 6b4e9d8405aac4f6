"""An SLO in, a configuration out, on a tiny model and the real Triton; and the repository that is
built by it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving import model_config
from tests.support.command import slipway, slipway_output

ENGINE = "onnx_fp32"
BRIEF = ("--engines", ENGINE, "--window-ms", 300, "--texts", 200)


@pytest.fixture(scope="module")
def run(adopted_run: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(adopted_run("unknown"), tmp_path_factory.mktemp("tune") / "run"))


def tuned(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "tuning.json").read_text("utf-8"))
    return record


def test_the_cheapest_that_holds_the_rate_is_chosen_tried_at_random_and_built(run: Path) -> None:
    shown = slipway_output("tune", run, "--p99-ms", 2000, "--rate", 25, "--minutes", 1, *BRIEF)
    record = tuned(run)
    assert record["choice"] == {"engine": ENGINE, "instances": 1, "threads": 1}
    assert [row["status"] for row in record["candidates"] if row["cores"] > 1] == ["not measured"] * (len(record["candidates"]) - 1)
    levels = record["candidates"][0]["levels"]
    assert [level["clients"] for level in levels] == [1, 2, 4, 8, 16, 32, 64][: len(levels)]
    assert all(level["requests"] > 0 and level["p99_ms"] > 0 for level in levels)
    [tried] = record["arriving_at_random"]
    assert (tried["held"], tried["rate"]) == (True, 25)
    assert "--request-intervals" in tried["command"]
    assert record["use"] in shown
    assert not list(run.glob(".tuning-*"))
    build, *flags = record["use"].split()[-8:]
    assert (build, flags[0]) == ("build", str(run))
    slipway_output("build", *flags)
    assert json.loads((run / "model_repository/text_classifier/1/settings.json").read_text())["threads"] == 1


def test_an_slo_that_nothing_holds_ends_with_1_and_says_what_was_not_measured(run: Path) -> None:
    done = slipway("tune", run, "--p99-ms", 0.001, "--minutes", 0.01, *BRIEF)
    assert done.returncode == 1, done.stdout + done.stderr
    record = tuned(run)
    assert (record["choice"], record["use"], record["arriving_at_random"]) == (None, "", [])
    assert record["candidates"][0]["holds"] is None
    assert {row["status"] for row in record["candidates"][1:]} == {"not measured"}
    assert "nothing that was measured holds the SLO" in done.stdout


def test_processes_and_threads_are_what_was_asked_for(run: Path) -> None:
    flags = ("--engine", ENGINE, "--instances", 2, "--threads", 3, "--priorities", 2)
    slipway_output("build", run, *flags)
    config = model_config.read((run / "model_repository/text_classifier/config.pbtxt").read_text())
    assert (config.instance_group[0].count, config.dynamic_batching.priority_levels) == (2, 2)
    assert json.loads((run / "model_repository/text_classifier/1/settings.json").read_text())["threads"] == 3


@pytest.mark.parametrize("flags", [("--instances", 0), ("--threads", "x"), ("--target", "ngc", "--instances", 2)])
def test_numbers_that_make_no_sense_are_refused(run: Path, flags: tuple[object, ...]) -> None:
    done = slipway("build", run, *flags)
    assert done.returncode == 2
    assert "error: " in done.stderr
