from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from benchmarks import client_speed
from benchmarks.client_speed import ClientRates
from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load, LoadResult
from serving.server.triton import Server
from slipway.client.transport import PROTOCOLS
from slipway.errors import ToolError

LOAD = Load("text_classifier", "grpc", "127.0.0.1:1", concurrency=4, window_ms=100)


def test_both_are_asked_the_same_load_in_every_round(echo_server: Server, tmp_path: Path) -> None:
    texts = ["a text", "another, longer text"]
    perf_analyzer.write_texts(texts, "single_text", tmp_path / "texts.json")
    loads = [Load("text_classifier", protocol, echo_server.address(protocol), 8, 300) for protocol in PROTOCOLS]
    measured = client_speed.measure(loads, tmp_path / "texts.json", texts, "single_text", rounds=2)
    counts = [(load, len(rates.client), len(rates.perf_analyzer)) for load, rates in measured.items()]
    assert counts == [(load, 2, 2) for load in loads]
    assert all(rate > 0 for rates in measured.values() for rate in (*rates.client, *rates.perf_analyzer, *rates.cpu_ms))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_as_many_texts_are_in_flight_as_the_load_says(protocol: str) -> None:
    flying, most = 0, 0

    async def classify(texts: list[str]) -> None:
        nonlocal flying, most
        assert len(texts) == 1
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.01)
        flying -= 1

    connection = mock.MagicMock()
    connection.__aenter__.return_value.classify = classify
    with mock.patch("slipway.client.client.AsyncClient", return_value=connection):
        rate, _ = asyncio.run(client_speed.ask(LOAD, ["a", "b"], "single_text", 0.2))
    assert most == 4
    assert 40 < rate <= 400


def test_a_row_compares_the_rounds_in_pairs() -> None:
    row = client_speed.row(LOAD, ClientRates([90.0, 45.0], [100.0, 50.0], cpu_ms=[0.3, 0.5]))
    assert (row.ratio, row.interval, row.client_cpu_ms) == (0.9, (0.9, 0.9), pytest.approx(0.4))


@pytest.mark.parametrize(("ours", "verdict"), [([91.0], "reached"), ([89.0], "missed"), ([80.0, 100.0], "not certain")])
def test_a_target_is_reached_or_missed_with_the_whole_interval_only(ours: list[float], verdict: str) -> None:
    rates = (ours * 4)[:4]
    assert client_speed.row(LOAD, ClientRates(rates, [100.0] * 4, cpu_ms=[0.3] * 4)).verdict == verdict


@pytest.mark.parametrize(
    "result", [LoadResult("run", np.zeros(0), 0.0, 0, "exit status 99"), LoadResult("run", np.ones(3), 3.0, 2, "")]
)
def test_a_run_that_failed_is_no_figure(result: LoadResult) -> None:
    with mock.patch.object(perf_analyzer, "run", return_value=result), pytest.raises(ToolError, match="did not measure"):
        client_speed._analyzed(LOAD, Path("texts.json"))
