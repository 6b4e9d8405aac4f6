from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.export import false_alarms
from benchmarks.export.false_alarms import FalseAlarms, ModelRow, Rerun, Tally, Task
from benchmarks.export.right_models import RightModel
from slipway.contract import artifact, bundle
from slipway.contract.parity.comparison import Measured, Precision
from slipway.contract.variants import VARIANTS
from tests.support.serving import word_runs

PRECISION = Precision("the multiplications", {}, {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RightModel:
    run = word_runs.make(tmp_path_factory.mktemp("words") / "run", variants=("ort_fp32",))
    candidate = artifact.load(run / "artifacts" / "ort_fp32")
    whole = harness.read(Measured, candidate.directory / artifact.PARITY)
    return RightModel("run", "words", bundle.load_reference(bundle.load(run / "bundle")), candidate, whole, [])


def test_a_right_model_passes_the_whole_gate_by_rows_that_were_drawn(model: RightModel) -> None:
    assert false_alarms.rerun(model, Task(model.name, 400, 0)).failures == []


def test_too_few_rows_leave_a_right_model_undecided_and_the_limit_is_named(model: RightModel) -> None:
    failures = false_alarms.rerun(model, Task(model.name, 50, 0)).failures
    assert [failure.shown for failure in failures] == [False, False]
    assert "upper bound on the flip rate" in {failure.what for failure in failures}


def test_two_reruns_draw_other_rows_and_the_same_ones_when_they_are_repeated(model: RightModel) -> None:
    drawn = [false_alarms.draw(model, Task(model.name, 30, number)).texts for number in (0, 1, 0)]
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_a_share_of_the_samples_is_rounded_up_and_no_share_is_no_rerun(model: RightModel) -> None:
    tasks = false_alarms.tasks(model, {"ort_fp32": (1.0, 0.3, 0.1, 0.0)}, samples=4)
    assert Counter(task.size for task in tasks) == {500: 4, 1000: 2, 2000: 1}


def test_what_was_done_is_read_back_and_not_done_again(model: RightModel, tmp_path: Path) -> None:
    planned = [(model, Task(model.name, 500, number)) for number in range(3)]
    false_alarms.add(tmp_path / "reruns.jsonl", rerun(model, number=1))
    left = false_alarms.remaining(planned, false_alarms.read(tmp_path / "reruns.jsonl"))
    assert [task.number for _, task in left] == [0, 2]


def test_every_model_has_its_first_rerun_before_any_has_its_second(model: RightModel) -> None:
    planned = [(model, Task(name, 500, number)) for name in ("a", "b") for number in range(2)]
    left = false_alarms.remaining(planned, [])
    assert [(task.model, task.number) for _, task in left] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def rerun(model: RightModel, number: int = 0, flips: int = 0) -> Rerun:
    return Rerun(Task(model.name, 500, number), "ort_fp32", replace(model.whole, flips=flips), 1.0)


def test_verdicts_are_counted_and_limits_with_them(model: RightModel) -> None:
    tally = false_alarms.tally([rerun(model), rerun(model, flips=300)], 500)
    assert (tally.passed, tally.undecided, tally.worse) == (1, 0, 1)
    assert tally.worse_in["flip rate"] == 1


def test_reruns_of_another_size_are_not_counted(model: RightModel) -> None:
    assert false_alarms.tally([rerun(model)], 1000) == Tally(1000, 0, 0, 0, {}, {})


@pytest.mark.parametrize(("flips", "beyond"), [(0, []), (8, ["flip rate 1.34%"])])
def test_a_model_is_right_by_its_rates_and_not_by_their_bounds(model: RightModel, flips: int, beyond: list[str]) -> None:
    whole = replace(model.whole, flips=flips, rows=597, precision=replace(PRECISION, weights={"fp16": 1.0}))
    assert false_alarms.beyond(whole, VARIANTS["onnx_fp16"]) == beyond


def test_a_model_that_is_hardly_in_its_precision_is_not_right(model: RightModel) -> None:
    whole = replace(model.whole, precision=replace(PRECISION, weights={"fp16": 0.5, "fp32": 0.5}))
    assert false_alarms.beyond(whole, VARIANTS["onnx_fp16"]) == ["share not fp16 50.00%"]


def test_a_class_that_certainly_loses_is_beyond_its_limit(model: RightModel) -> None:
    first, *others = model.whole.by_class
    whole = replace(model.whole, by_class=[replace(first, lost=20), *others])
    (beyond,) = false_alarms.beyond(whole, VARIANTS["ort_fp32"])
    assert beyond.startswith(f"accuracy loss in {first.group} ")


def row(beyond: list[str], worse: int) -> ModelRow:
    tallies = [Tally(size, 19 - worse, 1, worse, {}, {}) for size in false_alarms.SIZES]
    return ModelRow("run", "own", 4, "ort_int8", False, 3000, 20, 9, 8, 0.9, None, beyond, "passed", "", [], tallies)


def test_what_is_rightly_called_worse_is_no_false_alarm() -> None:
    machine = harness.Machine("a CPU", [], 2, 8, "Linux")
    record = FalseAlarms(command="", versions={}, machine=machine, commit="", models=[row([], 1), row(["flip rate"], 9)])
    assert "4 of 80 re-runs were called worse" in false_alarms.table(record).note


def test_a_repaired_model_is_told_from_the_first_attempt() -> None:
    cells = [false_alarms.cells(replace(row([], 0), repaired=repaired))[1] for repaired in (False, True)]
    assert cells == ["ort_int8", "ort_int8, repaired"]


def test_a_size_without_reruns_is_a_dash() -> None:
    empty = replace(row([], 0), tallies=[Tally(size, 0, 0, 0, {}, {}) for size in false_alarms.SIZES])
    assert false_alarms.cells(empty)[4:8] == ("–",) * 4
