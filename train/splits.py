"""Held-out rows: every label on both sides where it can be, no row on both, the same for the same seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any


def split_off(labels: Sequence[Any], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers (kept, held out), both ascending; of each label about `share` is held out, at least one row and never the last.

    `labels` has an int a row, or of a tagger's rows a list of them. A sentence is placed by its rarest tag, so of tags that only
    occur together with rarer ones the share is rough; but no tag leaves the kept rows. A share of 0 holds out nothing.
    """
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in random.Random(seed).sample(range(len(labels)), len(labels) if share > 0 else 0):
        for label in _classes(labels[row]):
            rows_of[label].append(row)
    left = {label: len(rows) for label, rows in rows_of.items()}
    placed: dict[int, bool] = {}  # row: whether it is held out
    for label in sorted(rows_of, key=lambda label: (len(rows_of[label]), label)):
        rows = rows_of[label]
        wanted = max(1, round(share * len(rows))) - sum(placed.get(row, False) for row in rows)
        for row in rows:
            if row not in placed:
                placed[row] = wanted > 0 and all(left[other] > 1 for other in _classes(labels[row]))
                if placed[row]:
                    wanted -= 1
                    for other in _classes(labels[row]):
                        left[other] -= 1
    held_out = {row for row, held in placed.items() if held}
    return [row for row in range(len(labels)) if row not in held_out], sorted(held_out)


def _classes(label: Any) -> set[int]:
    return set(label) if isinstance(label, list) else {label}
