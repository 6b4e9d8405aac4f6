"""A version that answers worse than the one it is to replace is refused, and no other."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.registry import regression
from serving.registry.registry import Registry
from serving.registry.regression import Accepted, Comparison, GoldenSet
from slipway.contract.bundle import NOT_ASKED, Bundle, Golden
from slipway.contract.ragged import Ragged
from slipway.errors import PublishingError

REGISTRY = Registry(Path("model_repository"))
NOTHING = Accepted(0.0, 0.2, "")
PROMOTE = ["promote", "--version", 2]


def compared(rows: dict[tuple[str, str, str], int]) -> Comparison:
    """(true, before, after) → number of rows."""
    columns = [[[label] for labels, count in rows.items() for label in [labels[place]] * count] for place in range(3)]
    return regression.compare(1, *columns)


def refusal(accepted: Accepted, *comparisons: Comparison) -> PublishingError:
    with pytest.raises(PublishingError) as raised:
        regression.refuse_worse(comparisons, accepted, 1, REGISTRY, PROMOTE)
    return raised.value


WORSE = {("a", "a", "a"): 880, ("a", "a", "b"): 100, ("a", "b", "a"): 20}
BETTER = {("a", "a", "a"): 880, ("a", "a", "b"): 20, ("a", "b", "a"): 100}
NO_DIFFERENCE = {("a", "a", "a"): 880, ("a", "a", "b"): 62, ("a", "b", "a"): 58}


def test_lost_and_gained_answers_are_counted_by_name() -> None:
    change = compared(WORSE)
    assert (change.answers, change.changed, change.total.lost, change.total.gained) == (1000, 120, 100, 20)


def test_a_version_that_loses_answers_for_certain_is_refused() -> None:
    error = refusal(NOTHING, compared(WORSE))
    assert "worse than version 1" in error.summary
    assert "100 right answers lost and 20 gained" in error.found


@pytest.mark.parametrize("rows", [BETTER, NO_DIFFERENCE])
def test_a_version_that_is_better_or_no_worse_than_chance_is_not_refused(rows: dict[Any, int]) -> None:
    regression.refuse_worse([compared(rows)], NOTHING, 1, REGISTRY, PROMOTE)


def test_a_loss_on_either_set_of_rows_is_enough() -> None:
    assert "worse" in refusal(NOTHING, compared(BETTER), compared(WORSE)).summary


def test_a_loss_in_one_class_does_not_hide_behind_gains_in_another() -> None:
    hidden = {("a", "a", "a"): 900, ("a", "b", "a"): 60, ("b", "b", "b"): 30, ("b", "b", "a"): 30}
    error = refusal(NOTHING, compared(hidden))
    assert "60 rows of the class b" in error.found


def test_many_classes_do_not_refuse_by_chance() -> None:
    rows = {(f"{name}", f"{name}", f"{name}"): 20 for name in range(40)}
    unlucky = {("0", "0", "1"): 5}  # 3 % by itself, and 40 classes are looked at
    regression.refuse_worse([compared({**rows, **unlucky, ("1", "0", "1"): 5})], NOTHING, 1, REGISTRY, PROMOTE)


def test_an_equal_version_is_refused_in_at_most_5_percent_of_promotions() -> None:
    """Errors of both are independent, on two sets of 1,000 rows in four classes."""
    random, tries, refused = np.random.default_rng(0), 500, 0
    for _ in range(tries):
        comparisons = []
        for _ in range(2):
            wrong = random.random((2, 1000)) < 0.1
            truth = [[name] for name in np.array(list("abcd"))[random.integers(0, 4, 1000)]]
            old, new = ([["x"] if error else label for error, label in zip(errors, truth, strict=True)] for errors in wrong)
            comparisons.append(regression.compare(1, truth, old, new))
        refused += max(comparison.worst(sets=2)[0] for comparison in comparisons) > 0
    assert refused / tries <= 0.05


def test_a_version_that_falls_from_88_to_72_percent_is_refused() -> None:
    rows = {("a", "a", "a"): 690, ("a", "a", "b"): 188, ("a", "b", "a"): 29, ("a", "b", "b"): 93}
    assert "answers worse" in refusal(NOTHING, compared(rows), compared(rows)).summary


def test_changed_answers_are_limited_even_where_none_is_known_to_be_wrong() -> None:
    error = refusal(NOTHING, compared({("", "a", "a"): 700, ("", "a", "b"): 300}))
    assert "other answers" in error.summary
    assert "300 of 1000" in error.found


def test_rows_without_a_label_are_neither_lost_nor_gained() -> None:
    change = compared({("", "a", "b"): 10, ("a", "a", "a"): 90})
    assert (change.answers, change.total.rows, change.total.lost) == (100, 90, 0)


@pytest.mark.parametrize("rows", [WORSE, {("", "a", "a"): 700, ("", "a", "b"): 300}])
def test_the_fix_is_the_command_that_takes_it_all_the_same(rows: dict[Any, int]) -> None:
    words = shlex.split(refusal(NOTHING, compared(rows)).fix.partition("all the same: ")[2])
    assert words[1:4] == ["promote", "--version", "2"]
    options = dict(zip(words[4::2], words[5::2], strict=True))
    accepted = Accepted(float(options.get("--accept-loss", 0)), float(options.get("--accept-changes", 0.2)), options["--reason"])
    regression.refuse_worse([compared(rows)], accepted, 1, REGISTRY, PROMOTE)


def golden_set(labels: list[int], lengths: list[int]) -> GoldenSet:
    ids = Ragged.of([[1] * length for length in lengths])
    golden = Golden([""] * len(lengths), ids, np.array(labels, np.int64), np.zeros((len(labels), 2), np.float32))
    return GoldenSet(2, Bundle(Path(), "", {}), golden)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "labels", ["a", "b"])


def test_a_rare_class_that_is_lost_does_not_hide_from_the_first_rows() -> None:
    labels = np.random.default_rng(1).permutation([2] * 20 + [1] * 200 + [0] * 7380)
    rows = golden_set(labels.tolist(), [1] * len(labels))
    first, others = regression.parts(rows)
    counts = np.bincount(first.golden.labels)
    assert (len(first.golden.ids), len(others.golden.ids)) == (1900, 5700)
    assert counts[2] == 20
    assert counts[1] >= 30
    names = [[str(label)] for label in first.golden.labels]
    gained = [["x"] if row < 100 else name for row, name in enumerate(names)]
    lost = [["0"] if name == ["2"] else name for name in names]
    assert not regression.is_clear(regression.compare(1, names, gained, lost))
    assert regression.is_clear(regression.compare(1, names, gained, names))


def test_the_first_rows_of_a_tagger_have_every_label() -> None:
    sentences = [[NOT_ASKED, 0, 1 if number % 400 == 0 else 0] for number in range(4000)]
    golden = golden_set([label for sentence in sentences for label in sentence], [3] * 4000).golden
    first = regression.first_rows(golden)
    assert len(first) == 1000
    assert {*range(0, 4000, 400)} <= {*first.tolist()}


@pytest.mark.usefixtures("named")
def test_a_text_has_its_own_label_or_none() -> None:
    assert regression.true_labels(golden_set([1, NOT_ASKED], [3, 4]), [["a"], ["a"]]) == [["b"], [""]]


@pytest.mark.usefixtures("named")
def test_a_taggers_labels_are_those_of_the_words_that_were_read() -> None:
    """Of the first sentence the second word has no pieces, and the last was cut off."""
    rows = golden_set([NOT_ASKED, 0, 1, NOT_ASKED, NOT_ASKED, 1, NOT_ASKED], [4, 3])
    assert regression.true_labels(rows, [["b", "", "b", ""], ["a"]]) == [["a", "", "b", ""], ["b"]]


@pytest.mark.usefixtures("named")
def test_a_tagger_that_no_longer_answers_its_own_words_is_refused() -> None:
    with pytest.raises(PublishingError, match="version 2 does not answer its own golden rows"):
        regression.true_labels(golden_set([NOT_ASKED, 0, 1, NOT_ASKED], [4]), [["a", ""]])
