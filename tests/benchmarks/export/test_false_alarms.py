from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import harness, models
from benchmarks.export import false_alarms
from benchmarks.export.false_alarms import FalseAlarms, Head, HeadRow, Rows, Tally
from export.graph import canonical
from export.graph.bert import Bert
from export.session import open_onnx
from slipway.contract.ragged import Ragged, infer_rows
from slipway.contract.variants import VARIANTS

RANDOM = np.random.default_rng(0)
LIMITS = VARIANTS["ort_int8"].limits
LABELS = RANDOM.integers(0, 4, 3000)
REFERENCE = (4 * np.eye(4)[LABELS] + RANDOM.normal(0, 0.3, (3000, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def bert() -> Bert:
    return models.make("tiny")


def head(bert: Bert, labels: int, seed: int) -> Head:
    kernel = np.random.default_rng(seed).normal(size=(bert.hidden + 1, labels)).astype(np.float32)
    return Head(f"{labels} labels", kernel, np.zeros(0, np.int64))


def texts(rows: int) -> Ragged:
    return Ragged.of(RANDOM.integers(1, 128, length) for length in RANDOM.integers(3, 20, rows))


def test_a_head_answers_in_int8_beside_others_as_it_does_alone(bert: Bert, tmp_path: Path) -> None:
    heads, rows = [head(bert, 3, seed=1), head(bert, 5, seed=2)], texts(40)
    (tmp_path / "alone").mkdir()
    joined = false_alarms.answer(false_alarms.in_8_bits(bert, heads, tmp_path), rows)
    alone = false_alarms.answer(false_alarms.in_8_bits(bert, heads[1:], tmp_path / "alone"), rows)
    np.testing.assert_allclose(false_alarms.split(joined, [3, 5])[1], alone, atol=1e-5)


def test_a_heads_reference_is_what_its_fp32_graph_answers(bert: Bert, tmp_path: Path) -> None:
    rows = texts(10)
    onnx.save(canonical.write(bert), tmp_path / "model.onnx")
    with open_onnx(tmp_path / "model.onnx") as session:
        expected = infer_rows(session.infer, rows, 32)
    own = Head("own", np.vstack([bert.classifier.kernel, bert.classifier.bias]), np.zeros(10, np.int64))
    np.testing.assert_allclose(own.logits(false_alarms.pooled(bert, rows, tmp_path)), expected, atol=1e-6)


def test_a_fitted_head_answers_what_it_was_fitted_to() -> None:
    features = (np.eye(4)[LABELS] + RANDOM.normal(0, 0.1, (3000, 4))).astype(np.float32)
    kernel = false_alarms.fit(features, LABELS, 4)
    answers = (features @ kernel[:-1] + kernel[-1]).argmax(axis=1)
    assert (answers == LABELS).mean() > 0.99


def test_the_unbalanced_head_has_rows_of_80_15_and_5_percent() -> None:
    features = RANDOM.normal(size=(3000, 8)).astype(np.float32)
    targets = false_alarms.make_targets(LABELS, features, np.arange(1000))
    used = targets[false_alarms.HEADS.index("3 labels of 80, 15 and 5 %")]
    assert np.bincount(used[used >= 0]) / (used >= 0).sum() == pytest.approx([0.8, 0.15, 0.05], abs=0.03)


def rows(changed: int) -> Rows:
    """So many answers changed, half of them lost: rows whose label is another lose nothing."""
    answers, labels = REFERENCE.copy(), LABELS.copy()
    answers[:changed] = np.roll(answers[:changed], 1, axis=1)
    labels[: changed // 2] = (labels[: changed // 2] + 2) % 4
    return Rows(REFERENCE, answers, labels, np.full(3000, 30))


def test_equal_answers_pass_in_every_sample_of_enough_rows() -> None:
    assert false_alarms.tally(rows(0), LIMITS, 500, samples=5) == Tally(500, 5, 0, 0, {})


def test_a_model_beyond_the_limits_is_worse_in_every_sample_and_the_limit_is_named() -> None:
    tally = false_alarms.tally(rows(240), LIMITS, 2000, samples=5)
    assert tally.worse == 5
    assert tally.worse_in["flip rate"] == 5


def test_a_right_model_on_few_rows_is_not_decided_and_not_worse() -> None:
    tally = false_alarms.tally(rows(20), LIMITS, 200, samples=5)
    assert (tally.undecided, tally.worse) == (5, 0)


@pytest.mark.parametrize(("changed", "right"), [(0, True), (30, True), (90, False)])
def test_a_model_is_right_by_its_rates_and_not_by_their_bounds(changed: int, right: bool) -> None:
    assert false_alarms.is_right(rows(changed).compare(np.arange(3000)), LIMITS) == right


def row(right: bool, worse: int) -> HeadRow:
    tally = Tally(500, 19 - worse, 1, worse, {})
    return HeadRow("own", 4, "ort_int8", False, 3000, 20, 9, 8, 0.9, None, right, [tally] * len(false_alarms.SIZES))


def test_what_is_rightly_called_worse_is_no_false_alarm() -> None:
    machine = harness.Machine("a CPU", [], 2, 8, "Linux")
    record = FalseAlarms(command="", versions={}, machine=machine, commit="", samples=20, heads=[row(True, 1), row(False, 9)])
    assert "4 of 80 samples were called worse" in false_alarms.table(record).note


def test_a_repaired_head_is_told_from_the_first_attempt() -> None:
    cells = [false_alarms.cells(replace(row(True, 0), repaired=repaired))[1] for repaired in (False, True)]
    assert cells == ["ort_int8", "ort_int8, repaired"]
