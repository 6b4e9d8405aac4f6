"""benchmarks.peers, as far as it needs no package that .venv has not: the rules of the comparison,
the protocols, the engine.
"""

from __future__ import annotations

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from benchmarks.harness import Machine
from benchmarks.peers import classifier, closed_loop, measure, rounds, subjects
from benchmarks.peers.closed_loop import KSERVE, PLAIN, Window
from benchmarks.peers.rounds import LoadPlan, PeerRound
from benchmarks.peers.subjects import MeasuredServer, PeerServer
from benchmarks.peers.table import PeerComparison, PeersRecord, table
from serving.load.interference import Disturbance
from serving.server.triton import Server
from slipway.contract import bundle
from slipway.contract.records import TEXT_MODEL
from slipway.contract.variants import VARIANTS
from slipway.errors import ServerError
from tests.support.command import CHECKOUT

QUIET = Disturbance()


def test_tritons_protocol_is_what_a_real_triton_takes_and_gives(echo_server: Server) -> None:
    url = f"http://{echo_server.http}{closed_loop.kserve_path(TEXT_MODEL)}"
    [answer] = closed_loop.answers(url, [KSERVE.body('Oil "prices", naïve\n')], 1)
    assert len(KSERVE.logits(answer)) == 2


def test_an_applications_own_json_holds_any_text() -> None:
    text = 'Oil "prices", naïve\n'
    assert json.loads(PLAIN.body(text)) == {"text": text}
    assert PLAIN.logits(b'{"label": "x", "probability": 0.5, "logits": [1, -2.5]}') == [1.0, -2.5]


def window(rate: float) -> Window:
    return Window(rate, np.full(100, 1000 / rate), 0.1)


def round_of(rate: float, *why: str) -> PeerRound:
    return PeerRound(window(rate), QUIET, list(why))


def compared(ours: list[PeerRound], peers: list[PeerRound]) -> dict[str, PeerComparison]:
    pairs = rounds.comparisons((["a"], ["b"]), [4], {("a", 4): [ours], ("b", 4): [peers]})
    return {pair.measure: pair for pair in pairs}


def test_a_comparison_is_of_the_rounds_in_which_neither_was_disturbed() -> None:
    busy = round_of(1.0, "busy: others")
    ours = [*[round_of(20)] * 4, busy, *[round_of(20)] * 2]
    pair = compared(ours, [*[round_of(10)] * 6, busy])["texts_per_second"]
    assert (pair.rounds, pair.ratio, pair.verdict) == (5, 2.0, "faster")


def test_too_few_undisturbed_rounds_are_an_invalid_run_that_says_why() -> None:
    pair = compared([round_of(20)] * 5, [*[round_of(1, "busy: others")] * 3, *[round_of(10)] * 2])["texts_per_second"]
    assert (pair.verdict, pair.ratio) == ("invalid run", None)
    assert pair.why == "2 of 5 rounds undisturbed, 5 are needed, and one of each start; busy: others"


def test_a_higher_rate_is_faster_and_a_higher_latency_slower() -> None:
    pairs = compared([round_of(5)] * 5, [round_of(10)] * 5)
    assert {name: (pair.ratio, pair.verdict) for name, pair in pairs.items()} == {
        "texts_per_second": (0.5, "slower"),
        "p99_ms": (2.0, "slower"),
    }


def test_a_p99_of_too_few_requests_gets_no_verdict() -> None:
    few = [PeerRound(Window(5, np.full(70, 200.0), 0.1), QUIET, [])] * 5
    pairs = compared(few, [round_of(10)] * 5)
    assert (pairs["texts_per_second"].verdict, pairs["p99_ms"].verdict) == ("slower", "invalid run")
    assert pairs["p99_ms"].why == "p99 needs 368 requests, there are 350"


def test_a_clock_that_fell_in_a_round_is_seen_beside_the_others() -> None:
    clocks = [Disturbance(mhz=mhz) for mhz in (2600.0, 2600.0, 1300.0)]
    judged = rounds._judged([PeerRound(window(10), clock, []) for clock in clocks])
    assert [bool(measured.why) for measured in judged] == [False, False, True]


def server(name: str, ours: bool) -> MeasuredServer:
    return MeasuredServer(name, "", ours, "ort_fp32", name, PLAIN)


def measured(broken: str) -> tuple[dict[Any, Any], dict[str, str]]:
    """Two rounds of ours and two peers, of which one fails with 4 texts in flight."""

    def window_of(url: str, bodies: list[bytes], concurrency: int, seconds: float) -> Window:
        if url == broken and concurrency == 4:
            raise ServerError("", expected="", found="status 500", where="", fix="")
        return window(10)

    servers = [server("ours", True), server("good", False), server("bad", False)]
    with (
        mock.patch.object(closed_loop, "window", window_of),
        mock.patch("serving.load.interference.between", return_value=QUIET),
        ThreadPoolExecutor(1) as client,
    ):
        return rounds.measure(client, servers, ["oil"], LoadPlan([1, 4], 2, 0.1), random.Random(0))


