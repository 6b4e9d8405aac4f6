"""Which rows are held out, which are a sample of many, and which parts of texts are further ones:
by label, the same for the same seed.

Rows of equal texts stay together. Texts are equal here that differ only by case and white space.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from slipway.contract.formats.rows import is_dropped
from slipway.contract.readers import Row

_SHORT = 8  # characters without a space: a word; longer ones are of a script without spaces
_MOST_CROSSINGS = 20  # of a text with others: enough for a few dozen texts, and an end for thousands of equal words


class Leak(NamedTuple):
    """A row that a model is judged by, and whose text it is trained or chosen with."""

    row: Row
    of: str  # the other split
    other: Row


def key(text: Any) -> Hashable:
    """Return the same value for equal texts: a str, a pair, or the words of a sentence."""
    return " ".join(text.casefold().split()) if isinstance(text, str) else tuple(part.casefold() for part in text)


def leaked_rows(read: Mapping[str, Sequence[Row]]) -> dict[str, list[Leak]]:
    """Return the test rows that training or validation has, and the validation rows of training."""
    first = {split: {key(row.text): row for row in reversed(read.get(split, ()))} for split in ("train", "validation")}
    found = {}
    for split, others in (("test", ("train", "validation")), ("validation", ("train",))):
        leaks = [_leak(row, {other: first[other].get(key(row.text)) for other in others}) for row in read.get(split, ())]
        if any(leaks):
            found[split] = [leak for leak in leaks if leak]
    return found


def _leak(row: Row, twins: Mapping[str, Row | None]) -> Leak | None:
    """Return the row as a leak of the first split that has a row of its text, or None."""
    return next((Leak(row, split, twin) for split, twin in twins.items() if twin), None)


def without_leaks(read: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the rows without those of training and validation that another split is judged by."""
    seen: set[Hashable] = set()
    kept = {}
    for split in ("test", "validation", "train"):
        if split in read:
            kept[split] = [row for row in read[split] if key(row.text) not in seen]
            seen |= {key(row.text) for row in read[split]}
    return {split: kept[split] for split in read}


def split_off_texts(rows: Sequence[tuple[Any, Any]], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split off rows (text, label) as `split_off` does, equal texts all to one side."""
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for number, (text, _) in enumerate(rows):
        rows_of[key(text)].append(number)
    groups = list(rows_of.values())
    sides = split_off([_label_of([rows[number][1] for number in group]) for group in groups], share, seed)
    kept, held_out = (sorted(row for group in side for row in groups[group]) for side in sides)
    return kept, held_out


def _label_of(labels: Sequence[Any]) -> Any:
    """Return the label that all rows of a text have, or a list of all of theirs."""
    return labels[0] if len(labels) == 1 or all(label == labels[0] for label in labels) else sorted(_union(labels))


def _union(labels: Iterable[Any]) -> set[int]:
    return {number for label in labels for number in labels_of(label)}


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


def parts_of_texts(texts: Sequence[Any], count: int, seed: int, others: Iterable[Any] = ()) -> list[Any]:
    """Return up to `count` different new texts of the words of `texts`, a single text or pair each,
    none of which is one of them or of `others`.

    They are halves: a text is cut between two words near its middle, or at it where it has no
    space; of a pair both texts are. Where halves do not reach, first halves of texts stand before
    second ones of others, and of pairs first texts beside second ones of others.
    """
    different = list({key(text): text for text in texts}.values())
    shuffled = random.Random(seed).sample(different, len(different))
    known = {key(text) for text in (*different, *others)}
    parts: dict[Hashable, Any] = {}
    for part in itertools.chain(_cut(shuffled), _crossed(shuffled)):
        if len(parts) == count:
            break
        if key(part) not in known:
            parts.setdefault(key(part), part)
    return list(parts.values())


def _cut(texts: Sequence[Any]) -> Iterator[Any]:
    for text in texts:
        yield from _halves(text) if isinstance(text, str) else zip(*map(_halves, text), strict=False)


def _crossed(texts: Sequence[Any]) -> Iterator[Any]:
    for distance in range(1, min(len(texts), _MOST_CROSSINGS + 1)):
        for number, text in enumerate(texts):
            other = texts[(number + distance) % len(texts)]
            if isinstance(text, str):
                space = "" if len(text.split()) == 1 and len(text) >= _SHORT else " "
                yield space.join([(_halves(text) or [text])[0], (_halves(other) or [other])[-1]])
            else:
                yield text[0], other[1]


def _halves(text: str) -> list[str]:
    """Return both halves of a text; none of a word, and where one would have nothing to read."""
    middle = len(text) / 2
    spaces = [place for place, character in enumerate(text) if character.isspace()]
    if not spaces and len(text) < _SHORT:
        return []
    cut = min(spaces, key=lambda place: abs(place - middle)) if spaces else round(middle)
    halves = [text[:cut].strip(), text[cut:].strip()]
    return [] if any(all(map(is_dropped, half)) for half in halves) else halves


def labels_of(label: Any) -> set[int]:
    """Return the labels of a row: an int; tagger: a list."""
    return set(label) if isinstance(label, list) else {label}
