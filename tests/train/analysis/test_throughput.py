"""The commands that measure, profile and tune training, on a tiny model: each once, as a person
runs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.contract import manifest
from tests.support.command import slipway, slipway_output


@pytest.fixture(scope="module")
def flags(generated: Path, tiny_encoder: Path) -> list[object]:
    return ["--corpus", generated, "--encoder", tiny_encoder, "--max-seq-len", 48, "--train-rows", 64, "--processes", 1]


@pytest.fixture(scope="module")
def measured(flags: list[object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of a measurement of three steps of 16 rows, all padded to 48 tokens."""
    out = tmp_path_factory.mktemp("measured") / "run" / "training_speed.json"
    slipway_output("analyze", "throughput", out.parent, *flags, "--padding", "fixed", "--max-steps", 4, "--untimed", 1)
    record: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return record


def test_a_measurement_says_how_fast_and_of_what(measured: dict[str, Any]) -> None:
    assert measured["steps"] == 3
    assert measured["fed_tokens_per_second"]["median"] == pytest.approx(48 * measured["examples_per_second"]["median"])
    assert measured["tokens_per_second"]["median"] < measured["fed_tokens_per_second"]["median"]
    assert 0 < measured["flops"]["model"]["share_of_peak"] < 1
    assert measured["flops"]["model"]["per_example"] < measured["flops"]["fed"]["per_example"]


def test_a_measurement_says_what_a_rank_needs_and_where_its_time_goes(measured: dict[str, Any]) -> None:
    assert 1e8 < measured["peak_memory_bytes"] < 3e9
    assert 0 < measured["outside_tensorflow"] < 1


def test_a_measurement_says_where_it_comes_from(measured: dict[str, Any]) -> None:
    assert measured["command"].startswith("slipway analyze throughput")
    assert measured["versions"]["tensorflow"]
    assert measured["machine"]["cpu"]
    assert measured["corpus"]["sha256"]


def test_a_profile_names_the_operations_and_can_be_opened_in_tensorboard(flags: list[object], tmp_path: Path) -> None:
    shown = slipway_output("analyze", "profile", tmp_path, *flags, "--max-steps", 4)
    record = json.loads((tmp_path / "profile.json").read_text("utf-8"))
    assert any("MatMul" in row["kind"] or "Einsum" in row["kind"] for row in record["operations"][:5])
    assert f"matmul    {record['matmul_share']:.1%}" in shown
    assert len(list(tmp_path.glob("tensorboard/plugins/profile/*/*.xplane.pb"))) == 1


def test_the_range_test_suggests_a_rate_and_leaves_the_encoder_as_it_was(
    flags: list[object], tiny_encoder: Path, tmp_path: Path
) -> None:
    before = manifest.sha256(tiny_encoder)
    out = tmp_path / "run" / "learning_rate.json"
    slipway_output("analyze", "lr", out.parent, *flags, "--max-steps", 40, "--lowest", 1e-4, "--highest", 1)
    record = json.loads(out.read_text("utf-8"))
    assert 1e-5 <= record["suggestion"] <= 0.1
    assert {path.name for path in out.parent.iterdir()} == {"learning_rate.json", "learning_rate.html"}
    assert manifest.sha256(tiny_encoder) == before


def test_a_range_upside_down_is_refused() -> None:
    done = slipway("analyze", "lr", "runs/none", "--lowest", 1, "--highest", 0.1)
    assert done.returncode == 2
    assert "--lowest 1.0, --highest 0.1" in done.stderr
