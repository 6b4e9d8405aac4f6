"""The card of the data on the page: what it says of leaks, labels, and rows that were left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.report.data_text import data_facts, data_warnings, ends, label_rows, leak_warning, missing_card
from serving.report.records import DataCard, PublishedAccuracies, RunRecords, UnlabelledFacts
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.records import from_json
from tests.support.serving import benchmark_records

NOTHING_LEFT_OUT = {"bad": {}, "without_label": 0, "leaked": 0}


def split(**labels: int) -> dict[str, Any]:
    return {"rows": sum(labels.values()), "labels": labels, "repeated": 0, "median_length": 30, "longest": 90}


def card(train: dict[str, Any], test: dict[str, Any], **changes: Any) -> DataCard:
    """A card of which nothing is to be said, but for the changes."""
    counted = {
        "splits": {"train": train, "validation": split(), "test": test},
        "left_out": NOTHING_LEFT_OUT,
        "leaks": {},
        "two_labels": 0,
        "of_two_labels": "",
        "without_test_rows": [],
        "unread_words": 0,
        "first_row": "'a text' → World",
    }
    read: DataCard = from_json(DataCard, counted | changes)
    return read


ALL = split(World=30, Sports=20, Business=10)


def clean(**changes: Any) -> DataCard:
    return card(ALL, ALL, **changes)


@pytest.fixture
def run() -> RunRecords:
    return benchmark_records.run()


def test_of_clean_data_there_is_no_warning(run: RunRecords) -> None:
    assert data_warnings(run, clean()) == []


def test_leaks_that_were_kept_are_a_warning(run: RunRecords) -> None:
    text = leak_warning(run, clean(leaks={"test": 2, "validation": 1}))
    assert "2 test rows and 1 validation row have a text that the model is trained or chosen with" in text
    assert "as --leaks keep asked: accuracy on them is too good" in text


def test_leaks_of_published_test_rows_are_kept_for_the_comparison(run: RunRecords) -> None:
    metrics = replace(run.bundle.metrics, published=PublishedAccuracies("a paper", "all rows", {"BERT": 0.94}))
    published = replace(run, bundle=replace(run.bundle, metrics=metrics))
    assert "compared with published ones" in leak_warning(published, clean(leaks={"test": 2}))


def test_the_policy_that_was_asked_for_is_told_though_accuracies_are_published(run: RunRecords) -> None:
    metrics = replace(run.bundle.metrics, published=PublishedAccuracies("a paper", "all rows", {"BERT": 0.94}))
    published = replace(run, bundle=replace(run.bundle, metrics=metrics))
    assert "as --leaks keep asked" in leak_warning(published, clean(leaks={"test": 2}, leak_policy="keep"))


def test_a_policy_that_changed_nothing_is_told(run: RunRecords) -> None:
    assert "No text is in two splits, and --leaks remove changed nothing." in data_facts(run, clean(leak_policy="remove"))


def test_what_was_noted_before_training_is_a_warning(run: RunRecords) -> None:
    assert data_warnings(run, clean(notes=["test.csv has no labels"])) == ["Noted before training: test.csv has no labels."]


def test_leaks_that_were_removed_are_a_fact_and_no_warning(run: RunRecords) -> None:
    removed = clean(leaks={"test": 1}, left_out=NOTHING_LEFT_OUT | {"leaked": 3})
    assert data_warnings(run, removed) == []
    assert (
        "In the files, 1 test row has a text that the model is trained or chosen with. "
        "3 rows of such texts were removed from training and validation (--leaks remove)." in data_facts(run, removed)
    )


def test_that_no_text_is_in_two_splits_is_said(run: RunRecords) -> None:
    assert "No text is in two splits." in data_facts(run, clean())


def test_texts_with_several_labels_are_counted_with_such_a_text(run: RunRecords) -> None:
    several = clean(two_labels=2, of_two_labels="'well' → World, Sports")
    assert data_warnings(run, several) == ["2 texts come with more than one label, such as 'well' → World, Sports."]
    assert "No text comes with more than one label." not in data_facts(run, several)


def test_labels_without_a_test_row_are_named_and_many_are_counted(run: RunRecords) -> None:
    (text,) = data_warnings(run, clean(without_test_rows=[f"l{number}" for number in range(13)]))
    assert "No test row has the labels l0, l1, " in text
    assert "l9 and 3 more" in text


def test_test_rows_of_one_label_are_told_to_test_nothing(run: RunRecords) -> None:
    (text,) = data_warnings(run, card(ALL, split(Sports=5), without_test_rows=["World", "Business"]))
    assert "The test rows are all of 'Sports'" in text


def test_a_label_without_a_training_row_is_named(run: RunRecords) -> None:
    assert data_warnings(run, card(split(World=3, Sports=2), ALL)) == ["No training row has the label Business."]


def test_words_that_are_not_read_are_a_warning(run: RunRecords) -> None:
    assert "1 word has no character that is read" in data_warnings(run, clean(unread_words=1))[0]


def test_labels_that_look_alike_are_a_warning() -> None:
    labels = ["World", "Sports", "Wоrld"]  # with a Cyrillic o
    alike = split(**dict.fromkeys(labels, 3))
    assert "look alike" in data_warnings(benchmark_records.run(labels=labels), card(alike, alike))[0]


def test_rows_left_out_are_counted_by_their_reason(run: RunRecords) -> None:
    left_out = {"bad": {"a text is not empty": 2, "a row has 2 columns": 1}, "without_label": 1200, "leaked": 0}
    facts = data_facts(run, clean(left_out=left_out))
    assert "3 rows left out, for breaking a rule: a text is not empty (2); a row has 2 columns (1)." in facts
    assert "1,200 rows left out, for having no label (--missing-label)." in facts


def test_golden_rows_that_are_no_test_rows_are_told(run: RunRecords) -> None:
    golden = run.golden
    golden.labels[:50] = NOT_ASKED
    further = replace(run, bundle=replace(run.bundle, unlabelled=UnlabelledFacts("more.txt")))
    assert data_facts(further, clean())[-1] == "Of the golden rows, 50 are further texts without a label: more.txt."


def test_labels_come_with_the_rows_of_every_split_and_the_largest_first(run: RunRecords) -> None:
    rows = label_rows(run, card(split(Sports=9, World=2), split(World=1)))
    assert rows == [("Sports", [9, 0, 0, 133]), ("World", [2, 0, 1, 134]), ("Business", [0, 0, 0, 133])]


def test_golden_rows_without_a_label_are_of_no_label(run: RunRecords) -> None:
    run.golden.labels[run.golden.labels == 0] = NOT_ASKED
    assert {label: counts[-1] for label, counts in label_rows(run, clean())}["World"] == 0


@pytest.mark.parametrize(("labels", "shown"), [(20, (20, 0)), (219, (8, 8))])
def test_of_many_labels_the_largest_and_the_smallest_are_shown(labels: int, shown: tuple[int, int]) -> None:
    rows = [(f"l{number}", [number]) for number in np.arange(labels)[::-1].tolist()]
    largest, smallest = ends(rows)
    assert (len(largest), len(smallest)) == shown
    assert [*largest, *smallest][-1] == rows[-1]


def test_a_run_without_a_card_says_why() -> None:
    assert "trained elsewhere" in missing_card(benchmark_records.run(history=None))
    assert "a version of Slipway that made none" in missing_card(benchmark_records.run())
