"""The front's limits, and that HAProxy takes the configuration of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.front import config, proxy
from serving.front.config import Limits
from serving.repository import embedded
from slipway import tools
from slipway.contract.records import TEXT_MODEL, TUNING, Ports

BUILT = {TEXT_MODEL: "ort_int8", "built_with": {"instances": 2, "threads": 1}}


def tuned(run: Path, texts_per_second: dict[int, float], **way: Any) -> Path:
    """A run whose tuning.json has that of `BUILT`, unless it is said otherwise, and another."""
    levels = [{"clients": clients, "texts_per_second": rate, "p99_ms": 9.0} for clients, rate in texts_per_second.items()]
    candidates = [{"engine": "ort_int8", "instances": 2, "threads": 1, "levels": levels} | way, {"engine": "ort_fp32"}]
    (run / TUNING).write_text(json.dumps({"candidates": candidates}), "utf-8")
    return run


def test_as_many_go_through_as_nearly_the_most_texts_a_second_need(tmp_path: Path) -> None:
    run = tuned(tmp_path, {1: 100.0, 8: 400.0, 16: 590.0, 32: 600.0, 64: 580.0})
    assert config.limits(run, BUILT).streams == 16


def test_a_sweep_that_ended_at_its_first_loads_leaves_room_for_a_few_clients(tmp_path: Path) -> None:
    assert config.limits(tuned(tmp_path, {1: 100.0}), BUILT).streams == 4 * embedded.cores()


@pytest.mark.parametrize("way", [{"engine": "ort_fp32"}, {"threads": 2}, {"levels": []}, {"levels": [{"clients": 3}]}])
def test_what_was_measured_of_another_configuration_sets_no_limit(tmp_path: Path, way: dict[str, Any]) -> None:
    assert config.limits(tuned(tmp_path, {4: 100.0}, **way), BUILT) == config.limits()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"candidates": 3}'])
def test_a_damaged_tuning_record_sets_no_limit(tmp_path: Path, text: str) -> None:
    (tmp_path / TUNING).write_text(text, "utf-8")
    assert config.limits(tmp_path, BUILT) == config.limits()


def test_without_a_tuning_record_the_limit_grows_with_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "cores", lambda: 2)
    two = config.limits().streams
    monkeypatch.setattr(embedded, "cores", lambda: 6)
    assert config.limits().streams == 3 * two


@pytest.mark.parametrize("files", [128, 1024, 524_288, sys.maxsize])
def test_haproxy_takes_the_configuration_without_a_warning(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    monkeypatch.setattr(tools, "most_open_files", lambda: files)
    assert proxy.check(config.render(Ports(21, 22, 23), Ports(31, 32, 33), Limits(32, 8))) == ""
