"""Entities out of tags: conlleval's rules. The scores are seqeval 1.2.2's for the same tags."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.scoring import entities, scores

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def spans(text: str) -> list[tuple[int, int, str]]:
    tags = text.split()
    return [entity[1:] for entity in entities.spans(tags, [0] * len(tags))]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-LOC I-LOC O", [(1, 3, "LOC")]),
        ("B-LOC B-LOC", [(0, 1, "LOC"), (1, 2, "LOC")]),
        ("I-LOC I-LOC O I-LOC", [(0, 2, "LOC"), (3, 4, "LOC")]),  # IOB1
        ("B-LOC I-PER", [(0, 1, "LOC"), (1, 2, "PER")]),
        ("S-LOC B-LOC I-LOC E-LOC E-LOC", [(0, 1, "LOC"), (1, 4, "LOC"), (4, 5, "LOC")]),
        ("U-LOC B-LOC M-LOC L-LOC", [(0, 1, "LOC"), (1, 4, "LOC")]),
        ("O O", []),
        ("B-LOC", [(0, 1, "LOC")]),
    ],
)
def test_tags_spell_entities(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert spans(tags) == expected


def test_an_entity_does_not_go_on_in_the_next_text() -> None:
    assert list(entities.spans(["B-LOC", "I-LOC"], [0, 1])) == [(0, 0, 1, "LOC"), (1, 1, 2, "LOC")]


def test_half_an_entity_is_wrong_and_its_kind_counts() -> None:
    expected, predicted = (np.array([LABELS.index(tag) for tag in tags.split()]) for tags in (
        "B-LOC I-LOC O B-PER I-PER O B-PER",
        "B-LOC I-LOC O B-PER O    O B-LOC",
    ))  # fmt: skip
    scored = entities.score(expected, predicted, LABELS, np.zeros(7, int))
    assert (scored["precision"], scored["recall"], scored["f1"], scored["rows"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3, 3))
    assert scored["by_kind"]["LOC"] == pytest.approx({"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "rows": 1})
    assert scored["by_kind"]["PER"] == pytest.approx({"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 2})


@pytest.mark.parametrize("labels", [["NOUN", "VERB"], ["O", "LOC"], ["O"], ["B", "I", "O"]])
def test_other_labels_are_no_tags_of_entities(labels: list[str]) -> None:
    assert not entities.are_tags(labels)


def test_a_taggers_entities_are_scored_over_the_words_that_were_asked() -> None:
    expected = np.array([NOT_ASKED, 1, NOT_ASKED, 2, 0, NOT_ASKED])  # [CLS], a piece more, [SEP]
    logits = np.eye(5, dtype=np.float32)[[0, 1, 4, 2, 0, 0]]
    found = scores.score(logits, expected, LABELS, np.zeros(6, int))["entities"]
    assert (found["f1"], found["rows"]) == (1.0, 1)


def test_a_classifier_whose_labels_look_like_tags_has_no_entities() -> None:
    assert "entities" not in scores.score(np.eye(2, dtype=np.float32), np.array([0, 1]), ["S-Bahn", "U-Bahn"], None)
