"""The rows that a person brings to `slipway import`: labelled ones, and texts without labels.

They are read and checked before anything heavy runs. What is judged later is how many rows differ
from each other, so repeated ones count once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from slipway.contract import labelling, readers
from slipway.contract.bundle import NOT_ASKED
from slipway.contract.labelling import Unlabelled
from slipway.contract.parity.bounds import least_rows
from slipway.contract.variants import VARIANTS
from slipway.errors import ConversionError, CorpusError, UsageError

_PLACEHOLDER = re.compile(r"LABEL_\d+")
_OF_ROWS = tuple(ending for ending in readers.SUFFIXES if ending not in (".json", ".txt"))  # these describe others, too
_SHOWN = 5  # files
_CHANCE = 1e-3  # probability of so many right answers by guessing, above which the model is refused


@dataclass(frozen=True)
class GoldenRows:
    task: str  # one of bundle.TASKS
    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    labels: list[Any]  # int; tagger: list[int], one a word
    unlabelled: list[Any] = field(default_factory=list)  # texts, different from `texts` and each other

    @property
    def examples(self) -> list[tuple[Any, Any]]:
        """The texts with their labels, and after them those without, labelled NOT_ASKED."""
        labelled = zip(self.texts, self.labels, strict=True)
        return [*labelled, *((text, NOT_ASKED) for text in self.unlabelled)]

    @property
    def distinct(self) -> int:
        """The number of different texts, those without labels among them."""
        return len(set(map(str, self.texts))) + len(self.unlabelled)

    @property
    def classes(self) -> set[int]:
        """The labels that occur."""
        return set(_flat(self.labels))


def _flat(labels: Iterable[Any]) -> list[int]:
    return [tag for label in labels for tag in (label if isinstance(label, list) else [label])]


def label_names(lines: list[str], where: Path) -> list[str]:
    """Return the normal names of a labels.txt. Raises CorpusError unless each is there once."""
    names = [labelling.normalised(line) for line in lines]
    if ways := [way for ways in labelling.merged(lines).values() for way in ways]:
        _refuse_rows(str(where), "labels that differ in NFC and without zero-width characters", labelling.escaped(ways))
    if not labelling.are_labels(names):
        _refuse_rows(str(where), "two labels or more in labels.txt, each once", labelling.escaped(lines))
    return names


@dataclass(frozen=True)
class Columns:
    """How a file of rows is to be read, as for `readers.read`."""

    text: tuple[str, ...] = ()
    label: str = ""
    encoding: str = ""
    missing: tuple[str, ...] = ()  # labels that stand for none: rows with them are left out


def read_golden_rows(path: Path, names: list[str], columns: Columns, again: str) -> GoldenRows:
    """Read the labelled rows of a file, `names` being the labels and `again` the command.

    Raises CorpusError by file and line.
    """
    if readers.suffix(path) not in readers.SUFFIXES or not path.is_file():
        raise _no_rows(path, again)
    number = labelling.numbers(names)
    rule = f"a label out of {list(number)}"
    task = ""
    texts: list[Any] = []
    labels: list[Any] = []
    rows = list(readers.read(path, columns.text, columns.label, encoding=columns.encoding, missing=columns.missing))
    _refuse_texts_alone(path, rows, columns, again)
    for row in rows:
        if isinstance(row, readers.BadRow):
            _refuse_row(path, row, again)
        if row.label in columns.missing:
            continue
        label = labelling.numbered(labelling.with_normal_label(row), number, rule)
        if isinstance(label, readers.BadRow) and all(map(_PLACEHOLDER.fullmatch, names)):  # a config.json's that nobody named
            fix = f"{again} --labels labels.txt, with the labels a line each, in the order of the logits"
            _refuse_rows(f"{path}:{label.line}", label.rule, label.found, fix)
        if isinstance(label, readers.BadRow):
            _refuse_row(path, label, again)
        task = row.task
        texts.append(list(row.text) if isinstance(row.text, tuple) else row.text)
        labels.append(label)
    return GoldenRows(task, texts, labels)


def _no_rows(path: Path, again: str) -> CorpusError:
    """Return the refusal of what is no file of rows; of a directory with a file that lies in it."""
    value = "no such file" if readers.suffix(path) in readers.SUFFIXES or not path.exists() else f"the ending {path.suffix!r}"
    fix = f"{again} --golden rows.csv, with a header text,label"
    if path.is_dir():
        inside = [file for file in sorted(path.rglob("*")) if file.is_file() and readers.suffix(file) in _OF_ROWS]
        value = f"a directory with {', '.join(str(file.relative_to(path)) for file in inside[:_SHOWN]) or 'no such file'}"
        if inside:
            tested = [file for file in inside if re.search("test|valid|dev", str(file.relative_to(path)).lower())]
            fix = f"{again} {shlex.join(['--golden', str((tested or inside)[0])])}"
    return CorpusError(
        "the golden rows cannot be read",
        expected=f"a file that ends in {', '.join(readers.SUFFIXES)}",
        found=value,
        where=str(path),
        fix=fix,
    )


def _refuse_texts_alone(path: Path, rows: Sequence[readers.Row | readers.BadRow], columns: Columns, again: str) -> None:
    """Raise CorpusError for a file without labels: a model's accuracy has to be known on some."""
    if not columns.missing and readers.holds_texts_alone(path, rows, columns.text, columns.label, columns.encoding):
        value = next((row.found for row in rows if isinstance(row, readers.BadRow)), "labels that stand for none")
        texts = shlex.join(["--unlabelled", str(path)])
        fix = f"{again} --golden path/to/labelled.csv {texts}, which compares these texts beside labelled rows"
        _refuse_rows(str(path), "rows with labels, whose column --label names", f"texts without labels: {value}", fix)


