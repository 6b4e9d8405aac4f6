"""What the labels of a corpus are: classes by name or number, and never what only looks like one.

Names come from the command, from a classes.txt beside files of class numbers (class_numbers.py), or
from the training rows. A label that stands for none, several labels in one, scores, and names that
differ by case are refused by what they are, with the option that reads them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from slipway import errors
from slipway.contract import labelling
from slipway.contract.formats.rows import is_none
from slipway.contract.readers import Row
from train.data.bad_rows import refuse

_WHOLE = re.compile(r"(-?[0-9]+)(\.0+)?")
_SCORE = re.compile(r"-?[0-9]*\.[0-9]+")
_JOINTS = ("|", ";", ",")
_FEWEST = 20  # answers from which on it is known that labels do not come again
_SHOWN_LABELS = 10
_SHOWN = 40  # characters of a label
Read = dict[str, list[Row]]  # split → its rows


def refuse_missing(read: Read, given: Collection[str], missing: Sequence[str], where: str, command: str) -> None:
    """Raise CorpusError for labels that usually stand for none."""
    counts = counts_of(read)
    classes = {_whole(label) for label in given}
    none = {label: n for label, n in counts.items() if is_none(label) and _whole(label) not in classes and _is_classes(read)}
    if not none:
        return
    leave_out = errors.with_options(command, ["--missing-label", *missing, *none])
    names, others = _with_minus_one(counts), [label for label in none if _whole(label) != "-1"]
    keep = errors.with_options(command, ["--labels", *names, *(["--missing-label", *missing, *others] if others else [])])
    refuse(
        f"{sum(none.values())} of {counts.total()} rows have a label that usually stands for none",
        "rows with labels alone: --missing-label leaves the others out; or all classes named, if it is one: --labels",
        ", ".join(f"{label!r} {count} times" for label, count in none.items()),
        where,
        f"{keep}\n            as -1 is about as frequent as others; if it stands for none: {leave_out}" if names else leave_out,
    )


def _with_minus_one(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return all classes if they are whole numbers, and -1 is about as frequent as the others."""
    by_number: Counter[str] = Counter()
    for label, count in counts.items():
        if _whole(label) == "-1" or not is_none(label):
            by_number[_whole(label)] += count
    others = [count for label, count in by_number.items() if label != "-1"]
    if "-1" not in by_number or not others or not all(map(labelling.is_number, by_number)):
        return ()
    is_frequent = len(others) == 1 or by_number["-1"] * 2 >= min(others)
    return labelling.discovered(by_number) if is_frequent else ()


def _whole(label: str) -> str:
    """Return 1 instead of 1.0, and any other label as it is."""
    match = _WHOLE.fullmatch(label)
    return match[1] if match else label


def with_whole_numbers(read: Read) -> tuple[Read, list[str]]:
    """Return rows whose labels are 1 instead of 1.0 where all are numbers, and a note of it."""
    counts = counts_of(read)
    whole = {label: match[1] for label in counts if (match := _WHOLE.fullmatch(label))}
    changed = sorted(label for label, name in whole.items() if name != label)
    if len(whole) < len(counts) or not changed:
        return read, []
    note = f"the labels {some(changed)} are taken as the numbers {some(whole[label] for label in changed)}"
    return _renamed(read, whole.__getitem__), [note]


def refuse_no_classes(read: Read, where: str, command: str) -> None:
    """Raise CorpusError for scores, for several labels in one, and for labels of one row each."""
    counts = counts_of(read)
    labels = labelling.discovered(counts)
    scores = [label for label in labels if _SCORE.fullmatch(label)]
    if scores and all(_SCORE.fullmatch(label) or labelling.is_number(label) for label in labels):
        value = (
            f"{len(labels)} different numbers with decimals, such as {some(scores[:3])}: scores, to which a regression is fitted"
        )
        refuse(
            "the labels are no classes", "labels that are classes", value, where, "make classes of the scores, such as low and high"
        )
    if joined := _joined(labels):
        refuse(
            "a row has several labels",
            "one label a row (multi-label is not trained here), or --labels with every combination, each as a class of its own",
            f"labels that are joined of others: {some(joined)}",
            where,
            errors.with_options(command, ["--labels", *labels]),
        )
    if len(labels) * 2 > counts.total() >= _FEWEST:
        value = f"{len(labels)} different ones in {counts.total()} rows, such as {some(labels[:3])}"
        refuse(
            "the labels are no classes",
            "a label column whose values come again and again, or --labels with all classes",
            value,
            where,
            f"{command} --label NAME",
        )


def merged(read: Read, given: Sequence[str], merge: bool, where: str, command: str) -> tuple[Read, list[str]]:
    """Return rows in which labels that differ by case, white space or leading zeros are one.

    Notes say so. Each gets the name that was given, or else its most frequent one. Raises
    CorpusError without `merge`, unless the labels were given.
    """
    counts = counts_of(read)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys([*given, *labelling.discovered(counts)]):
        alike[_without_zeros(" ".join(label.casefold().split()))].append(label)
    groups = [names for names in alike.values() if len(names) > 1]
    if not groups or (given and not merge):
        return read, []
    shown = "; ".join(", ".join(f"{name!r} {counts[name]} times" for name in names) for names in groups[:_SHOWN_LABELS])
    if not merge:
        refuse(
            "labels differ only by case, white space or leading zeros",
            "each label written in one way; --merge-labels makes one of them, --labels with all of them keeps them apart",
            shown,
            where,
            f"{command} --merge-labels",
        )
    name_of = {name: max(names, key=lambda name: (name in given, counts[name])) for names in groups for name in names}
    return _renamed(read, lambda label: name_of.get(label, label)), [f"labels made one by --merge-labels: {shown}"]


def _without_zeros(label: str) -> str:
    return str(int(label)) if labelling.is_number(label) else label


def _joined(labels: Sequence[str]) -> list[str]:
    """Return the labels that several others, or their parts, are joined in."""
    for joint in _JOINTS:
        parts = {label: [part.strip() for part in label.split(joint)] for label in labels}
        again = Counter(part for label in parts for part in set(parts[label]))
        joined = [label for label, of in parts.items() if len(of) > 1 and all(of) and any(again[part] > 1 for part in of)]
        if joined:
            return joined
    return []


def _renamed(read: Read, name_of: Callable[[str], str]) -> Read:
    return {split: [with_labels(row, map(name_of, row.labels)) for row in rows] for split, rows in read.items()}


def with_labels(row: Row, labels: Iterable[str]) -> Row:
    names = list(labels)
    return row._replace(label=names if isinstance(row.label, list) else names[0])


def counts_of(read: Mapping[str, Sequence[Row]]) -> Counter[str]:
    return Counter(label for rows in read.values() for row in rows for label in row.labels)


def _is_classes(read: Read) -> bool:
    """Return whether rows have a label each; a tag `-` is one, too."""
    return all(isinstance(row.label, str) for rows in read.values() for row in rows[:1])


def some(labels: Iterable[str]) -> str:
    """Return the first labels, and how many more there are."""
    names = list(labels)
    more = f" and {len(names) - _SHOWN_LABELS} more" if len(names) > _SHOWN_LABELS else ""
    return ", ".join(names[:_SHOWN_LABELS]) + more
