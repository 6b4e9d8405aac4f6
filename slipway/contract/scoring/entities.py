"""Entities that tags of words spell, and their precision, recall and F1, as CoNLL counts them.

A tag is O, or a prefix and a kind: B-LOC and I-LOC; in other schemes also E or L (the last word),
S or U (the only one), M (inside). An entity is right if its kind, its first and its last word are.
These are conlleval's rules, and seqeval's without `strict`: I also begins an entity where none of
its kind goes on, as IOB1 has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from slipway.contract.ragged import Numbers

_TAG = re.compile("([BIMELSU])-(.+)")
_LAST, _ALONE = "EL", "SU"  # prefixes
Entity = tuple[int, int, int, str]  # number of the text, first word, word behind the last, kind


def are_tags(labels: Sequence[str]) -> bool:
    """Return whether these are tags of entities, rather than of words by themselves."""
    return len(labels) > 1 and all(label == "O" or _TAG.fullmatch(label) for label in labels)


def score(expected: Numbers, predicted: Numbers, labels: Sequence[str], text_of: Numbers) -> dict[str, Any]:
    """Return precision, recall and F1 over all entities, and "by_kind" for each of its kinds.

    `expected` and `predicted` [words] are numbers of `labels`; `text_of` [words] are their texts.
    """
    true, answered = (set(spans([labels[number] for number in numbers], text_of)) for numbers in (expected, predicted))
    of_true, of_answered, of_right = (Counter(entity[3] for entity in some) for some in (true, answered, true & answered))
    kinds = {
        kind: {**rates(of_right[kind], of_answered[kind], of_true[kind]), "rows": of_true[kind]}
        for kind in sorted({*of_true, *of_answered})
    }
    return {**rates(len(true & answered), len(answered), len(true)), "rows": len(true), "by_kind": kinds}


def spans(tags: Sequence[str], text_of: Sequence[int] | Numbers) -> Iterator[Entity]:
    """Yield the entities of words, in their order; none goes on in another text."""
    begun, kind, closed = 0, "", True  # of the entity that the word before belongs to
    for word, tag in enumerate([*tags, "O"]):
        match = _TAG.fullmatch(tag)
        prefix, its_kind = match.groups() if match else ("", "")
        same_text = 0 < word < len(tags) and text_of[word] == text_of[word - 1]
        goes_on = bool(kind) and same_text and not closed and its_kind == kind and prefix not in f"B{_ALONE}"
        if kind and not goes_on:
            yield int(text_of[word - 1]), begun, word, kind
        if not goes_on:
            begun = word
        kind, closed = its_kind, bool(prefix) and prefix in f"{_LAST}{_ALONE}"


def rates(right: Any, answered: Any, rows: Any) -> dict[str, float]:
    """Return precision, recall and F1 of counts, 0 where undefined."""
    shares = {"precision": (right, answered), "recall": (right, rows), "f1": (2 * right, answered + rows)}
    return {name: float(part / whole) if whole else 0.0 for name, (part, whole) in shares.items()}
