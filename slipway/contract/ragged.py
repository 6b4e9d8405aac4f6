"""Token ids of many texts of unequal length, and the padded batches that models are fed.

Training, export and verification pad here. A served model pads in serving/backend/engine.py, which
may not import this. Framework-free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Numbers = NDArray[np.int64]
Logits = NDArray[np.float32]
_Numbers = Sequence[int] | NDArray[Any]  # of one row
Feed = dict[str, Ids]  # input name → [batch, sequence] int32
INPUTS = ("input_word_ids", "input_mask", "input_type_ids")  # the signature of a TF Hub BERT encoder


@dataclass(frozen=True)
class Ragged:
    """Ids of many texts; `rows[i]` are the int32 ids of text i, [CLS] and [SEP] included."""

    ids: Ids  # [tokens] of all rows, one after the other
    types: Ids  # [tokens] segment ids: 1 in the second text of a pair, else 0
    offsets: Numbers  # [rows + 1]; row i is ids[offsets[i]:offsets[i + 1]]

    @staticmethod
    def of(rows: Iterable[_Numbers], types: Iterable[_Numbers] | None = None) -> Ragged:
        """Join rows of ids; `types` are as long as `rows`, and single texts need none."""
        arrays = [np.asarray(row, np.int32) for row in rows]
        ids = _joined(arrays)
        segments = np.zeros_like(ids) if types is None else _joined(types)
        return Ragged(ids, segments, _offsets(np.array([len(row) for row in arrays], np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int | np.int64) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Numbers:
        """Tokens of each row, [rows]."""
        return np.diff(self.offsets)

    def tokens_of(self, rows: Numbers) -> Numbers:
        """Return the positions in `ids` of the tokens of these rows, row after row."""
        lengths = self.lengths[rows]
        positions: Numbers = np.arange(lengths.sum()) + np.repeat(self.offsets[rows] - np.cumsum(lengths) + lengths, lengths)
        return positions

    def take(self, rows: Numbers) -> Ragged:
        positions = self.tokens_of(rows)
        return Ragged(self.ids[positions], self.types[positions], _offsets(self.lengths[rows]))

    def padded(self, length: int | None = None) -> Feed:
        """Return the feed of all rows, zero-padded to `length` tokens or the longest row's."""
        lengths = self.lengths
        filled = np.arange(length or lengths.max()) < lengths[:, None]
        feed = {name: np.zeros(filled.shape, np.int32) for name in INPUTS}
        for name, values in zip(INPUTS, (self.ids, 1, self.types), strict=True):
            feed[name][filled] = values
        return feed


def _joined(rows: Iterable[_Numbers]) -> Ids:
    return np.concatenate([np.zeros(0, np.int32), *(np.asarray(row, np.int32) for row in rows)])


def _offsets(lengths: Numbers) -> Numbers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def length_sorted_batches(lengths: Numbers, batch: int) -> Iterator[Numbers]:
    """Yield row numbers in batches of at most `batch`, longest rows first, for least padding."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def random_batches(lengths: Numbers, most: int) -> list[Numbers]:
    """Return row numbers in batches of random sizes, longest rows first; the same every time.

    Every size from 1 to `most` comes up where there are rows enough for it.
    """
    random = np.random.default_rng(0)
    left = len(lengths)
    sizes = list(range(1, most + 1)) if left >= most * (most + 1) // 2 else []
    left -= sum(sizes)
    while left:
        sizes.append(min(int(random.integers(1, most + 1)), left))
        left -= sizes[-1]
    ends = np.cumsum(random.permutation(sizes))[:-1]
    return np.split(np.argsort(-lengths, kind="stable"), ends)


def unpadded(logits: Logits, feed: Feed) -> Logits:
    """Return a tagger's logits as [tokens, labels], row after row; a classifier's as they are."""
    return logits[feed["input_mask"] == 1] if logits.ndim == 3 else logits


def infer_rows(
    infer: Callable[[Feed], Logits],
    rows: Ragged,
    batches: int | Iterable[Numbers],
    done: Callable[[int], None] = lambda _: None,
) -> Logits:
    """Run all rows; return [rows, labels], tagger: [tokens, labels].

    `batches` are row numbers, or the size of length-sorted ones. `done` is called after every batch
    with its number of rows.
    """
    parts, order = [], []
    for numbers in length_sorted_batches(rows.lengths, batches) if isinstance(batches, int) else batches:
        feed = rows.take(numbers).padded()
        logits = infer(feed)
        order.append(rows.tokens_of(numbers) if logits.ndim == 3 else numbers)
        parts.append(unpadded(logits, feed))
        done(len(numbers))
    return np.concatenate(parts)[np.argsort(np.concatenate(order))]
