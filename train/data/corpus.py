"""The examples that a model is trained, validated and tested on: AG News, or a person's own files.

A place is a directory with train.csv, .tsv, .jsonl or .conll and, if they exist, validation.* and
test.*, or one such file. Without test.* a tenth of the rows is the test split. Every row is checked
before the first step. The formats are described in slipway/contract/readers.py and
train/data/ag_news.py.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from slipway.contract import labelling, manifest, readers
from slipway.contract.labelling import Unlabelled
from slipway.contract.readers import BadRow, Row
from slipway.errors import CorpusError
from train.data import ag_news
from train.data.bad_rows import CORRECT, BadRows, consistent, refuse, task_of
from train.data.splitting import labels_of, sample, split_off

_TEST_SHARE = 0.1  # of the rows, where no file holds test rows
_SHOWN_LABELS = 10


class Example(NamedTuple):
    """A checked row with the number of its label."""

    text: Any  # str; pair: tuple[str, str]; tagger: the words, list[str]
    label: Any  # int, an index into Corpus.labels; tagger: list[int], one a word


@dataclass(frozen=True)
class Columns:
    """The columns of a person's own file that are read.

    Empty: AG News' form where train.csv has it, else the names in slipway/contract/readers.py.
    """

    text: tuple[str, ...] = ()  # two names: a pair
    label: str = ""
    labels: tuple[str, ...] = ()  # in the order of the logits; empty: sorted, from the training rows


_PLAIN = Columns()


@dataclass(frozen=True)
class Corpus:
    """All examples of a run, split, and the facts of their origin."""

    task: str  # one of bundle.TASKS
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    labels: tuple[str, ...]
    where: str
    sha256: str  # of the files and the labels together
    generated: bool  # True: built-in sentences, not real news
    bad_rows: int  # left out, at most max_bad_rows
    warnings: tuple[str, ...] = ()  # labels that are one label, or that look alike
    unlabelled: Unlabelled | None = None  # golden rows beside the test rows


def find(given: str, checkout: Path, command: str = "slipway train RUN") -> Path:
    """Return the corpus: `given`, else $AG_NEWS_DIR, else AG News or a generated corpus.

    AG News is looked for in the usual places, then downloaded. Raises CorpusError when a place that
    was named holds no corpus; nothing else is tried instead. Its fix is `command` with another one.
    """
    for origin, named in (("--corpus", given), ("$AG_NEWS_DIR", os.environ.get("AG_NEWS_DIR", ""))):
        if named:
            _files(Path(named), origin, f"{command} --corpus path/to/ag_news")
            return Path(named)
    return ag_news.find(checkout)


def _files(place: Path, origin: str, fix: str) -> dict[str, Path]:
    """Return the file of each split that has one. Raises CorpusError."""
    if place.is_file() and place.suffix in readers.SUFFIXES:
        return {"train": place}
    files = {
        split: [path for suffix in readers.SUFFIXES if (path := place / f"{split}{suffix}").is_file()]
        for split in ("train", "validation", "test")
    }
    twice = [path.name for paths in files.values() if len(paths) > 1 for path in paths]
    if twice or not files["train"]:
        missing = f"the ending {place.suffix!r}" if place.exists() else "no such file or directory"
        raise CorpusError(
            f"no corpus in {place}",
            expected=f"a file that ends in {', '.join(readers.SUFFIXES)}, or a directory with such a train.* and test.*",
            found=" beside ".join(twice) or ("no train.*" if place.is_dir() else missing),
            where=f"{place}, named by {origin}",
            fix=fix,
        )
    return {split: paths[0] for split, paths in files.items() if paths}


def load(
    place: Path,
    columns: Columns = _PLAIN,
    *,
    validation_share: float = 0.0,
    train_rows: int = 0,
    seed: int = 1,
    max_bad_rows: int = 0,
) -> Corpus:
    """Read and check every row, then split, and sample `train_rows` of the training rows (0: all).

    Up to `max_bad_rows` are left out and counted, but never one after which rows cannot be told
    apart. A label that validation or test rows have and training rows lack makes a bad row.
    Raises CorpusError naming file:line, rule and value of the first bad rows.
    """
    files = _files(place, "--corpus", CORRECT)
    headerless = not columns.text and not columns.label and ag_news.has_form(files["train"])
    given = columns.labels or (ag_news.labels(files["train"].parent) if headerless else ())
    labels = tuple(map(labelling.normalised, given))
    if labels and not labelling.are_labels(labels):
        expected = "two labels or more, each once, also in NFC and without zero-width characters"
        refuse("the labels that were given are no choice", expected, labelling.escaped(given), str(place))
    bad = BadRows(max_bad_rows)
    read: dict[str, list[Row]] = {}
    for split, path in files.items():
        is_ag_news = headerless and path.suffix == ".csv"
        read[split] = bad.taken_out(
            path, ag_news.read(path, labels) if is_ag_news else readers.read(path, columns.text, columns.label)
        )
    bad.check(read)
    written = {label for sound in read.values() for row in sound for label in row.labels}
    read = {split: list(map(labelling.with_normal_label, sound)) for split, sound in read.items()}
    task = task_of(read, files)
    if not labels:
        read["train"] = bad.taken_out(files["train"], consistent(read["train"]))
        bad.check(read)
        labels = labelling.discovered(label for row in read["train"] for label in row.labels)
        if not labelling.are_labels(labels):
            refuse("the training rows are no choice", "two labels or more", _some(labels) or "none", str(files["train"]))
    examples = _numbered(read, files, labels, bad)
    bad.check(examples)
    _split(examples, validation_share, seed, place)
    _keep_sample(examples, train_rows, seed)
    return Corpus(
        task=task,
        train=examples["train"],
        validation=examples["validation"],
        test=examples["test"],
        labels=labels,
        where=str(place),
        sha256=hashlib.sha256("\n".join([*map(manifest.sha256, files.values()), *labels]).encode()).hexdigest(),
        generated=(files["train"].parent / ag_news.MARK).is_file(),
        bad_rows=len(bad.rows),
        warnings=(*_merged(written), *labelling.look_alikes(labels), *_of_one_class(examples["test"], labels)),
    )


def _merged(written: Iterable[str]) -> list[str]:
    """Return a warning for each label that is written in several ways."""
    return [
        f"{labelling.escaped(ways)} are one label, {name!r}: they are equal in NFC and without zero-width characters"
        for name, ways in labelling.merged(written).items()
    ]


def _of_one_class(test: list[Example], labels: tuple[str, ...]) -> list[str]:
    """Return a warning when all test rows have the same label."""
    classes = set().union(*(labels_of(example.label) for example in test))
    if len(classes) > 1:
        return []
    return [f"the test rows are all of {labels[classes.pop()]!r}: a model that always gives this answer would pass"]


def _numbered(
    read: dict[str, list[Row]], files: dict[str, Path], labels: tuple[str, ...], bad: BadRows
) -> dict[str, list[Example]]:
    """Return rows with their labels' numbers; other splits may only have training rows' labels."""
    number = labelling.numbers(labels)
    rule = f"a label out of {_some(labels)}"
    examples = {}
    for split in ("train", *(split for split in files if split != "train")):
        examples[split] = bad.taken_out(files[split], (_example(row, number, rule) for row in read[split]))
        if split == "train":
            seen = {label for _, tags in examples["train"] for label in (tags if isinstance(tags, list) else [tags])}
            number = {name: i for name, i in number.items() if i in seen}
            rule = f"a label that training rows have: {_some([labels[i] for i in sorted(seen)])}"
    return examples


def _example(row: Row, number: Mapping[str, int], rule: str) -> Example | BadRow:
    label = labelling.numbered(row, number, rule)
    return label if isinstance(label, BadRow) else Example(row.text, label)


def _split(examples: dict[str, list[Example]], validation_share: float, seed: int, place: Path) -> None:
    """Take splits without a file out of the training rows. Raises CorpusError for an empty one."""
    for split, share in (("test", _TEST_SHARE), ("validation", validation_share)):
        if split not in examples:
            train = examples["train"]
            kept, held_out = split_off([example.label for example in train], share, seed)
            examples[split] = [train[row] for row in held_out]
            examples["train"] = [train[row] for row in kept]
    for split in ("train", "test"):
        if not examples[split]:
            expected = "at least one, and two of a label where they are split off"
            refuse(f"the corpus has no {split} rows", expected, "none", str(place))


def _keep_sample(examples: dict[str, list[Example]], train_rows: int, seed: int) -> None:
    """Keep `train_rows` training rows (0: all), and as large a share of the validation rows."""
    share = train_rows / len(examples["train"])
    if 0 < share < 1:
        for split in ("train", "validation"):
            chosen = sample([example.label for example in examples[split]], max(1, round(share * len(examples[split]))), seed)
            examples[split] = [examples[split][row] for row in chosen]


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    return ", ".join(labels[:_SHOWN_LABELS]) + more
