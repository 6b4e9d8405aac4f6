"""benchmarks.peers, as far as it needs no package that .venv has not: the rules of the comparison, the protocols, the engine."""

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

from benchmarks.peers import classifier, closed_loop, measure, page, protocols, rounds, subjects
from benchmarks.peers.closed_loop import Window
from benchmarks.peers.protocols import KSERVE, PLAIN
from benchmarks.peers.rounds import Plan, Round
from benchmarks.peers.subjects import Peer, Subject
from export.variants import VARIANTS
from serving.records import TEXT_MODEL
from serving.triton import Server
from tests.conftest import CHECKOUT
from train import bundle
from train.errors import ServerError

QUIET = {"others_share": 0.0, "steal_share": 0.0, "mhz": None}


def test_tritons_protocol_is_what_a_real_triton_takes_and_gives(echo_server: Server) -> None:
    url = f"http://{echo_server.http}{protocols.kserve_path(TEXT_MODEL)}"
    [answer] = closed_loop.answers(url, [KSERVE.body('Oil "prices", naïve\n')], 1)
    assert len(KSERVE.logits(answer)) == 2


def test_an_applications_own_json_holds_any_text() -> None:
    text = 'Oil "prices", naïve\n'
    assert json.loads(PLAIN.body(text)) == {"text": text}
    assert PLAIN.logits(b'{"label": "x", "probability": 0.5, "logits": [1, -2.5]}') == [1.0, -2.5]


def window(rate: float) -> Window:
    return Window(rate, np.full(100, 1000 / rate), 0.1)


def round_of(rate: float, *why: str) -> Round:
    return Round(window(rate), QUIET, list(why))


def compared(ours: list[Round], theirs: list[Round]) -> dict[str, dict[str, Any]]:
    found = rounds.comparisons((["a"], ["b"]), [4], {("a", 4): [ours], ("b", 4): [theirs]})
    return {one["measure"]: one for one in found}


def test_a_comparison_is_of_the_rounds_in_which_neither_was_disturbed() -> None:
    busy = round_of(1.0, "busy: others")
    ours = [*[round_of(20)] * 4, busy, *[round_of(20)] * 2]
    found = compared(ours, [*[round_of(10)] * 6, busy])["texts_per_second"]
    assert (found["rounds"], found["ratio"], found["verdict"]) == (5, 2.0, "faster")


def test_too_few_undisturbed_rounds_are_an_invalid_run_that_says_why() -> None:
    found = compared([round_of(20)] * 5, [*[round_of(1, "busy: others")] * 3, *[round_of(10)] * 2])["texts_per_second"]
    assert (found["verdict"], found["ratio"]) == ("invalid run", None)
    assert found["why"] == "2 of 5 rounds undisturbed, 5 are needed, and one of each start; busy: others"


def test_a_higher_rate_is_faster_and_a_higher_latency_slower() -> None:
    found = compared([round_of(5)] * 5, [round_of(10)] * 5)
    assert {name: (one["ratio"], one["verdict"]) for name, one in found.items()} == {
        "texts_per_second": (0.5, "slower"),
        "p99_ms": (2.0, "slower"),
    }


def test_a_p99_of_too_few_requests_gets_no_verdict() -> None:
    few = [Round(Window(5, np.full(70, 200.0), 0.1), QUIET, [])] * 5
    found = compared(few, [round_of(10)] * 5)
    assert (found["texts_per_second"]["verdict"], found["p99_ms"]["verdict"]) == ("slower", "invalid run")
    assert found["p99_ms"]["why"] == "p99 needs 368 requests, there are 350"


def test_a_clock_that_fell_in_a_round_is_seen_beside_the_others() -> None:
    clocks = [{**QUIET, "mhz": mhz} for mhz in (2600.0, 2600.0, 1300.0)]
    judged = rounds._judged([Round(window(10), clock, []) for clock in clocks])
    assert [bool(one.why) for one in judged] == [False, False, True]


def subject(name: str, ours: bool) -> Subject:
    return Subject(name, "", ours, "ort_fp32", name, PLAIN)


def measured(broken: str) -> tuple[dict[Any, Any], dict[str, str]]:
    """Two rounds of ours and two peers, of which one fails with 4 texts in flight."""

    def asked(url: str, bodies: list[bytes], concurrency: int, seconds: float) -> Window:
        if url == broken and concurrency == 4:
            raise ServerError("", expected="", found="status 500", where="", fix="")
        return window(10)

    found = [subject("ours", True), subject("good", False), subject("bad", False)]
    with (
        mock.patch.object(closed_loop, "window", asked),
        mock.patch("serving.busy_machine.between", return_value=QUIET),
        ThreadPoolExecutor(1) as client,
    ):
        return rounds.measure(client, found, ["oil"], Plan([1, 4], 2, 0.1), random.Random(0))


