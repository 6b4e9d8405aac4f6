"""The examples of a job as a model is fed with them: word pieces and labels, padded as micro-batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.bundle import NOT_ASKED
from train.corpus import Corpus, Example
from train.job import CORPUS
from train.labelling import encode
from train.ragged import Feed, Numbers, Ragged
from train.tokenizer import Tokenizer

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    rows: Ragged
    labels: Numbers  # [rows]; of a tagger [tokens], with NOT_ASKED
    tagger: bool

    def __len__(self) -> int:
        return len(self.rows)

    def micro_batch(self, rows: Numbers, length: int) -> tuple[Feed, NDArray[np.int64]]:
        """Feed of these rows padded to `length` tokens, and labels [batch], of a tagger [batch, length] with NOT_ASKED."""
        feed = self.rows.take(rows).padded(length)
        if not self.tagger:
            return feed, self.labels[rows]
        labels = np.full((len(rows), length), NOT_ASKED, np.int64)
        labels[feed["input_mask"] == 1] = self.labels[self.rows.tokens_of(rows)]
        return feed, labels

    def asked(self, rows: Numbers) -> int:
        """Answers that have a label: rows, of a tagger words."""
        return int((self.labels[self.rows.tokens_of(rows)] != NOT_ASKED).sum()) if self.tagger else len(rows)


def write(corpus: Corpus, directory: Path) -> None:
    """Every example, one a line, so that all ranks read what was checked and sampled, and not the corpus again."""
    with (directory / CORPUS).open("w", encoding="utf-8") as file:
        for split in SPLITS:
            for text, label in getattr(corpus, split):
                file.write(json.dumps({"split": split, "text": text, "label": label}, ensure_ascii=False) + "\n")


def read(directory: Path, task: str, tokenize: Tokenizer) -> dict[str, Split]:
    """The splits by name, encoded."""
    examples: dict[str, list[tuple[Any, Any]]] = {split: [] for split in SPLITS}
    with (directory / CORPUS).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            examples[row["split"]].append(Example(row["text"], row["label"]))
    encoded = {split: encode(rows, task, tokenize) for split, rows in examples.items()}
    return {split: Split(one.rows, one.labels, task == "tagging") for split, one in encoded.items()}
