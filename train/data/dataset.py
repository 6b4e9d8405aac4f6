"""The data set of a job: its examples as a file that all ranks read, then as ids and labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.labelling import encode
from slipway.contract.ragged import Feed, Numbers, Ragged
from slipway.contract.tokenizer import Tokenizer
from train.data.corpus import Corpus, Example
from train.job import CORPUS

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The encoded examples of one split."""

    rows: Ragged
    labels: Numbers  # [rows], NOT_ASKED: a test row without a label; tagger: [tokens], with NOT_ASKED
    tagger: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def text_of(self) -> Numbers | None:
        """Of a tagger: number of the row that each token belongs to, [tokens]."""
        return np.repeat(np.arange(len(self.rows)), self.rows.lengths) if self.tagger else None

    def micro_batch(self, rows: Numbers, length: int) -> tuple[Feed, Numbers]:
        """Return the feed of these rows padded to `length` tokens, and their labels.

        Labels are [batch]; tagger: [batch, length] with NOT_ASKED.
        """
        feed = self.rows.take(rows).padded(length)
        if not self.tagger:
            return feed, self.labels[rows]
        labels = np.full((len(rows), length), NOT_ASKED, np.int64)
        labels[feed["input_mask"] == 1] = self.labels[self.rows.tokens_of(rows)]
        return feed, labels

    def labelled(self, rows: Numbers) -> int:
        """Count the answers that have a label: rows; tagger: words."""
        return int((self.labels[self.rows.tokens_of(rows)] != NOT_ASKED).sum()) if self.tagger else len(rows)


def write(corpus: Corpus, directory: Path) -> None:
    """Write every example, one a line, so that ranks read exactly the rows that were checked.

    Texts without labels follow the test rows, with the label NOT_ASKED.
    """
    extra = [Example(text, NOT_ASKED) for text in (corpus.unlabelled.texts if corpus.unlabelled else ())]
    with (directory / CORPUS).open("w", encoding="utf-8") as file:
        for split in SPLITS:
            for text, label in [*getattr(corpus, split), *(extra if split == "test" else ())]:
                file.write(json.dumps({"split": split, "text": text, "label": label}, ensure_ascii=False) + "\n")


def read(directory: Path, task: str, tokenize: Tokenizer) -> dict[str, Split]:
    """Read the file of `write`; return the encoded splits by name."""
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    with (directory / CORPUS).open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            examples[row["split"]].append(Example(row["text"], row["label"]))
    return {split: Split(*encode(rows, task, tokenize), tagger=task == "tagging") for split, rows in examples.items()}