def test_a_peer_that_fails_under_load_is_left_out_and_the_others_go_on() -> None:
    found, failed = measured("bad")
    assert failed == {"bad": "failed with 4 texts in flight: status 500"}
    assert {load: len(of) for load, of in found.items() if load[0] != "bad"} == {
        (name, concurrency): 2 for name in ("ours", "good") for concurrency in (1, 4)
    }


def test_ours_failing_under_load_ends_the_measurement() -> None:
    with pytest.raises(ServerError, match="status 500"):
        measured("ours")


def test_a_disturbed_window_is_measured_again() -> None:
    shares = [{**QUIET, "others_share": 0.5}, QUIET]
    with (
        mock.patch.object(closed_loop, "window", side_effect=[window(1), window(10)]),
        mock.patch("serving.busy_machine.between", side_effect=shares),
        ThreadPoolExecutor(1) as client,
    ):
        found = rounds._round(client, subject("ours", True), ["oil"], 1, 0.1)
    assert (found.window.texts_per_second, found.why) == (10, [])


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({"flips": 0, "logit_difference_max": 1e-5}, []),
        ({"flips": 1, "logit_difference_max": 1e-5}, ["flip rate is 0.002, limit 0.0005"]),
        ({"flips": 0, "logit_difference_max": 0.1}, ["max |Δlogit| is 0.1, limit 0.01"]),
    ],
)
def test_answers_are_equal_or_their_difference_is_named(found: dict[str, Any], wrong: list[str]) -> None:
    assert measure.beyond({"rows": 500, "non_finite_rows": 0, **found}, VARIANTS["ort_fp32"].limits) == wrong


def test_a_peer_without_its_environment_is_skipped_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with (
        mock.patch.object(subjects, "ENVIRONMENT", tmp_path / "none"),
        subjects._started(subjects.PEERS[0], mock.Mock(), mock.Mock(), tmp_path) as outcome,
    ):
        assert re.search("make peers", str(outcome))


def test_a_peer_that_ends_at_once_is_skipped_with_its_last_line(tmp_path: Path) -> None:
    peer = Peer("none", "", "serve_nothing", (), "/", PLAIN)
    source, engine = mock.Mock(directory=tmp_path), mock.Mock(model=tmp_path)
    with (
        mock.patch.object(subjects, "ENVIRONMENT", CHECKOUT / ".venv"),
        subjects._started(peer, source, engine, tmp_path) as outcome,
    ):
        said = subjects._ready(peer, *outcome)
    assert re.fullmatch(r"it ended with 1: .*No module named benchmarks\.peers\.serve_nothing", str(said))


def test_the_peers_have_the_engine_and_tokenizer_that_slipway_has() -> None:
    def versions(path: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w-]+)==(\S+)", (CHECKOUT / path).read_text("utf-8"), re.MULTILINE))

    ours, theirs = versions("setup/requirements.txt"), versions("benchmarks/peers/requirements.txt")
    assert {"onnxruntime", "tensorflow", "tokenizers", "numpy", "tritonclient"} <= theirs.keys() & ours.keys()
    assert {name: theirs[name] for name in theirs.keys() & ours.keys()} == {
        name: ours[name] for name in theirs.keys() & ours.keys()
    }


def test_the_peers_classifier_gives_the_savedmodels_answers(finished_run: Path) -> None:
    source = bundle.load(finished_run / "bundle")
    golden = bundle.load_golden(source).take(np.arange(60))
    classify = classifier.load(source.directory, "onnxruntime", finished_run / "artifacts" / "ort_fp32" / "model.onnx")
    found = classify(golden.texts)
    np.testing.assert_allclose(found.logits, golden.logits, atol=1e-3)
    assert found.labels == [source.labels[i] for i in golden.logits.argmax(axis=1)]


def test_the_page_says_what_was_skipped_and_what_is_invalid() -> None:
    busy = [round_of(1, "busy: others")] * 3
    record = {
        "concurrency": [4],
        "comparisons": rounds.comparisons((["a"], ["b"]), [4], {("a", 4): [busy], ("b", 4): [busy]}),
        "skipped": {"c": "it ended"},
        "answers": [],
        "rows": [rounds.row("a", 4, [busy])],
        "load_average_before": 3.0,
        "starts": 1,
        "rounds": 3,
        "texts": 1,
        "mean_tokens": 50.0,
        "peer_versions": {},
        "machine": {"cores": 2, "cpu": "x"},
        "commit": "y",
    }
    shown = page.table(record)
    assert "| a | b | invalid run | invalid run |" in shown
    assert "| | c | skipped: it ended |" in shown
    assert "Invalid: 0 of 3 rounds undisturbed, 5 are needed, and one of each start; busy: others" in shown
