"""Token ids of many texts of unequal length, and the padded batches a model is fed.

Framework-free: train, export and serving all batch through this file, so that a row is padded the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Feed = dict[str, Ids]  # input name → [batch, sequence] int32
INPUTS = ("input_word_ids", "input_mask", "input_type_ids")  # the signature of a TF Hub BERT encoder


@dataclass(frozen=True)
class Ragged:
    """`rows[i]` is the int32 ids of text i, [CLS] and [SEP] included. Segment ids are 0: single texts."""

    ids: Ids  # [tokens] of all rows, one after the other
    offsets: NDArray[np.int64]  # [rows + 1]; row i is ids[offsets[i]:offsets[i + 1]]

    @staticmethod
    def of(rows: Iterable[list[int] | Ids]) -> Ragged:
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([len(row) for row in arrays], dtype=np.int64)
        ids = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
        return Ragged(ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int | np.int64) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per row, [rows]."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        return Ragged.of(self[row] for row in rows)


def pad(rows: list[Ids], length: int | None = None) -> Feed:
    """The feed for `rows`, padded with zeros to `length` tokens (default: the longest row). Arrays [batch, sequence]."""
    width = length or max(len(row) for row in rows)
    ids = np.zeros((len(rows), width), np.int32)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": np.zeros_like(ids)}


def length_sorted_batches(lengths: NDArray[np.int64], batch: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers in batches of at most `batch`, neighbours in length together: least padding, longest rows first."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
