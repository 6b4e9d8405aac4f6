"""Targets are judged on what was measured and passed the comparison."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.gpu import records, targets

ALL = ("ort_fp16", "ort_fp16_starts", "packed_fp16", *records.CAPTURED)


def measured(name: str, share: float, packed: float, peer: float, passed: tuple[str, ...] = ALL) -> dict[str, Any]:
    rates = {"ort_fp16": 80.0, "ort_fp16_starts": 100.0, "packed_fp16": packed, records.PEER: peer}
    rows = {key: {"share_of_peak": share, "sequences_per_second": rate} for key, rate in rates.items()}
    first, second = records.CAPTURED
    alone = {"ort_fp16": {"over_floor": 3.0}, first: {"over_floor": 1.5}, second: {"over_floor": 1.75}}
    return {
        "model": name,
        "parity": [{"variant": one, "passed": one in passed} for one in ALL],
        "peers": [{"variant": records.PEER, "passed": True}],
        "shapes": [{"tokens": tokens, "contenders": rows} for tokens in (128, 256)],
        "ag_news": {records.AS_THEY_COME: {"contenders": rows}},
        "batch_of_one": {"contenders": alone},
    }


def test_targets_are_judged_on_what_was_measured() -> None:
    judged = targets.judged([measured("bert-base", 0.61, 160.0, 170.0), measured("minilm-l6", 0.1, 100.0, 100.0)])
    assert [one["reached"] for one in judged] == [True, True, False, True]
    assert [one["found"] for one in judged] == [0.61, 1.6, pytest.approx(160 / 170), 1.5]


def test_a_target_is_missed_below_its_limit() -> None:
    judged = targets.judged([measured("bert-base", 0.59, 149.0, 100.0)])
    assert [one["reached"] for one in judged] == [False, False, True, None]


def test_a_variant_that_failed_the_gate_reaches_nothing() -> None:
    judged = targets.judged(
        [measured("bert-base", 0.9, 900.0, 1.0, passed=("ort_fp16",)), measured("minilm-l6", 0, 1, 1, passed=())]
    )
    assert [one["reached"] for one in judged] == [True, None, None, None]


def test_the_unpadded_graph_is_measured_against_a_padded_one_that_passed() -> None:
    judged = targets.judged([measured("bert-base", 0.9, 120.0, 1.0, passed=("ort_fp16", "packed_fp16"))])
    assert judged[1]["found"] == pytest.approx(120 / 80)


def test_a_cuda_graph_that_failed_leaves_the_launches_to_the_padded_graph() -> None:
    judged = targets.judged([measured("minilm-l6", 0.9, 1.0, 1.0, passed=("ort_fp16",))])
    assert judged[3]["found"] == 3.0


def test_without_any_model_nothing_is_judged() -> None:
    assert {one["reached"] for one in targets.judged([])} == {None}
