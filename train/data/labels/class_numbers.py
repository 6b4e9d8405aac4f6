"""Numbers of classes as their names: what files without a header have in place of labels.

They count from 1 or from 0, and files of one corpus may differ in that. A name is never taken by a
number that may be another one's: what is assumed is said, and what is not clear is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from slipway.contract import labelling
from slipway.contract.formats.encoding import decoded
from slipway.contract.formats.rows import is_none
from slipway.contract.readers import BadRow, Row, Unreadable
from slipway.errors import CorpusError
from train.data.bad_rows import refuse
from train.data.labels.label_names import Read, counts_of, some, with_labels

_SHOWN = 40  # characters of a label
_DELIMITER = re.compile(r"[^,;|\t]*([,;|])")
_RENUMBER = (  # path, step, delimiter, encoding
    "import csv, sys; path, step, mark, encoding = sys.argv[1:];"
    " rows = list(csv.reader(open(path, encoding=encoding, newline=''), delimiter=mark));"
    " file = csv.writer(open(path, 'w', encoding=encoding, newline=''), delimiter=mark, quoting=csv.QUOTE_ALL);"
    " file.writerows([int(row[0]) + int(step) if row[0].strip().isdecimal() else row[0], *row[1:]] for row in rows if row)"
)


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
            yield with_labels(row, [number[label] for label in row.labels])._replace(is_class_index=False)


def counted_alike(
    read: Read, files: Mapping[str, Path], names: Sequence[str], encoding: str, command: str
) -> tuple[Read, list[str], list[str]]:
    """Return the rows, the splits whose labels are class numbers, and notes of how they count.

    There are none without a file of class numbers, which has no header. Numbers count from 0 where
    0 is one of them, and n is not for n `names`. Files may differ in that if it is clear from n; a
    file without 0 counts as training does if it has no other class. Raises CorpusError for others,
    and for more classes than names.
    """
    numeric = {split: numbers for split, rows in read.items() if (numbers := _class_numbers(rows, names))}
    if not any(has_index(read[split]) for split in numeric):
        return read, [], []
    from_zero = {split for split in numeric if _from_zero(read[split], numeric[split])}
    from_one = numeric.keys() - from_zero
    notes = []
    if from_zero and from_one:
        if names and all(max(numeric[split]) == len(names) for split in from_one):
            notes.append(f"classes are counted from 1 in {_names_of(files, from_one)}, from 0 in {_names_of(files, from_zero)}")
        elif _all_of_training(numeric, from_zero) and len({has_index(read[split]) for split in numeric}) == 1:
            notes.append(f"there is no class 0 in {_names_of(files, from_one)}: classes are taken to count from 0, as in training")
            from_zero = set(numeric)
        else:
            _refuse_unlike(numeric, files, from_zero, encoding, command)
    highest = max(map(max, numeric.values()))
    if names and from_zero == set(numeric) and highest >= len(names):
        if len(set().union(*numeric.values())) > len(names):
            _refuse_too_few(names, highest, files, command)
        from_zero = set()  # so that 0 is a bad row
    if names and not from_zero and highest < len(names):
        rest = some(map(repr, names[highest:]))
        notes.append(f"no row has the class 0, so classes are taken to count from 1: 1 is {names[0]!r}, and no row is of {rest}")
    counted = {split: [row._replace(counts_from_zero=split in from_zero) for row in read[split]] for split in numeric}
    return read | counted, list(counted), notes


def _names_of(files: Mapping[str, Path], splits: Collection[str]) -> str:
    return " and ".join(files[split].name for split in files if split in splits)


def _all_of_training(numeric: Mapping[str, set[int]], from_zero: Collection[str]) -> bool:
    """Return whether training counts from 0, and has all the classes of the other files."""
    return "train" in from_zero and set().union(*numeric.values()) <= numeric["train"]


def _refuse_unlike(
    numeric: Mapping[str, set[int]], files: Mapping[str, Path], from_zero: Collection[str], encoding: str, command: str
) -> NoReturn:
    """Raise CorpusError, with the command that numbers a file as training where it is clear how."""
    shown = [f"{files[split].name} has the classes {some(map(str, sorted(numbers)))}" for split, numbers in numeric.items()]
    train = numeric.get("train", set())
    odd = next((split for split in numeric if split != "train" and (split in from_zero) != ("train" in from_zero)), "train")
    step = -1 if "train" in from_zero else 1
    fix = "number the classes of all files alike, give all of them a header or none, then run the same command again"
    if odd != "train" and not numeric[odd] <= train and {number + step for number in numeric[odd]} <= train:
        remedy = _renumbering(files[odd], step, encoding)
        fix = BadRow(1, "", "", remedy=remedy).fix(files[odd], command) or fix
    refuse(
        "the files do not number their classes alike",
        "classes that are numbered from 0 in all files, or from 1 in all",
        "; ".join(shown),
        str(files[odd]),
        fix,
    )


def _renumbering(path: Path, step: int, encoding: str) -> str:
    """Return the command that adds `step` to the classes of a .csv, or ""; it keeps a copy."""
    content = decoded(path, encoding)
    delimiter = _DELIMITER.match(content)
    if not delimiter or not content.lstrip('"')[:1].isdecimal():
        return ""
    words = shlex.join([str(step), delimiter[1], encoding or "utf-8-sig"])
    return f"cp {{path}} {{path}}.bak && python3 -c {shlex.quote(_RENUMBER)} {{path}} {words}"


def _refuse_too_few(names: Sequence[str], highest: int, files: Mapping[str, Path], command: str) -> NoReturn:
    path = files["train"].parent / "classes.txt"
    refuse(
        "there are more classes than names",
        f"a name for each of the classes 0 to {highest}",
        f"{len(names)} names: {some(names)}",
        str(path if path.is_file() else files["train"]),
        f"name them all, in {path.name} beside the files or in --labels: {command}",
    )


def _from_zero(rows: Sequence[Row], numbers: Collection[int]) -> bool:
    return any(row.counts_from_zero for row in rows) if has_index(rows) else 0 in numbers


def _class_numbers(rows: Sequence[Row], names: Sequence[str]) -> set[int]:
    """Return the numbers that are labels of rows; none where some labels are names."""
    labels = {label for row in rows for label in row.labels if not is_none(label)}
    if not has_index(rows) and (labels <= set(names) or not all(map(str.isdecimal, labels))):
        return set()
    return {int(label) for label in labels if label.isdecimal()}


def has_index(rows: Sequence[Row]) -> bool:
    return any(row.is_class_index for row in rows)


def counted_from_one(read: Read, names: Sequence[str]) -> bool:
    """Return whether labels are the numbers 1 to n of n names, where 0 to n − 1 is usual."""
    written = set(counts_of(read))
    numbers = {str(number) for number in range(1, len(names) + 1)}
    return bool(written) and written <= numbers and str(len(names)) in written and not any(map(labelling.is_number, names))


def without_zero(read: Read, names: Sequence[str]) -> str:
    """Return that numbers count from 0 where no row has 0 and `names` are given, or ""."""
    written = set(counts_of(read))
    if not names or "0" in written or any(map(labelling.is_number, names)) or not all(map(str.isdecimal, written)):
        return ""
    shown = ", ".join(f"{number} is {names[int(number)]!r}" for number in sorted(written, key=int)[:2] if int(number) < len(names))
    return f"no row has the label 0: numbers are taken as places from 0 in the labels that were given, so {shown}" if shown else ""
