"""Which rows are held out, and which are a sample of many: by label, the same for the same seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any


def split_off(labels: Sequence[Any], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return row numbers (kept, held out), both ascending, the same for the same seed.

    `labels` has an int a row; tagger: a list a row. About `share` of each label is held out, at
    least one row and never the last one; a share of 0 holds out nothing. A sentence is placed by
    its rarest tag, so the share is rough for tags that only occur together with rarer ones.
    """
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in random.Random(seed).sample(range(len(labels)), len(labels) if share > 0 else 0):
        for label in labels_of(labels[row]):
            rows_of[label].append(row)
    left = {label: len(rows) for label, rows in rows_of.items()}
    is_held_out: dict[int, bool] = {}
    for label in sorted(rows_of, key=lambda label: (len(rows_of[label]), label)):
        rows = rows_of[label]
        wanted = max(1, round(share * len(rows))) - sum(is_held_out.get(row, False) for row in rows)
        for row in (row for row in rows if row not in is_held_out):
            is_held_out[row] = wanted > 0 and all(left[other] > 1 for other in labels_of(labels[row]))
            if is_held_out[row]:
                wanted -= 1
                for other in labels_of(labels[row]):
                    left[other] -= 1
    kept = [row for row in range(len(labels)) if not is_held_out.get(row)]
    return kept, sorted(row for row, held_out in is_held_out.items() if held_out)


def sample(labels: Sequence[Any], count: int, seed: int) -> list[int]:
    """Return the numbers of `count` rows, ascending; all when `count` is 0 or too large.

    `labels` has an int a row, and each class has its share; tagger: a list a row, and any rows.
    """
    if count <= 0 or count >= len(labels):
        return list(range(len(labels)))
    shuffled = random.Random(seed).sample(range(len(labels)), len(labels))
    if isinstance(labels[0], list):
        return sorted(shuffled[:count])
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in shuffled:
        by_class[labels[row]].append(row)
    # The rows of each class are spread evenly over 0 to 1, so any prefix of all rows, sorted by
    # their places, holds each class in its share.
    ranked = sorted(((place + 0.5) / len(rows), row) for rows in by_class.values() for place, row in enumerate(rows))
    return sorted(row for _, row in ranked[:count])


def labels_of(label: Any) -> set[int]:
    """Return the labels of a row: an int; tagger: a list."""
    return set(label) if isinstance(label, list) else {label}
