"""The rows of a corpus' files, with their labels' names in the order of the logits.

What a label may be is in labels/; the formats are described in slipway/contract/readers.py.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.contract import labelling, readers
from slipway.contract.readers import BadRow, Row
from slipway.errors import CorpusError
from train.data import ag_news
from train.data.bad_rows import BadRows, consistent, refuse
from train.data.files import places
from train.data.labels import class_numbers, label_names
from train.data.labels.label_names import Read, some


@dataclass(frozen=True)
class Columns:
    """What a person says of the files: which columns are read, and how.

    Without names, those of a known form (slipway/contract/formats/layouts.py).
    """

    text: tuple[str, ...] = ()  # two names: a pair
    label: str = ""
    labels: tuple[str, ...] = ()  # in the order of the logits; empty: sorted, from the training rows
    encoding: str = ""  # of files that are not UTF-8
    missing: tuple[str, ...] = ()  # labels that stand for none: their rows are left out
    merge: bool = False  # labels that differ by case or white space are one


def rows_of(files: dict[str, Path], columns: Columns, bad: BadRows, notes: list[str], command: str) -> Read:
    """Return the rows of each file that has labels, those of AG News in its way.

    Raises CorpusError for a file for training that has none.
    """
    is_ag_news = ag_news.is_here(files["train"].parent)
    read: Read = {}
    for split, path in files.items():
        rows = list(readers.read(path, columns.text, columns.label, encoding=columns.encoding, missing=columns.missing))
        unlabelled = shlex.join(["--unlabelled", str(path)])
        if _is_unlabelled(path, rows, columns):
            if split == "train":
                _refuse_unlabelled(path, rows, f"{command} --corpus {_labelled_beside(path)} {unlabelled}")
            notes.append(f"{path.name} has no labels, so it is no {split} split; its texts can be compared: {unlabelled}")
            continue
        sound = bad.taken_out(path, rows)
        read[split] = (
            bad.taken_out(path, map(ag_news.with_line_breaks, sound)) if is_ag_news and class_numbers.has_index(sound) else sound
        )
    return read


def _labelled_beside(path: Path) -> str:
    """Return the directory of a file if it has another one for training, or a place to fill in."""
    try:
        others = places.files(path.parent, "--corpus", "")
    except CorpusError:
        others = {}
    return shlex.quote(str(path.parent)) if others.get("train", path) != path else "path/to/labelled.csv"


def _refuse_unlabelled(path: Path, rows: Sequence[Row | BadRow], fix: str) -> None:
    labels = Counter(label for row in rows if isinstance(row, Row) for label in row.labels)
    shown = ", ".join(f"{label!r} {count} times" for label, count in labels.items())
    refuse(
        f"{path.name} has texts and no labels",
        "labelled rows to train with, whose column --label names; texts without labels can be compared beside them",
        f"labels that stand for none: {shown}" if shown else next(row.found for row in rows if isinstance(row, BadRow)),
        str(path),
        fix,
    )


def _is_unlabelled(path: Path, rows: Sequence[Row | BadRow], columns: Columns) -> bool:
    """Return whether a file has texts alone; rows with labels that an option names are labelled."""
    is_named = bool({*columns.labels, *columns.missing}.intersection(label for row in rows[:1] for label in _labels_of(row)))
    return not is_named and readers.holds_texts_alone(path, rows, columns.text, columns.label, columns.encoding)


def _labels_of(row: Row | BadRow) -> list[str]:
    return row.labels if isinstance(row, Row) else []


def named(
    read: Read, files: dict[str, Path], columns: Columns, bad: BadRows, notes: list[str], command: str
) -> tuple[Read, tuple[str, ...]]:
    """Return the rows with the names of their labels, and all names in the order of the logits."""
    where, has_index = str(files["train"]), class_numbers.has_index(read["train"])
    of_file = readers.label_names(files["train"], columns.text, columns.label)
    kept = _class_names(files["train"].parent) if has_index else of_file
    given = columns.labels or kept
    labels = tuple(map(labelling.normalised, given))
    if labels and not labelling.are_labels(labels):
        expected = "two labels or more, each once, also in NFC and without zero-width characters"
        refuse("the labels that were given are no choice", expected, labelling.escaped(given), where)
    notes += _merged(label for rows in read.values() for row in rows for label in row.labels)
    read = {split: list(map(labelling.with_normal_label, rows)) for split, rows in read.items()}
    read, numbered, more = class_numbers.counted_alike(read, files, labels, columns.encoding, command)
    notes += more
    if labels and (numbered or class_numbers.counted_from_one(read, labels)):
        counted = {split: read[split] for split in numbered or read}
        read |= {split: bad.taken_out(files[split], class_numbers.by_class_index(rows, labels)) for split, rows in counted.items()}
        notes += [] if numbered else [f"labels 1 to {len(labels)} are taken as the labels in their order: {some(labels)}"]
        bad.check(read)
    elif has_index:
        notes.append("the classes are numbers: a classes.txt beside the files names them, a name a line, or --labels does")
    elif sentence := class_numbers.without_zero(read, labels):
        notes.append(sentence)
    label_names.refuse_missing(read, labels, columns.missing, where, command)
    read, more = label_names.merged(read, labels, columns.merge, where, command)
    notes += more
    if labels:
        return read, labels
    read, more = label_names.with_whole_numbers(read)
    notes += more
    label_names.refuse_no_classes(read, where, command)
    read["train"] = bad.taken_out(files["train"], consistent(read["train"]))
    bad.check(read)
    labels = labelling.discovered(label for row in read["train"] for label in row.labels)
    if not labelling.are_labels(labels):
        refuse("the training rows are no choice", "two labels or more", some(labels) or "none", where)
    return read, labels


def _class_names(directory: Path) -> tuple[str, ...]:
    return class_numbers.of_classes(directory) or (ag_news.LABELS if ag_news.is_here(directory) else ())


def _merged(written: Iterable[str]) -> list[str]:
    """Return a warning for each label that is written in several ways."""
    return [
        f"{labelling.escaped(ways)} are one label, {name!r}: they are equal in NFC and without zero-width characters"
        for name, ways in labelling.merged(written).items()
    ]
