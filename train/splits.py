"""Held-out rows: a label is on both sides where possible, and no row is on both."""

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
        for label in _classes(labels[row]):
            rows_of[label].append(row)
    left = {label: len(rows) for label, rows in rows_of.items()}
    is_held_out: dict[int, bool] = {}
    for label in sorted(rows_of, key=lambda label: (len(rows_of[label]), label)):
        rows = rows_of[label]
        wanted = max(1, round(share * len(rows))) - sum(is_held_out.get(row, False) for row in rows)
        for row in (row for row in rows if row not in is_held_out):
            is_held_out[row] = wanted > 0 and all(left[other] > 1 for other in _classes(labels[row]))
            if is_held_out[row]:
                wanted -= 1
                for other in _classes(labels[row]):
                    left[other] -= 1
    kept = [row for row in range(len(labels)) if not is_held_out.get(row)]
    return kept, sorted(row for row, held_out in is_held_out.items() if held_out)


def _classes(label: Any) -> set[int]:
    return set(label) if isinstance(label, list) else {label}
