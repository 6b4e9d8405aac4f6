"""A small generated corpus in AG News' form, for machines without a real one.

Its sentences are built from word lists, one list a class, so an accuracy on them means nothing.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

from train import manifest

MARK = "GENERATED"  # a file of this name tells a generated corpus from a real one
_ROWS = {"train.csv": 4000, "test.csv": 2400}
_LISTS: dict[str, tuple[list[str], list[str], list[str]]] = {  # label: subject, verb, object
    "World": (
        ["The foreign minister", "A border patrol", "The peace mission", "The parliament", "An election observer"],
        ["met", "accused", "agreed with", "warned", "received", "voted against"],
        ["rebel leaders", "the embassy", "a ceasefire", "the neighbouring government", "refugees at the border"],
    ),
    "Sports": (
        ["The home team", "A young striker", "The defending champion", "The coach", "The relay squad"],
        ["won", "lost", "equalised in", "trained hard for", "was injured before", "broke the record in"],
        ["the cup final", "the second half", "the marathon", "an overtime thriller", "the opening match"],
    ),
    "Business": (
        ["The retailer", "A steel maker", "The central bank", "The airline", "An insurance group"],
        ["reported", "cut", "raised", "missed", "announced", "defended"],
        ["quarterly profit", "its dividend", "interest rates", "thousands of jobs", "the merger price"],
    ),
    "Sci/Tech": (
        ["Researchers", "A chip designer", "The space probe", "A software firm", "Astronomers"],
        ["released", "discovered", "measured", "patched", "launched", "simulated"],
        ["a faster processor", "a security hole", "a distant moon", "an open source browser", "a new particle"],
    ),
}
_CLOSINGS = ["on Monday", "after a long week", "sources said", "for the first time this year", "despite earlier doubts"]


def write(target: Path, seed: int = 1) -> Path:
    """Write the corpus and its mark into `target`, the same for the same seed; return `target`."""
    source = random.Random(seed)
    with manifest.atomic_directory(target) as building:
        for name, rows in _ROWS.items():
            with (building / name).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, quoting=csv.QUOTE_ALL).writerows(_row(source, row) for row in range(rows))
        (building / "classes.txt").write_text("\n".join(_LISTS) + "\n", "utf-8")
        (building / MARK).write_text("Generated sentences, not news: see train/generated_corpus.py\n", "utf-8")
    return target


def _row(source: random.Random, row: int) -> tuple[str, str, str]:
    """Return a row; one in twenty borrows a sentence, so that accuracy is not exactly 1."""
    names = list(_LISTS)
    label = row % len(names)
    sentences = [_sentence(source, names[label]) for _ in range(source.randint(1, 5))]
    if source.random() < 0.05:
        sentences.append(_sentence(source, source.choice(names)))
    return str(label + 1), sentences[0], " ".join(sentences[1:])


def _sentence(source: random.Random, label: str) -> str:
    subject, verb, direct_object = (source.choice(words) for words in _LISTS[label])
    return f"{subject} {verb} {direct_object} {source.choice(_CLOSINGS)}."
