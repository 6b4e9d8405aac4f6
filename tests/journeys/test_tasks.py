"""Pairs and sentences of tagged words, from a person's file to a bundle."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from slipway.contract import bundle
from tests.support.command import slipway_output

ANIMATE, OTHER = ["researchers", "refugees", "coach", "striker", "rebel"], ["profit", "planet", "cup", "border", "chip"]


def write_pairs(path: Path) -> None:
    """What the second text is of; the first tells nothing."""
    source = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(400):
            first, second = source.choice([ANIMATE, OTHER]), source.choice([ANIMATE, OTHER])
            texts = [" ".join(source.choices(words, k=source.randint(1, 4))) for words in (first, second)]
            file.write(json.dumps({"text": texts, "label": "thing" if second is OTHER else "living"}) + "\n")


def write_tags(path: Path) -> None:
    """A tag for each list; the words outside of the vocabulary are cut into pieces."""
    source = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(400):
            for word in source.choices([*ANIMATE, *OTHER, "zebra"], k=source.randint(2, 9)):
                file.write(f"{word} {'O' if word in OTHER else 'LIVING'}\n")
            file.write("\n")


@pytest.fixture(scope="module", params=[("text_pair", "rows.jsonl", write_pairs), ("tagging", "rows.conll", write_tags)])
def trained(
    request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, bundle.Bundle]:
    task, name, write = request.param
    directory = tmp_path_factory.mktemp(task)
    write(directory / name)
    flags = ["--corpus", directory / name, "--encoder", tiny_encoder, "--max-seq-len", 32, "--learning-rate", 5e-3, "--epochs", 8]
    slipway_output("train", directory / "run", *flags, "--processes", 1, "--golden-rows", 20)
    return task, bundle.load(directory / "run/bundle")


def test_the_task_is_told_by_the_data(trained: tuple[str, bundle.Bundle]) -> None:
    task, made = trained
    assert made.task == task


def test_it_is_learned(trained: tuple[str, bundle.Bundle]) -> None:
    _, made = trained
    assert made.facts["metrics"]["test_accuracy"] > 0.9


def test_the_golden_rows_have_a_label_and_logits_for_every_answer(trained: tuple[str, bundle.Bundle]) -> None:
    task, made = trained
    golden = bundle.load_golden(made)
    answers = len(golden.ids.ids) if task == "tagging" else 20
    assert len(golden.texts) == len(golden.ids) == 20
    assert golden.logits.shape == (answers, 2)
    assert golden.labels.shape == (answers,)


def test_the_golden_logits_answer_their_labels(trained: tuple[str, bundle.Bundle]) -> None:
    _, made = trained
    golden = bundle.load_golden(made)
    right = (golden.logits.argmax(axis=1) == golden.labels)[golden.asked]
    assert np.mean(right) == pytest.approx(made.facts["metrics"]["test_accuracy"], abs=0.25)


def test_a_pairs_second_text_and_a_taggers_words_are_told_apart(trained: tuple[str, bundle.Bundle]) -> None:
    task, made = trained
    golden = bundle.load_golden(made)
    if task == "text_pair":
        assert set(golden.ids.types) == {0, 1}
    else:
        words = [len(text) for text in golden.texts]
        assert golden.asked.sum() == sum(words)
        assert len(golden.ids.ids) > sum(words) + 2 * len(words)  # zebra is more than one piece
