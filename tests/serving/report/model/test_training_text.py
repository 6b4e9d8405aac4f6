"""What the report shows of a model and its training: labels, taggers, skipped steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.report.figures import confusion_figure, training_figure
from serving.report.model.training_text import accuracy_table, mix_ups, text_reader, training_facts, worst_classes
from serving.report.records import Metrics, TrainingRecord
from slipway.contract.bundle import NOT_ASKED, Golden
from slipway.contract.ragged import Ragged
from slipway.contract.records import from_json


def history(steps: int, epochs: int, skipped: tuple[int, ...] = ()) -> TrainingRecord:
    lines = [
        {"step": i, "loss": None if i in skipped else 2.0, "learning_rate": 1e-4, "skipped": i in skipped}
        for i in range(1, steps + 1)
    ]
    ends = [steps * (epoch + 1) // epochs for epoch in range(epochs)]
    validation = [{"step": end, "validation_loss": 1.0, "validation_accuracy": 0.5} for end in ends]
    record: TrainingRecord = from_json(TrainingRecord, {"steps": lines, "validation": validation})
    return record


def metrics(**recorded: Any) -> Metrics:
    read: Metrics = from_json(Metrics, {"test_rows": 100, "test_accuracy": 0.91, "confusion": [[91, 9], [0, 0]], **recorded})
    return read


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def per_class(labels: int) -> dict[str, Any]:
    return {f"label {i}": {"precision": 1.0, "recall": 1.0, "f1": 1 - i / labels, "rows": 9} for i in range(labels)}


def test_skipped_steps_are_gaps_and_not_zeros() -> None:
    loss = traces(training_figure(history(40, 1, skipped=(7,))))["loss"]
    assert 7 not in loss.x
    assert set(loss.y) == {2.0}


def test_the_smoothed_loss_ends_at_the_last_step() -> None:
    smooth = next(trace for name, trace in traces(training_figure(history(40, 1))).items() if "mean of" in name)
    assert smooth.x[-1] == 40
    assert np.allclose(smooth.y, 2.0)


def test_validation_accuracy_is_a_curve_only_of_several_epochs() -> None:
    assert "validation accuracy" not in traces(training_figure(history(40, 1)))
    assert list(traces(training_figure(history(40, 2)))["validation accuracy"].y) == [50.0, 50.0]


def test_a_long_run_does_not_make_a_large_page() -> None:
    loss = traces(training_figure(history(50_000, 1)))["loss"]
    assert len(loss.x) == 1500
    assert loss.x[-1] > 49_900


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_one_or_two_steps_is_drawn(steps: int) -> None:
    assert len(traces(training_figure(history(steps, 1)))["loss"].x) == steps


def test_a_small_confusion_matrix_writes_its_counts_and_no_zeros() -> None:
    figure = confusion_figure([[5, 0], [1, 4]], ["no", "yes"])
    assert sorted(annotation.text for annotation in figure.layout.annotations) == ["1", "4", "5"]


def test_names_along_a_large_confusion_matrix_do_not_lie_over_each_other() -> None:
    names = [f"a long name of label number {i}" for i in range(300)]
    figure = confusion_figure(np.eye(300, dtype=int).tolist(), names)
    shown = figure.layout.yaxis.ticktext
    assert len(shown) <= 60
    assert max(map(len, shown)) <= 24
    assert not figure.layout.annotations


def test_among_many_classes_the_worst_are_shown_first() -> None:
    shown = worst_classes(metrics(per_class=per_class(50)))
    assert list(shown)[:2] == ["label 49", "label 48"]
    assert len(shown) == 10


def test_few_classes_keep_their_order() -> None:
    assert list(worst_classes(metrics(per_class=per_class(3)))) == ["label 0", "label 1", "label 2"]


def test_the_most_frequent_mix_ups_of_many_labels_are_listed() -> None:
    matrix = np.diag([8] * 20)
    matrix[3, 4] = 2
    assert mix_ups(matrix.tolist(), [f"l{i}" for i in range(20)]) == [("l3", "l4", 2, 0.2)]


def test_published_accuracies_stand_below_the_models_own() -> None:
    published = {"source": "a paper", "trained_on": "all", "test_accuracy": {"BERT": 0.941}}
    own, other = accuracy_table(metrics(train_rows=4000, published=published))
    assert [own, other] == [
        ("this model", "91.00\u00a0%", "4,000 rows"),
        ("BERT", "94.1\u00a0%", "all"),
    ]


def test_without_published_accuracies_there_is_no_table() -> None:
    assert accuracy_table(metrics()) == []


def test_facts_that_were_not_recorded_are_left_out() -> None:
    recorded = metrics(world_size=2, peak_memory_bytes=2**30, validation_accuracy=None)
    assert [value for _, value in training_facts(recorded, history(5, 1, skipped=(2,)))] == ["2", "1", "1.00 GiB"]


def test_ranks_that_an_elastic_run_lost_are_told_with_the_step() -> None:
    recorded = metrics(world_size=1, world_sizes=[{"from_step": 1, "ranks": 2}, {"from_step": 31, "ranks": 1}])
    assert dict(training_facts(recorded, history(40, 1)))["ranks"] == "2, 1 from step 31"


def test_a_taggers_flipped_word_is_shown_in_its_sentence() -> None:
    ids = Ragged.of([[2, 5, 6, 3], [2, 7, 8, 9, 3]])
    labels = np.array([NOT_ASKED, 0, 1, NOT_ASKED, NOT_ASKED, 0, NOT_ASKED, 1, NOT_ASKED])
    golden = Golden([["to", "Rome"], ["Parisian", "cafés"]], ids, labels, np.zeros((9, 2), np.float32))
    text_of = text_reader(golden)
    assert text_of(1) == ["to", "Rome", ""]
    assert text_of(3) == ["Parisian", "cafés", ""]
