from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.load import perf_analyzer
from serving.load.perf_analyzer import Load
from slipway.client.transport import Options, Tls

LOAD = Load("text_classifier", "grpc", "127.0.0.1:1", concurrency=4, window_ms=100)


def exported(*requests: tuple[int, int | None]) -> dict[str, object]:
    rows = [{"timestamp": sent, "response_timestamps": [end] if end else []} for sent, end in requests]
    return {"experiments": [{"requests": rows}]}


def test_latency_and_throughput_come_from_every_request() -> None:
    result = perf_analyzer._read(["perf_analyzer"] * 4, exported((0, 10_000_000), (5_000_000, 20_000_000), (0, 40_000_000)))
    np.testing.assert_allclose(result.latencies, [10, 15, 40])
    assert result.throughput == 3 / 0.04
    assert result.sent == 2 / 0.005
    assert result.errors == 0


def test_a_request_without_an_answer_is_an_error_of_the_client() -> None:
    result = perf_analyzer._read(["perf_analyzer"] * 4, exported((0, 10_000_000), (0, None), (0, 5_000_000)))
    assert (len(result.latencies), result.errors) == (2, 1)


def test_a_server_that_is_down_is_a_failed_run_with_its_reason(tmp_path: Path) -> None:
    perf_analyzer.write_texts(["a text"], "single_text", tmp_path / "in.json")
    result = perf_analyzer.run(LOAD, tmp_path / "in.json")
    assert result.latencies.size == 0
    assert result.failure.startswith("exit status")


@pytest.mark.parametrize(
    ("task", "text", "inputs"),
    [
        ("single_text", 'quo"te 世', {"text": ['quo"te 世']}),
        ("text_pair", ["one", "two"], {"text": ["one"], "text_b": ["two"]}),
        ("tagging", ["In", "Rome", "."], {"words": {"content": ["In", "Rome", "."], "shape": [3]}}),
    ],
)
def test_texts_are_written_as_they_are(task: str, text: object, inputs: dict[str, object], tmp_path: Path) -> None:
    perf_analyzer.write_texts([text], task, tmp_path / "in.json")
    assert json.loads((tmp_path / "in.json").read_text("utf-8")) == {"data": [inputs]}


def test_texts_at_random_come_at_the_rate_and_otherwise_with_each_seed(tmp_path: Path) -> None:
    gaps = []
    for seed in (1, 2):
        load = replace(LOAD, rate=500, window_ms=2000, seed=seed)
        perf_analyzer.command(load, tmp_path / "in.json", tmp_path)
        gaps.append(np.loadtxt(tmp_path / "arrivals.txt"))
    assert all(gap.mean() == pytest.approx(2000, rel=0.05) and gap.std() == pytest.approx(2000, rel=0.05) for gap in gaps)  # µs
    assert (gaps[0] != gaps[1]).mean() > 0.9


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("http", "-u https://127.0.0.1:1 --ssl-https-ca-certificates-file a"),
        (
            "grpc",
            "-u 127.0.0.1:1 --ssl-grpc-use-ssl true --ssl-grpc-root-certifications-file a",
        ),
    ],
)
def test_tls_is_asked_for_as_each_protocol_has_it(protocol: str, options: str, tmp_path: Path) -> None:
    load = replace(LOAD, protocol=protocol, connection=Options(tls=Tls(Path("a"))))
    assert options in " ".join(perf_analyzer.command(load, tmp_path / "in.json", tmp_path))


@pytest.mark.parametrize(("cut", "failure"), [(5, ""), (6, perf_analyzer._CUT_SHORT)])
def test_a_call_whose_export_is_cut_short_is_made_again_but_not_for_ever(
    cut: int, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = perf_analyzer._read(["perf_analyzer"] * 6, exported((0, 10_000_000)))
    calls = iter([replace(good, failure=perf_analyzer._CUT_SHORT)] * cut + [good])
    monkeypatch.setattr(perf_analyzer, "_run", lambda *_: next(calls))
    assert perf_analyzer.run(LOAD, tmp_path).failure == failure


@pytest.mark.parametrize("length", [0, 1, 65_536])
def test_an_export_that_ends_halfway_is_cut_short(length: int, tmp_path: Path) -> None:
    export = tmp_path / "requests.json"
    export.write_text(json.dumps(exported(*[(0, 10_000_000)] * 2000))[:length])
    assert perf_analyzer._exported(export) is None


def test_outputs_that_are_no_text_spoil_no_export(tmp_path: Path) -> None:
    export = tmp_path / "requests.json"
    export.write_bytes(b'{"experiments": [{"requests": [{"response_outputs": "\xff\xfe"}]}]}')
    assert len(perf_analyzer._exported(export)["experiments"]) == 1
