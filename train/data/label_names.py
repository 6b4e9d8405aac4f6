"""What the labels of a corpus are: classes by name or number, and never what only looks like one.

Names come from the command, from a classes.txt beside files of class numbers, or from the training
rows. A label that stands for none, several labels in one, scores, and names that differ by case are
refused by what they are, with the option that reads them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from slipway.contract import labelling
from slipway.contract.formats.encoding import decoded
from slipway.contract.readers import BadRow, Row, Unreadable
from slipway.errors import CorpusError
from train.data.bad_rows import refuse, with_options

_NO_LABELS = ("-", "-1", "-1.0", "nan", "null", "<na>", "n/a", "#n/a")  # without regard to case
_WHOLE = re.compile(r"(-?[0-9]+)(\.0+)?")
_SCORE = re.compile(r"-?[0-9]*\.[0-9]+")
_JOINTS = ("|", ";", ",")
_FEWEST = 20  # answers from which on it is known that labels do not come again
_SHOWN_LABELS = 10
_SHOWN = 40  # characters of a label
Read = dict[str, list[Row]]  # split → its rows


def of_classes(directory: Path) -> tuple[str, ...]:
    """Return the names in classes.txt, a line each; none without one. Raises CorpusError."""
    path = directory / "classes.txt"
    if not path.is_file():
        return ()
    try:
        content = decoded(path)
        names, shown = tuple(name.strip() for name in content.rstrip("\r\n").split("\n")), repr(content[:60])
    except Unreadable as error:
        names, shown = (), error.row.found
    if len(names) < 2 or not all(names):
        raise CorpusError(
            "the class names cannot be read",
            expected="UTF-8, at least two lines, a name on each",
            found=shown,
            where=str(path),
            fix="correct the file, then run the same command again",
        )
    return names


def by_class_index(rows: Iterable[Row], names: Sequence[str]) -> Iterator[Row | BadRow]:
    """Yield the rows with the names of their classes, numbered from 1, or from 0 if a row has 0."""
    for row in rows:
        begin = 0 if row.counts_from_zero else 1
        number = {str(index): name for index, name in enumerate(names, begin)}
        odd = [word for word, label in enumerate(row.labels) if label not in number]
        if odd:
            rule = f"the class index is {begin} to {len(names) - 1 + begin}"
            yield row.broken(rule, repr(row.labels[odd[0]][:_SHOWN]), odd[0])
        else:
            yield _with_labels(row, [number[label] for label in row.labels])._replace(is_class_index=False)


def counted_alike(read: Read, files: Mapping[str, Path], names: Sequence[str]) -> tuple[Read, list[str]]:
    """Return the rows and the splits whose labels are class numbers, told how they are counted.

    There are none without a file of class numbers, which has no header. Numbers count from 0 where
    0 is one of them, and n is not for n `names`. Raises CorpusError where files with and without a
    header may count from 0 and from 1; they may differ if it is clear from n that they do.
    """
    numeric = {split: numbers for split, rows in read.items() if (numbers := _class_numbers(rows, names))}
    if not any(_has_index(read[split]) for split in numeric):
        return read, []
    from_zero = {split for split in numeric if _from_zero(read[split], numeric[split])}
    from_one = numeric.keys() - from_zero
    if from_zero and from_one and len({_has_index(read[split]) for split in numeric}) > 1:
        if not names or any(max(numeric[split]) != len(names) for split in from_one):
            _refuse_unlike(numeric, files, min(from_one))
    elif from_zero:
        from_zero = set(numeric) if max(map(max, numeric.values())) < len(names) else set()
    counted = {split: [row._replace(counts_from_zero=split in from_zero) for row in read[split]] for split in numeric}
    return read | counted, list(counted)


def _refuse_unlike(numeric: Mapping[str, set[int]], files: Mapping[str, Path], split: str) -> NoReturn:
    shown = [f"{files[split].name} has the labels {some(map(str, sorted(numbers)))}" for split, numbers in numeric.items()]
    refuse(
        "the files do not number their classes alike",
        "classes that are numbered from 0 in all files, or from 1 in all",
        "; ".join(shown),
        str(files[split]),
        "number the classes of all files alike, give all of them a header or none, then run the same command again",
    )


def _from_zero(rows: Sequence[Row], numbers: Collection[int]) -> bool:
    return any(row.counts_from_zero for row in rows) if _has_index(rows) else 0 in numbers


def _class_numbers(rows: Sequence[Row], names: Sequence[str]) -> set[int]:
    """Return the numbers that are labels of rows; none where some labels are names."""
    labels = {label for row in rows for label in row.labels if not _is_none(label)}
    if not _has_index(rows) and (labels <= set(names) or not all(map(str.isdecimal, labels))):
        return set()
    return {int(label) for label in labels if label.isdecimal()}


def _has_index(rows: Sequence[Row]) -> bool:
    return any(row.is_class_index for row in rows)


def counted_from_one(read: Read, names: Sequence[str]) -> bool:
    """Return whether labels are the numbers 1 to n of n names, where 0 to n − 1 is usual."""
    written = set(_counts(read))
    numbers = {str(number) for number in range(1, len(names) + 1)}
    return bool(written) and written <= numbers and str(len(names)) in written and not any(map(labelling.is_number, names))


def are_missing(rows: Sequence[Row]) -> bool:
    """Return whether no row has a label, as in test rows whose labels are kept secret."""
    return bool(rows) and all(isinstance(row.label, str) and _is_none(row.label) for row in rows)


def refuse_missing(read: Read, given: Collection[str], missing: Sequence[str], where: str, command: str) -> None:
    """Raise CorpusError for labels that usually stand for none."""
    counts = _counts(read)
    classes = {_whole(label) for label in given}
    none = {label: n for label, n in counts.items() if _is_none(label) and _whole(label) not in classes and _is_classes(read)}
    if not none:
        return
    leave_out = with_options(command, ["--missing-label", *missing, *none])
    names, others = _with_minus_one(counts), [label for label in none if _whole(label) != "-1"]
    keep = with_options(command, ["--labels", *names, *(["--missing-label", *missing, *others] if others else [])])
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
        if _whole(label) == "-1" or not _is_none(label):
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
    counts = _counts(read)
    whole = {label: match[1] for label in counts if (match := _WHOLE.fullmatch(label))}
    changed = sorted(label for label, name in whole.items() if name != label)
    if len(whole) < len(counts) or not changed:
        return read, []
    note = f"the labels {some(changed)} are taken as the numbers {some(whole[label] for label in changed)}"
    return _renamed(read, whole.__getitem__), [note]


def refuse_no_classes(read: Read, where: str, command: str) -> None:
    """Raise CorpusError for scores, for several labels in one, and for labels of one row each."""
    counts = _counts(read)
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
            with_options(command, ["--labels", *labels]),
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
    counts = _counts(read)
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
    return {split: [_with_labels(row, map(name_of, row.labels)) for row in rows] for split, rows in read.items()}


def _with_labels(row: Row, labels: Iterable[str]) -> Row:
    names = list(labels)
    return row._replace(label=names if isinstance(row.label, list) else names[0])


def _counts(read: Mapping[str, Sequence[Row]]) -> Counter[str]:
    return Counter(label for rows in read.values() for row in rows for label in row.labels)


def _is_none(label: str) -> bool:
    return label.casefold() in ("", *_NO_LABELS)


def _is_classes(read: Read) -> bool:
    """Return whether rows have a label each; a tag `-` is one, too."""
    return all(isinstance(row.label, str) for rows in read.values() for row in rows[:1])


def some(labels: Iterable[str]) -> str:
    """Return the first labels, and how many more there are."""
    names = list(labels)
    more = f" and {len(names) - _SHOWN_LABELS} more" if len(names) > _SHOWN_LABELS else ""
    return ", ".join(names[:_SHOWN_LABELS]) + more