def test_a_peer_that_fails_under_load_is_left_out_and_the_others_go_on() -> None:
    by_load, failed = measured("bad")
    assert failed == {"bad": "failed with 4 texts in flight: status 500"}
    assert {key: len(own) for key, own in by_load.items() if key[0] != "bad"} == {
        (name, concurrency): 2 for name in ("ours", "good") for concurrency in (1, 4)
    }


def test_ours_failing_under_load_ends_the_measurement() -> None:
    with pytest.raises(ServerError, match="status 500"):
        measured("ours")


def test_a_disturbed_window_is_measured_again() -> None:
    shares = [Disturbance(others_share=0.5), QUIET]
    with (
        mock.patch.object(closed_loop, "window", side_effect=[window(1), window(10)]),
        mock.patch("serving.load.interference.between", side_effect=shares),
        ThreadPoolExecutor(1) as client,
    ):
        chosen = rounds._round(client, server("ours", True), ["oil"], 1, 0.1)
    assert (chosen.window.texts_per_second, chosen.why) == (10, [])


@pytest.mark.parametrize(
    ("counts", "failures"),
    [
        ({"flips": 0, "logit_difference_max": 1e-5}, []),
        ({"flips": 1, "logit_difference_max": 1e-5}, ["flip rate is 0.002, limit 0.0005"]),
        ({"flips": 0, "logit_difference_max": 0.1}, ["max |Δlogit| is 0.1, limit 0.01"]),
    ],
)
def test_answers_are_equal_or_their_difference_is_named(counts: dict[str, Any], failures: list[str]) -> None:
    compared = mock.Mock(rows=500, non_finite_rows=0, **counts)
    assert measure.beyond(compared, VARIANTS["ort_fp32"].limits) == failures


def test_a_peer_without_its_environment_is_skipped_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with (
        mock.patch.object(subjects, "ENVIRONMENT", tmp_path / "none"),
        subjects._started(subjects.PEERS[0], mock.Mock(), mock.Mock(), tmp_path) as outcome,
    ):
        assert re.search("make peers", str(outcome))


def test_a_peer_that_ends_at_once_is_skipped_with_its_last_line(tmp_path: Path) -> None:
    peer = PeerServer("none", "", "serve_nothing", (), "/", PLAIN)
    source, engine = mock.Mock(directory=tmp_path), mock.Mock(model=tmp_path)
    with (
        mock.patch.object(subjects, "ENVIRONMENT", CHECKOUT / ".venv"),
        subjects._started(peer, source, engine, tmp_path) as outcome,
    ):
        assert not isinstance(outcome, str)
        reason = subjects._ready(peer, outcome)
    assert re.fullmatch(r"it ended with 1: .*No module named benchmarks\.peers\.serve_nothing", str(reason))


def test_the_peers_have_the_engine_and_tokenizer_that_slipway_has() -> None:
    def versions(path: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w-]+)==(\S+)", (CHECKOUT / path).read_text("utf-8"), re.MULTILINE))

    ours, peers = versions("requirements/all.txt"), versions("requirements/peers.txt")
    shared = peers.keys() & ours.keys()
    assert {"onnxruntime", "tensorflow", "tokenizers", "numpy", "tritonclient"} <= shared
    assert {name: peers[name] for name in shared} == {name: ours[name] for name in shared}


def test_the_peers_classifier_gives_the_savedmodels_answers(finished_run: Path) -> None:
    source = bundle.load(finished_run / "bundle")
    golden = bundle.load_golden(source).take(np.arange(60))
    classify = classifier.load(source.directory, "onnxruntime", finished_run / "artifacts" / "ort_fp32" / "model.onnx")
    classified = classify(golden.texts)
    np.testing.assert_allclose(classified.logits, golden.logits, atol=1e-3)
    assert classified.labels == [source.labels[i] for i in golden.logits.argmax(axis=1)]


def test_the_page_says_what_was_skipped_and_what_is_invalid() -> None:
    busy = [round_of(1, "busy: others")] * 3
    record = PeersRecord(
        load_average_before=3.0,
        concurrency=[4],
        rounds=3,
        seconds=1.0,
        texts=1,
        mean_tokens=50.0,
        starts=1,
        bundle_sha256="",
        answers=[],
        rows=[rounds.row("a", 4, [busy])],
        comparisons=rounds.comparisons((["a"], ["b"]), [4], {("a", 4): [busy], ("b", 4): [busy]}),
        skipped={"c": "it ended"},
        peer_versions={},
        command="",
        versions={},
        machine=Machine("x", [], 2, 8, "Linux"),
        commit="y",
    )
    shown = table(record).markdown()
    assert "| a | b | invalid run | invalid run |" in shown
    assert "| | c | skipped: it ended | |" in shown
    assert "Invalid: 0 of 3 rounds undisturbed, 5 are needed, and one of each start; busy: others" in shown
