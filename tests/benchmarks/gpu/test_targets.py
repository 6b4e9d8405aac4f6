"""Targets are judged on what was measured and passed the comparison."""

from __future__ import annotations

import pytest

from benchmarks.gpu import models, tables
from benchmarks.gpu.measure import BatchOfOne, EngineRate, LaunchRow, NewsCell, ShapeCell
from benchmarks.gpu.models import EngineVerdict
from benchmarks.gpu.tables import ModelRecord

ALL = ("ort_fp16", "ort_fp16_starts", "packed_fp16", *models.CAPTURED)


def verdict(variant: str, passed: bool) -> EngineVerdict:
    return EngineVerdict(variant, passed, [], 512, 0, 0, 0.0, 0.0, 0.0)


def measured(name: str, share: float, packed: float, peer: float, passed: tuple[str, ...] = ALL) -> ModelRecord:
    rates = {"ort_fp16": 80.0, "ort_fp16_starts": 100.0, "packed_fp16": packed, models.PEER: peer}
    rows = {key: EngineRate(1.0, (1.0, 1.0), 6, rate, 1.0, 1.0, share) for key, rate in rates.items()}
    first, second = models.CAPTURED
    floors = {"ort_fp16": 3.0, first: 1.5, second: 1.75}
    return ModelRecord(
        model=name,
        rows_compared=512,
        parity=[verdict(variant, variant in passed) for variant in ALL],
        peers=[verdict(models.PEER, True)],
        shapes=[ShapeCell(rows, {}, {}, 32, tokens) for tokens in (128, 256)],
        ag_news={models.AS_THEY_COME: NewsCell(rows, {}, {}, 0.5)},
        profiles=[],
        batch_of_one=BatchOfOne(32, 9, {key: LaunchRow(1.0, 1.0, over) for key, over in floors.items()}),
        skipped={},
    )


def test_targets_are_judged_on_what_was_measured() -> None:
    judged = tables.judged([measured("bert-base", 0.61, 160.0, 170.0), measured("minilm-l6", 0.1, 100.0, 100.0)])
    assert [target.met for target in judged] == [True, True, False, True]
    assert [target.found for target in judged] == [0.61, 1.6, pytest.approx(160 / 170), 1.5]


def test_a_target_is_missed_below_its_limit() -> None:
    judged = tables.judged([measured("bert-base", 0.59, 149.0, 100.0)])
    assert [target.met for target in judged] == [False, False, True, None]


def test_a_variant_that_failed_the_gate_reaches_nothing() -> None:
    judged = tables.judged(
        [measured("bert-base", 0.9, 900.0, 1.0, passed=("ort_fp16",)), measured("minilm-l6", 0, 1, 1, passed=())]
    )
    assert [target.met for target in judged] == [True, None, None, None]


def test_the_unpadded_graph_is_measured_against_a_padded_one_that_passed() -> None:
    judged = tables.judged([measured("bert-base", 0.9, 120.0, 1.0, passed=("ort_fp16", "packed_fp16"))])
    assert judged[1].found == pytest.approx(120 / 80)


def test_a_cuda_graph_that_failed_leaves_the_launches_to_the_padded_graph() -> None:
    judged = tables.judged([measured("minilm-l6", 0.9, 1.0, 1.0, passed=("ort_fp16",))])
    assert judged[3].found == 3.0


def test_without_any_model_nothing_is_judged() -> None:
    assert {target.met for target in tables.judged([])} == {None}
