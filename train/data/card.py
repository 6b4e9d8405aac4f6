"""The card of a corpus: what a person should know of the data before hours of training.

It is printed before training, and written into train.json and bundle.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from slipway.contract.formats.rows import is_dropped
from train.data.splitting import key

_SHOWN = 20  # classes
_SHOWN_CHARACTERS = 60  # of a text
Rows = Sequence[tuple[Any, Any]]  # text and number of its label; tagger: words and numbers


@dataclass(frozen=True)
class SplitFacts:
    """What a split holds."""

    rows: int
    labels: dict[str, int]  # rows of each class; tagger: words of each tag
    repeated: int  # rows whose text came before in this split
    median_length: int  # characters; of a pair both texts together
    longest: int


@dataclass(frozen=True)
class LeftOut:
    """The rows of the files that are in no split."""

    bad: dict[str, int]  # by the rule that they break
    without_label: int  # by --missing-label
    leaked: int  # by --leaks remove


@dataclass(frozen=True)
class Card:
    splits: dict[str, SplitFacts]
    left_out: LeftOut
    leaks: dict[str, int]  # by split: rows with a text of training, test rows also of validation, as read
    two_labels: int  # texts that come with more than one label
    without_test_rows: tuple[str, ...]  # labels
    unread_words: int  # tagger: words of nothing that the tokenizer reads
    first_row: str  # of training, with its label: whether the right columns were read
    of_two_labels: str  # such a text
    leak_policy: str  # what --leaks said of texts in two splits
    notes: tuple[str, ...]  # what was assumed of files and labels, or what they lack, a sentence each

    @property
    def facts(self) -> dict[str, Any]:
        """Return the card as JSON holds it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what is printed of it."""
        shown = self._labels()[:_SHOWN]
        width = max(map(len, ["rows", *shown]))
        counts = [("rows", {split: facts.rows for split, facts in self.splits.items()})]
        counts += [(label, {split: facts.labels.get(label, 0) for split, facts in self.splits.items()}) for label in shown]
        lines = [" " * width + "".join(f"  {split:>10}" for split in self.splits)]
        lines += [f"{name:{width}}" + "".join(f"  {rows:>10,}" for rows in values.values()) for name, values in counts]
        if (more := len(self._labels()) - _SHOWN) > 0:
            lines.append(f"and {more} more labels")
        return [*lines, *self._sentences()]

    def _labels(self) -> list[str]:
        """Return the labels, those with the most training rows first."""
        counts = self.splits["train"].labels
        return sorted(counts, key=lambda label: -counts[label])

    def _sentences(self) -> list[str]:
        train = self.splits["train"]
        repeated = sum(facts.repeated for facts in self.splits.values())
        left_out = sum(self.left_out.bad.values()), self.left_out.without_label, self.left_out.leaked
        sentences = [f"the first training row: {self.first_row}"]
        sentences += [f"training texts have {train.median_length:,} characters in the median, {train.longest:,} at most"]
        if repeated:
            sentences.append(f"{repeated:,} rows repeat a text of their split; equal texts are in one split")
        if any(left_out):
            sentences.append("left out: {:,} bad rows, {:,} without a label, {:,} that are in two splits".format(*left_out))
        return sentences

    def warnings(self) -> list[str]:
        """Return what may make the figures wrong, a sentence each."""
        sentences = []
        if self.two_labels:
            sentences.append(f"{self.two_labels:,} texts come with more than one label, such as {self.of_two_labels}")
        if kept := {split: count for split, count in self.leaks.items() if count and not self.left_out.leaked}:
            sentences += [
                f"{count:,} {split} rows are in another split, too: their accuracy is too good" for split, count in kept.items()
            ]
        if (names := self.without_test_rows) and len(self.splits["test"].labels) > 1:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            sentences.append(f"no test row has the labels {', '.join(names[:_SHOWN])}{more}")
        if self.unread_words:
            sentences.append(f"{self.unread_words:,} words have no character that is read: their tags are not learned")
        return sentences


def card(
    splits: Mapping[str, Rows],
    labels: Sequence[str],
    left_out: LeftOut,
    leaks: Mapping[str, int],
    leak_policy: str,
    notes: Sequence[str],
) -> Card:
    """Return the card of the rows of each split, `labels` being the names."""
    keys = {split: [key(text) for text, _ in rows] for split, rows in splits.items()}
    facts = {split: _facts(rows, len(set(keys[split])), labels) for split, rows in splits.items()}
    everything = [row for rows in splits.values() for row in rows]
    two_labels = _of_two_labels(everything, [text for of_split in keys.values() for text in of_split])
    return Card(
        splits=facts,
        left_out=left_out,
        leaks=dict(leaks),
        two_labels=len(two_labels),
        without_test_rows=tuple(name for name in labels if not facts["test"].labels.get(name)),
        unread_words=sum(all(map(is_dropped, word)) for text, _ in everything if isinstance(text, list) for word in text),
        first_row=_shown(*everything[0], labels),
        of_two_labels=_shown(*two_labels[0], labels) if two_labels else "",
        leak_policy=leak_policy,
        notes=tuple(notes),
    )


def _facts(rows: Rows, distinct: int, labels: Sequence[str]) -> SplitFacts:
    counts = Counter(number for _, label in rows for number in _numbers(label))
    lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text, _ in rows]
    return SplitFacts(
        rows=len(rows),
        labels={name: counts[number] for number, name in enumerate(labels) if counts[number]},
        repeated=len(rows) - distinct,
        median_length=int(median(lengths)) if lengths else 0,
        longest=max(lengths, default=0),
    )


def _of_two_labels(rows: Rows, keys: Sequence[Hashable]) -> list[tuple[Any, list[int]]]:
    """Return the texts that come with more than one label, with all of their labels."""
    first: dict[Hashable, Any] = {}  # the row of a text
    several: dict[Hashable, set[int]] = {}
    for row, text in zip(rows, keys, strict=True):
        earlier = first.setdefault(text, row)
        if earlier[1] != row[1]:
            several.setdefault(text, set(_numbers(earlier[1]))).update(_numbers(row[1]))
    return [(first[text][0], sorted(numbers)) for text, numbers in several.items()]


def _numbers(label: Any) -> list[int]:
    return label if isinstance(label, list) else [label]


def _shown(text: Any, label: Any, labels: Sequence[str]) -> str:
    """Return the beginning of a text, and the names of its labels."""
    words = text if isinstance(text, str) else (" " if isinstance(text, list) else " | ").join(text)
    return f"{words[:_SHOWN_CHARACTERS]!r} → {', '.join(labels[number] for number in _numbers(label)[:_SHOWN])}"
