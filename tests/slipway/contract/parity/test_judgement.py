"""Planted faults, each caught by name: the gate is only as good as what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from slipway.contract.parity import bounds, comparison, judgement, probabilities
from slipway.contract.parity.comparison import Coverage, Measured, Precision
from slipway.contract.records import from_json
from slipway.contract.variants import VARIANTS
from tests.support.command import CHECKOUT

ROWS, NAMES = 4000, ["World", "Sports", "Business", "Sci/Tech"]
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, ROWS)
LENGTHS = RANDOM.integers(10, 128, ROWS)
ANSWERS = np.where(RANDOM.random(ROWS) < 0.9, LABELS, (LABELS + 1) % 4)  # right in nine of ten
REFERENCE = (4.0 * np.eye(4)[ANSWERS] + RANDOM.normal(0, 0.3, (ROWS, 4))).astype(np.float32)
SPREAD = probabilities.spread(REFERENCE)
SIZES = RANDOM.permutation(np.repeat(np.arange(1, 33), 125))  # of the rows' batches


def failures(found: np.ndarray, variant: str = "ort_int8") -> set[str]:
    measured = comparison.compare(REFERENCE, found, LABELS, LENGTHS, NAMES)
    return {failure.what for failure in judgement.judge(measured, VARIANTS[variant].limits)}


def flipped(rows: np.ndarray) -> np.ndarray:
    found = REFERENCE.copy()
    found[rows] = np.roll(found[rows], 1, axis=1)
    return found


def test_equal_answers_pass() -> None:
    assert not failures(REFERENCE, "onnx_fp32")


def test_rounding_passes_as_int8_and_fails_as_fp32() -> None:
    rounded = REFERENCE + RANDOM.normal(0, 0.05, REFERENCE.shape).astype(np.float32)
    assert not failures(rounded, "ort_int8")
    assert "max |Δlogit|" in failures(rounded, "ort_fp32")


def test_permuted_labels_fail() -> None:
    assert "upper bound on the flip rate" in failures(np.roll(REFERENCE, 1, axis=1))


def test_a_shuffled_row_order_fails() -> None:
    assert "upper bound on the flip rate" in failures(REFERENCE[RANDOM.permutation(ROWS)])


def test_nan_in_a_single_long_text_fails() -> None:
    found = REFERENCE.copy()
    found[LENGTHS.argmax(), 2] = np.nan
    assert "rows with NaN or Inf" in failures(found)


def test_one_class_degraded_while_the_total_barely_moves_fails_by_its_name() -> None:
    in_class = np.flatnonzero((LABELS == 2) & (REFERENCE.argmax(axis=1) == 2))
    found = flipped(in_class[: round(0.05 * (LABELS == 2).sum())])
    assert "accuracy loss in Business, at least" in failures(found)


def test_a_loss_among_long_texts_fails_by_their_length() -> None:
    long = np.flatnonzero((LENGTHS > 96) & (REFERENCE.argmax(axis=1) == LABELS))
    assert "accuracy loss in 97-128 tokens, at least" in failures(flipped(long[:40]))


def test_flips_that_cost_no_accuracy_are_still_flips() -> None:
    wrong = np.flatnonzero(REFERENCE.argmax(axis=1) != LABELS)[:150]
    assert "upper bound on the flip rate" in failures(flipped(wrong))


def lowered_others(by: float) -> np.ndarray:
    """Every label but the answered one lowered, so that no answer changes."""
    return (REFERENCE - by * (1 - np.eye(4)[REFERENCE.argmax(axis=1)])).astype(np.float32)


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        (REFERENCE * 3, "|slope − 1| of the logits on the reference's"),
        (REFERENCE * np.float32(0.2), "|slope − 1| of the logits on the reference's"),
        (lowered_others(30), "|slope − 1| of the logits on the reference's"),
        (lowered_others(-2), "99th percentile of |Δp|"),
        (lowered_others(-1), "mean |Δp| of the rows"),
    ],
)
def test_probabilities_that_changed_while_no_answer_did_fail(answers: np.ndarray, what: str) -> None:
    measured = comparison.compare(REFERENCE, answers, LABELS, LENGTHS, NAMES)
    assert measured.flips == 0
    assert what in failures(answers)


def test_logits_that_are_all_moved_alike_are_the_same_probabilities() -> None:
    assert not failures(REFERENCE + np.float32(5), "ort_int8")


def test_a_model_that_makes_all_logits_larger_is_not_forgiven_a_dependence() -> None:
    alone = REFERENCE * 100
    dependence = comparison.invariance(alone, {"padded": alone + np.float32(1)}, SPREAD)
    assert dependence.relative == pytest.approx(1 / SPREAD, rel=1e-3)


def verdict(found: np.ndarray, rows: int, variant: str = "ort_int8") -> str:
    measured = comparison.compare(REFERENCE[:rows], found[:rows], LABELS[:rows], LENGTHS[:rows], NAMES)
    return judgement.verdict(judgement.judge(measured, VARIANTS[variant].limits))


def test_a_few_lost_rows_of_few_are_not_decided_and_how_many_rows_would_is_named() -> None:
    right = np.flatnonzero(REFERENCE[:445].argmax(axis=1) == LABELS[:445])[:4]
    found = flipped(right)
    measured = comparison.compare(REFERENCE[:445], found[:445], LABELS[:445], LENGTHS[:445], NAMES)
    [failure] = judgement.judge(measured, VARIANTS["ort_int8"].limits)
    assert verdict(found, 445) == "undecided"
    assert failure.counts == "4 lost, 0 gained of 445"
    assert 445 < failure.rows < 2000


def test_a_share_that_few_rows_leave_open_is_decided_by_many() -> None:
    found = flipped(np.arange(0, ROWS, 200))
    assert [verdict(found, rows) for rows in (400, ROWS)] == ["undecided", "passed"]


def test_many_lost_rows_of_few_are_shown_to_be_worse() -> None:
    assert verdict(flipped(np.arange(0, 400, 10)), 400) == "worse"


def test_equal_answers_on_too_few_rows_are_not_decided() -> None:
    assert verdict(REFERENCE, 100, "onnx_fp32") == "undecided"


def test_rows_without_a_label_count_for_flips_and_not_for_accuracy() -> None:
    labels = np.where(np.arange(ROWS) < 200, LABELS, comparison.UNLABELLED)
    measured = comparison.compare(REFERENCE, flipped(np.arange(195, 205)), labels, LENGTHS, NAMES)
    assert (measured.rows, measured.labelled, measured.flips) == (ROWS, 200, 10)
    assert measured.lost + measured.gained <= 5


def test_no_more_answers_are_lost_than_change_so_rows_without_a_label_bound_the_loss() -> None:
    labels = np.where(np.arange(ROWS) < 50, LABELS, comparison.UNLABELLED)
    measured = comparison.compare(REFERENCE, REFERENCE, labels, LENGTHS, NAMES)
    assert measured.accuracy_loss_bound == measured.flip_rate_bound
    assert judgement.judge(measured, VARIANTS["onnx_fp32"].limits) == []


def test_a_class_of_few_rows_is_named_with_what_could_be_lost_unseen() -> None:
    labels = np.where((LABELS == 3) & (np.arange(ROWS) > np.flatnonzero(LABELS == 3)[3]), 0, LABELS)
    [unseen] = comparison.compare(REFERENCE, REFERENCE, labels, LENGTHS, NAMES).unseen
    assert (unseen.label, unseen.rows, unseen.loss) == ("Sci/Tech", 4, 1.0)


def test_a_class_that_the_reference_never_answers_is_named() -> None:
    never = REFERENCE.copy()
    never[:, 1] = -9
    [unseen] = comparison.compare(never, never, LABELS, LENGTHS, NAMES).unseen
    assert (unseen.label, unseen.answered) == ("Sports", 0)


def test_a_batch_that_leaks_into_the_answer_fails() -> None:
    measured = comparison.compare(REFERENCE, REFERENCE, LABELS, LENGTHS, NAMES)
    dependence = comparison.invariance(REFERENCE, {"padded": REFERENCE + np.float32(0.01)}, SPREAD)
    found = judgement.judge(measured, VARIANTS["ort_fp32"].limits, dependence)
    assert [failure.what for failure in found] == [judgement.DEPENDENCE]


def test_nan_in_the_padded_answer_does_not_pass_for_no_difference() -> None:
    record = comparison.invariance(REFERENCE, {"padded": np.full_like(REFERENCE, np.nan)}, SPREAD)
    assert record.difference_max > 1e30


def whole_record(**changes: Any) -> Measured:
    compared = comparison.compare(REFERENCE, REFERENCE, LABELS, LENGTHS, NAMES)
    whole = Measured(
        **vars(compared),
        texts=ROWS,
        tokens=int(LENGTHS.sum()),
        by_batch=comparison.by_batch(REFERENCE, REFERENCE, SIZES),
        repeat=0.0,
        invariance=comparison.invariance(REFERENCE, dict.fromkeys(comparison.WAYS, REFERENCE), SPREAD),
        neighbours=comparison.neighbours("a text", REFERENCE, REFERENCE),
        probes=comparison.compare_probes(REFERENCE, REFERENCE),
        cost={"fixed": 0.0, "per_token": 1e-3},
        precision=in_fp16(1.0),
        engine_seconds=300.0,
        engine_error="",
    )
    return replace(whole, **changes)


def in_fp16(share: float) -> Precision:
    return Precision("the multiplications", {"fp16": share, "fp32": 1 - share}, {})


def whats(record: Measured) -> list[str]:
    return [failure.what for failure in judgement.judge_artifact(record, VARIANTS["onnx_fp16"])]


def test_a_whole_record_passes() -> None:
    assert whats(whole_record()) == []


def test_fp32_inside_an_fp16_artifact_fails() -> None:
    assert whats(whole_record(precision=in_fp16(0.1))) == ["share of the multiplications not fp16"]


def test_a_record_is_the_same_after_it_went_through_json() -> None:
    coverage = Coverage("matrix multiplications", {"fp16": 1.0}, {"TRTEngineOp": 2}, 2, 0, 6, 3, {"fp16": 4}, 1, 0.8)
    record = whole_record(precision=coverage)
    assert from_json(Measured, json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("name", ["by_batch", "repeat", "invariance", "neighbours", "probes", "precision"])
def test_a_record_without_a_measurement_fails_by_its_name(name: str) -> None:
    assert whats(whole_record(**{name: None})) == [f"{name} was not measured"]


@pytest.mark.parametrize("cost", [{"fixed": 0.0, "per_token": 1e9}, {"fixed": 0.0, "per_token": 1e-15}, {}, None])
def test_a_cost_that_the_time_of_the_golden_rows_contradicts_is_not_believed(cost: dict[str, float] | None) -> None:
    assert whats(whole_record(cost=cost)) == ["time that the cost model gives the golden rows ÷ measured"]


def test_a_tiny_models_time_is_its_surroundings_and_proves_nothing_about_its_cost() -> None:
    assert whats(whole_record(cost={"fixed": 0.0, "per_token": 1e-9}, engine_seconds=0.2)) == []


def test_a_record_of_answers_that_are_all_nan_can_be_read_again() -> None:
    compared = comparison.compare(REFERENCE, np.full_like(REFERENCE, np.nan), LABELS, LENGTHS, NAMES)
    record = whole_record(**vars(compared))
    assert from_json(Measured, json.loads(json.dumps(record.to_json()))) == record


def test_rows_that_answer_otherwise_the_second_time_fail() -> None:
    assert whats(whole_record(repeat=0.01)) == [judgement.REPEAT]


def test_answers_that_change_in_batches_of_one_size_fail_though_they_are_few() -> None:
    batches = comparison.by_batch(REFERENCE, flipped(np.flatnonzero(SIZES == 7)[:31]), SIZES)
    assert whats(whole_record(by_batch=batches)) == ["flip rate in batches of 7 rows, at least"]


def test_an_answer_that_changed_by_chance_is_no_fault_of_its_batch_size() -> None:
    batches = comparison.by_batch(REFERENCE, flipped(np.flatnonzero(SIZES == 7)[:1]), SIZES)
    assert whats(whole_record(by_batch=batches)) == []


def test_a_batch_size_whose_count_was_taken_out_is_missed() -> None:
    batches = comparison.by_batch(REFERENCE, REFERENCE, SIZES)
    assert whats(whole_record(by_batch=batches[1:])) == ["answers of no batch size"]


def test_nan_is_equal_to_itself_and_differs_from_a_number() -> None:
    nan = np.full_like(REFERENCE, np.nan)
    assert comparison.largest(nan, nan) == 0
    assert comparison.largest(nan, REFERENCE) > 1e30


def test_a_neighbour_that_flips_many_answers_fails() -> None:
    beside = comparison.neighbours("a text", REFERENCE, flipped(np.arange(100)))
    assert whats(whole_record(neighbours=beside)) == ["flip rate beside the worst neighbour, at least"]


def test_probe_rows_that_answer_otherwise_fail() -> None:
    shuffled = REFERENCE[RANDOM.permutation(ROWS)]
    probes = comparison.compare_probes(REFERENCE, shuffled)
    assert "1 − correlation of the logits of probe rows" in whats(whole_record(probes=probes))


def test_the_same_answer_to_every_probe_row_is_not_correlated() -> None:
    probes = comparison.compare_probes(REFERENCE, np.ones_like(REFERENCE))
    assert probes.correlation == 0


def test_probes_of_no_row_prove_nothing() -> None:
    empty = replace(comparison.compare_probes(REFERENCE, REFERENCE), rows=0)
    assert whats(whole_record(probes=empty)) == ["measurements without a row"]


def test_a_single_probe_row_that_is_not_finite_fails() -> None:
    answers = REFERENCE.copy()
    answers[7, 1] = np.inf
    assert whats(whole_record(probes=comparison.compare_probes(REFERENCE, answers))) == ["probe rows with NaN or Inf"]


def test_an_engine_that_failed_does_not_pass() -> None:
    assert whats(whole_record(engine_error="out of memory")) == ["the engine failed: out of memory"]


def test_a_few_lost_rows_of_a_small_group_are_chance_and_many_are_not() -> None:
    small = np.flatnonzero((LENGTHS < 13) & (REFERENCE.argmax(axis=1) == LABELS))
    assert not failures(flipped(small[:2]))


@pytest.mark.parametrize(("lost", "rows"), [(5, 5), (6, 10), (8, 100), (12, 200)])
def test_a_small_class_cannot_lose_its_answers_unseen(lost: int, rows: int) -> None:
    assert bounds.loss_least(lost, 0, rows) > VARIANTS["ort_int8"].limits.group_loss


@pytest.mark.parametrize(("lost", "gained", "rows"), [(0, 0, 100), (1, 0, 1), (2, 0, 100), (6, 4, 200), (0, 9, 50)])
def test_what_chance_explains_is_no_loss_of_a_class(lost: int, gained: int, rows: int) -> None:
    assert bounds.loss_least(lost, gained, rows) <= VARIANTS["onnx_fp16"].limits.group_loss


def test_groups_that_do_not_hold_every_answer_fail() -> None:
    measured = replace(comparison.compare(REFERENCE, REFERENCE, LABELS, LENGTHS, NAMES), by_class=[])
    assert "answers in no group" in {failure.what for failure in judgement.judge(measured, VARIANTS["onnx_fp32"].limits)}


def test_a_bound_that_the_counts_do_not_give_is_not_believed() -> None:
    measured = replace(comparison.compare(REFERENCE, flipped(np.arange(400)), LABELS, LENGTHS, NAMES), flip_rate_bound=0.0)
    whats = {failure.what for failure in judgement.judge(measured, VARIANTS["ort_int8"].limits)}
    assert "upper bound on the flip rate" in whats


def test_an_answer_that_flips_with_its_padding_fails() -> None:
    measured = comparison.compare(REFERENCE, REFERENCE, LABELS, LENGTHS, NAMES)
    dependence = comparison.invariance(REFERENCE[:64], {"padded": flipped(np.arange(3))[:64]}, SPREAD)
    found = judgement.judge(measured, VARIANTS["onnx_fp16"].limits, dependence)
    assert "flip rate padded, at least" in {failure.what for failure in found}


@pytest.mark.parametrize("variant", ["onnx_fp32", "onnx_fp16", "ort_int8"])
def test_so_many_equal_rows_as_are_asked_for_hold_the_bounds_and_one_less_does_not(variant: str) -> None:
    limits = VARIANTS[variant].limits
    least = bounds.least_rows(limits)

    def held(rows: int) -> bool:
        return bounds.rate_bound(0, rows) <= limits.flip_rate_bound and bounds.loss_bound(0, 0, rows) <= limits.accuracy_loss_bound

    assert held(least)
    assert not held(least - 1)


def test_the_documents_name_the_number_of_rows_that_the_limits_take() -> None:
    least = max(bounds.least_rows(variant.limits) for variant in VARIANTS.values())
    for name in ("README.md", "docs/limits.md", "docs/troubleshooting.md"):
        assert str(least) in (CHECKOUT / name).read_text("utf-8")


def test_the_limits_page_names_how_many_rows_a_right_model_takes() -> None:
    page = (CHECKOUT / "docs/limits.md").read_text("utf-8")
    rows = {variant.precision: judgement.usual_rows(variant.limits) for variant in VARIANTS.values()}
    assert f"{rows['fp32']} rows in FP32, {rows['fp16']} in FP16, {rows['int8']} in INT8" in " ".join(page.split())


def test_a_failure_says_the_limit_that_would_have_passed() -> None:
    measured = comparison.compare(REFERENCE, flipped(np.arange(400)), LABELS, LENGTHS, NAMES)
    failures = judgement.judge(measured, VARIANTS["ort_int8"].limits)
    failure = next(failure for failure in failures if "bound on the flip rate" in failure.what)
    assert failure.would_pass == measured.flip_rate_bound > failure.limit


def test_a_measurement_that_is_nan_never_passes() -> None:
    measured = comparison.compare(REFERENCE, REFERENCE, LABELS, LENGTHS, NAMES)
    measured = replace(measured, non_finite_rows=float("nan"))  # type: ignore[arg-type]
    assert judgement.judge(measured, VARIANTS["ort_int8"].limits)


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected logits"):
        comparison.compare(REFERENCE, REFERENCE[:, :3], LABELS, LENGTHS, NAMES)


@pytest.mark.parametrize(("count", "rows"), [(0, 2000), (3, 500), (42, 7600)])
def test_the_rate_bound_is_clopper_pearsons(count: int, rows: int) -> None:
    exact = stats.binomtest(count, rows, alternative="less").proportion_ci(0.95, method="exact").high
    assert bounds.rate_bound(count, rows) == pytest.approx(exact)


def test_the_loss_bound_holds_in_95_of_100_experiments() -> None:
    lost_rate, gained_rate, rows = 0.01, 0.006, 2000
    counts = np.random.default_rng(1).multinomial(rows, [lost_rate, gained_rate, 1 - lost_rate - gained_rate], 500)
    held = [bounds.loss_bound(lost, gained, rows) >= lost_rate - gained_rate for lost, gained, _ in counts]
    assert np.mean(held) >= 0.95


def test_what_the_cpu_can_serve_is_compared_on_the_cpu_also_where_there_is_a_gpu() -> None:
    first = {name: variant.providers[0] for name, variant in VARIANTS.items() if "CPUExecutionProvider" in variant.providers}
    assert set(first.values()) == {"CPUExecutionProvider"}  # ONNX Runtime asks providers in this order


def test_who_has_the_usual_number_of_rows_is_told_of_more() -> None:
    limits = VARIANTS["ort_int8"].limits
    right = np.flatnonzero(REFERENCE[:1000].argmax(axis=1) == LABELS[:1000])[:6]
    measured = comparison.compare(REFERENCE[:1000], flipped(right)[:1000], LABELS[:1000], LENGTHS[:1000], NAMES)
    [failure] = judgement.judge(measured, limits)
    assert judgement.usual_rows(limits) < 1000 < failure.rows


def test_where_few_rows_have_a_label_more_of_those_would_decide_on_the_loss() -> None:
    labels = np.where(np.arange(1000) < 60, LABELS[:1000], comparison.UNLABELLED)
    right = np.flatnonzero(REFERENCE[:1000].argmax(axis=1) == LABELS[:1000])
    measured = comparison.compare(REFERENCE[:1000], flipped(right[right > 60][:6])[:1000], labels, LENGTHS[:1000], NAMES)
    [failure] = judgement.judge(measured, VARIANTS["ort_int8"].limits)
    assert (failure.what, failure.kind) == ("upper bound on the accuracy loss", "rows with a label")
    assert 60 < failure.rows < 1000


def test_more_flips_than_rows_are_beyond_every_limit() -> None:
    assert bounds.rate_least(600, 50) > 0.9
