"""Token ids of many texts of unequal length, and the padded batches a model is fed.

Framework-free: train, export and serving all batch through this file, so that a row is padded the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Row = Sequence[int] | NDArray[Any]
Numbers = NDArray[np.int64]
Logits = NDArray[np.float32]
Feed = dict[str, Ids]  # input name → [batch, sequence] int32
INPUTS = ("input_word_ids", "input_mask", "input_type_ids")  # the signature of a TF Hub BERT encoder


@dataclass(frozen=True)
class Ragged:
    """`rows[i]` is the int32 ids of text i, [CLS] and [SEP] included."""

    ids: Ids  # [tokens] of all rows, one after the other
    types: Ids  # [tokens] segment ids: 1 in the second text of a pair, else 0
    offsets: Numbers  # [rows + 1]; row i is ids[offsets[i]:offsets[i + 1]]

    @staticmethod
    def of(rows: Iterable[Row], types: Iterable[Row] | None = None) -> Ragged:
        """`types` as long as `rows`; single texts need none."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([len(row) for row in arrays], dtype=np.int64)
        ids = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
        segments = np.zeros_like(ids) if types is None else np.concatenate([np.asarray(row, np.int32) for row in types])
        return Ragged(ids, segments, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int | np.int64) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Numbers:
        """Tokens per row, [rows]."""
        return np.diff(self.offsets)

    def tokens_of(self, rows: Numbers) -> Numbers:
        """Where in `ids` the tokens of these rows are, row after row."""
        lengths = self.lengths[rows]
        where: Numbers = np.arange(lengths.sum()) + np.repeat(self.offsets[rows] - np.cumsum(lengths) + lengths, lengths)
        return where

    def take(self, rows: Numbers) -> Ragged:
        where = self.tokens_of(rows)
        lengths = self.lengths[rows]
        return Ragged(self.ids[where], self.types[where], np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def padded(self, length: int | None = None) -> Feed:
        """The feed for all rows, padded with zeros to `length` tokens (default: the longest row). Arrays [batch, sequence]."""
        lengths = self.lengths
        filled = np.arange(length or lengths.max()) < lengths[:, None]
        feed = {name: np.zeros(filled.shape, np.int32) for name in INPUTS}
        for name, values in zip(INPUTS, (self.ids, 1, self.types), strict=True):
            feed[name][filled] = values
        return feed


def length_sorted_batches(lengths: Numbers, batch: int) -> Iterator[Numbers]:
    """Row numbers in batches of at most `batch`, neighbours in length together: least padding, longest rows first."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def unpadded(logits: Logits, feed: Feed) -> Logits:
    """A tagger's logits [batch, sequence, labels] as [tokens, labels], row after row; a classifier's as they are."""
    return logits[feed["input_mask"] == 1] if logits.ndim == 3 else logits


def infer_rows(infer: Callable[[Feed], Logits], rows: Ragged, batch: int, done: Callable[[int], None] = lambda _: None) -> Logits:
    """Logits [rows, labels] of all rows, a tagger's [tokens, labels], run in length-sorted batches.

    `done` is told the number of rows after every batch.
    """
    parts, order = [], []
    for numbers in length_sorted_batches(rows.lengths, batch):
        feed = rows.take(numbers).padded()
        logits = infer(feed)
        order.append(rows.tokens_of(numbers) if logits.ndim == 3 else numbers)
        parts.append(unpadded(logits, feed))
        done(len(numbers))
    return np.concatenate(parts)[np.argsort(np.concatenate(order))]