def read_unlabelled(path: Path, rows: GoldenRows, columns: Columns, again: str, without: str) -> Unlabelled:
    """Read texts without labels that are to be compared beside `rows`.

    `again` is the command, `without` the one that leaves them out. Raises UsageError for a tagger,
    whose sentences need tags, and CorpusError by file and line.
    """
    if rows.task == "tagging":
        raise UsageError(
            "a tagger takes no texts without labels",
            expected="--unlabelled with a model of single texts or pairs: a sentence is compared at its tagged words",
            found=f"--unlabelled {path} beside rows of words and tags",
            where="--unlabelled",
            fix=without,
        )
    return labelling.unlabelled(path, rows.task, rows.texts, columns.text, columns.label, encoding=columns.encoding, command=again)


def check_number(distinct: int, rows: int, where: Path, again: str) -> None:
    """Raise CorpusError where so few different rows can pass no variant, whatever its answers."""
    least = min(least_rows(variant.limits) for variant in VARIANTS.values())
    if distinct < least:
        raise CorpusError(
            "too few golden rows",
            expected=f"{least} different rows: with fewer, even answers that are all equal hold no variant's limits at 95 %",
            found=f"{distinct} different ones in {rows} rows",
            where=str(where),
            fix=f"{again}, with more labelled rows, or with more texts as --unlabelled FILE",
        )


def check_classes(rows: GoldenRows, names: list[str], where: Path, again: str) -> None:
    """Raise CorpusError for rows of one class: any model that always answers it would pass."""
    if len(rows.classes) == 1:
        (label,) = rows.classes
        raise CorpusError(
            "the golden rows are all of one class",
            expected="rows of two labels or more, best of each: a model that always answers this one would pass",
            found=f"{len(rows.texts)} rows, all of {names[label]!r}",
            where=str(where),
            fix=f"{again}, with rows of the other labels, too",
        )


def check_better_than_guessing(confusion: NDArray[np.int64], labels: list[str], where: Path, again: str) -> None:
    """Raise ConversionError when another order of labels, or one label for all rows, does as well.

    Then something is mixed up. `confusion`: [true label, predicted label] rows.
    """
    rows, right = confusion.sum(), int(confusion.trace())
    _, order = linear_sum_assignment(-confusion)
    moved_rows = np.flatnonzero(order != np.arange(len(order)))
    better, worse = int(confusion[moved_rows, order[moved_rows]].sum()), int(confusion[moved_rows, moved_rows].sum())
    if better > worse and stats.binomtest(better, better + worse, 0.5, alternative="greater").pvalue < _CHANCE:
        moved = ", ".join(f"{labels[i]} is answered as {labels[j]}" for i, j in enumerate(order) if i != j)
        raise ConversionError(
            "the labels are not in the order of the logits",
            expected=f"most answers right: another order gives {(right + better - worse) / rows:.1%}",
            found=f"{right / rows:.1%} right; {moved}",
            where=str(where),
            fix=f"{again}, with --labels in the order the model was trained with",
        )
    frequent = confusion.sum(axis=1).max() / rows
    if frequent < 1 and stats.binomtest(right, rows, frequent, alternative="greater").pvalue > _CHANCE:
        raise ConversionError(
            "the SavedModel answers these rows no better than guessing",
            expected=f"clearly more than {frequent:.1%} right, the share of the most frequent label",
            found=f"{right / rows:.1%} of {rows}",
            where=str(where),
            fix="check that --vocab is the model's own, that --labels are in the order of its logits, and that the"
            f" --golden rows are of its task: {again}",
        )


def _refuse_row(path: Path, row: readers.BadRow, again: str) -> NoReturn:
    fix = row.fix(path, again) or f"correct the row, then {again}"
    _refuse_rows(f"{path}:{row.line}", row.rule, row.found, fix)


def _refuse_rows(where: str, expected: str, found: str, fix: str = "correct the file and run it again") -> NoReturn:
    raise CorpusError("the golden rows cannot be used", expected=expected, found=found, where=where, fix=fix)
