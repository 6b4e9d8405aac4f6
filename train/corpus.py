"""What a model is trained, validated and tested on: AG News, or a person's own files, every row checked before the first step.

A place is a directory with train.csv, .tsv, .jsonl or .conll and, if they exist, validation.* and test.*, or one such file.
Without test.* a tenth of the rows is the test split. What a file looks like: train/rows.py, train/ag_news.py.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from train import ag_news, generated_corpus, labelling, manifest, rows, splits
from train.errors import CorpusError
from train.rows import BadRow, Row

_TEST_SHARE = 0.1  # of the rows, where no file holds test rows
_SHOWN_BAD_ROWS = 5
_SHOWN_LABELS = 10
_SHOWN = 40  # characters of a label
_T = TypeVar("_T")


class Example(NamedTuple):
    text: Any  # str; of a pair tuple[str, str]; of a tagger the words, list[str]
    label: Any  # int, an index into Corpus.labels; of a tagger list[int], one a word


@dataclass(frozen=True)
class Columns:
    """How a person's own file is read. Empty: AG News' form where train.csv has it, else by the names in train/rows.py."""

    text: tuple[str, ...] = ()  # two names: a pair
    label: str = ""
    labels: tuple[str, ...] = ()  # in the order of the logits; empty: discovered from the training rows, sorted


_PLAIN = Columns()


@dataclass(frozen=True)
class Corpus:
    task: str  # one of bundle.TASKS
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    labels: tuple[str, ...]
    where: str
    sha256: str  # of the files and the labels together
    generated: bool  # True: built-in sentences, not real news
    bad_rows: int  # left out, at most max_bad_rows


class _Bad(NamedTuple):
    path: Path
    row: BadRow


def find(given: str, checkout: Path) -> Path:
    """The corpus: `given`, else $AG_NEWS_DIR, else AG News in the usual places, downloaded, or a generated one.

    A place that was named but holds no corpus is an error; nothing else is tried instead.
    """
    for origin, named in (("CORPUS", given), ("$AG_NEWS_DIR", os.environ.get("AG_NEWS_DIR", ""))):
        if named:
            _files(Path(named), origin)
            return Path(named)
    return ag_news.find(checkout)


def _files(place: Path, origin: str = "CORPUS") -> dict[str, Path]:
    """The file of each split that has one. Raises CorpusError."""
    if place.is_file() and place.suffix in rows.SUFFIXES:
        return {"train": place}
    found = {
        split: [path for suffix in rows.SUFFIXES if (path := place / f"{split}{suffix}").is_file()]
        for split in ("train", "validation", "test")
    }
    twice = [path.name for paths in found.values() if len(paths) > 1 for path in paths]
    if twice or not found["train"]:
        nothing = (
            "no train.*" if place.is_dir() else f"the ending {place.suffix!r}" if place.exists() else "no such file or directory"
        )
        raise CorpusError(
            f"no corpus in {place}",
            expected=f"a file that ends in {', '.join(rows.SUFFIXES)}, or a directory with one such train.* (validation.*, test.*)",
            found=" beside ".join(twice) or nothing,
            where=f"{place}, named by {origin}",
            fix="make train CORPUS=path/to/ag_news, or leave CORPUS out to look in the usual places",
        )
    return {split: paths[0] for split, paths in found.items() if paths}


def load(place: Path, columns: Columns = _PLAIN, *, validation_share: float = 0.0, seed: int = 1, max_bad_rows: int = 0) -> Corpus:
    """Read and check every row, then split. Raises CorpusError naming file:line, rule and value of the first bad rows.

    Up to `max_bad_rows` are left out and counted; never one after which rows cannot be told apart. A label that validation or
    test rows have and training rows lack makes a bad row.
    """
    files = _files(place)
    headerless = not columns.text and not columns.label and ag_news.has_form(files["train"])
    labels = columns.labels or (ag_news.labels(files["train"].parent) if headerless else ())
    if labels and not labelling.are_labels(labels):
        _refuse("the labels that were given are no choice", "two labels or more, each once", _some(labels), str(place))
    read: dict[str, list[Row]] = {}
    bad: list[_Bad] = []
    for split, path in files.items():
        found = ag_news.read(path, labels) if headerless and path.suffix == ".csv" else rows.read(path, columns.text, columns.label)
        read[split] = _sound(path, found, bad)
    _stop_at(bad, read, max_bad_rows)
    task = _task(read, files)
    if not labels:
        read["train"] = _sound(files["train"], _with_a_label(read["train"]), bad)
        _stop_at(bad, read, max_bad_rows)
        labels = labelling.discovered(label for row in read["train"] for label in row.labels)
        if not labelling.are_labels(labels):
            _refuse("the training rows are no choice", "two labels or more", _some(labels) or "none", str(files["train"]))
    examples = _numbered(read, files, labels, bad)
    _stop_at(bad, examples, max_bad_rows)
    return Corpus(
        task=task,
        **_split(examples, validation_share, seed, place),
        labels=labels,
        where=str(place),
        sha256=manifest.sha256_of("\n".join([*map(manifest.sha256, files.values()), *labels]).encode()),
        generated=(files["train"].parent / generated_corpus.MARK).is_file(),
        bad_rows=len(bad),
    )


def _sound(path: Path, found: Iterable[_T | BadRow], bad: list[_Bad]) -> list[_T]:
    """What is no BadRow; those are added to `bad`."""
    sound = []
    for row in found:
        if isinstance(row, BadRow):
            bad.append(_Bad(path, row))
        else:
            sound.append(row)
    return sound


def _stop_at(bad: list[_Bad], sound: Mapping[str, Sequence[Any]], allowed: int) -> None:
    """Raises CorpusError for more bad rows than are allowed, and for one after which rows cannot be told apart."""
    breaks = [one for one in bad if one.row.breaks]
    if not breaks and len(bad) <= allowed:
        return
    first = (breaks or bad)[0]
    shown = [f"{path.name}:{row.line}: {row.rule}; found {row.found}" for path, row in (breaks or bad)[:_SHOWN_BAD_ROWS]]
    total = len(bad) + sum(map(len, sound.values()))
    more = f", {allowed} are allowed" if allowed else ""
    _refuse(
        f"{first.path.name} cannot be read" if breaks else f"{len(bad)} of {total} rows of the corpus break a rule{more}",
        first.row.rule,
        first.row.found,
        f"{first.path}:{first.row.line}",
        "correct or remove these rows, then run the same command again:\n            " + "\n            ".join(shown),
    )


def _task(read: dict[str, list[Row]], files: dict[str, Path]) -> str:
    """The task that the rows of all files are of."""
    tasks = {files[split].name: found[0].task for split, found in read.items() if found}
    if len(set(tasks.values())) > 1:
        found = ", ".join(f"{name} {task}" for name, task in tasks.items())
        _refuse("the files are not of one task", "single texts, pairs or tagged words, the same in all", found, str(files["train"]))
    return next(iter(tasks.values()), "")


def _with_a_label(found: list[Row]) -> Iterator[Row | BadRow]:
    """What only matters where labels are discovered: a name among numbers, and a last row that ends in the middle of its label."""
    counts = Counter(label for row in found for label in row.labels)
    numeric = sum(count for label, count in counts.items() if labelling.is_number(label))
    numbers_rule = numeric * 2 >= counts.total()
    for row in found:
        odd = [word for word, label in enumerate(row.labels) if labelling.is_number(label) != numbers_rule]
        if odd:
            rule = f"a label is a {'number' if numbers_rule else 'name'} like most others, or the labels are given"
            yield row.broken(rule, repr(row.labels[odd[0]][:_SHOWN]), odd[0])
        elif row.may_be_cut and counts[row.labels[-1]] == 1:
            rule = "the last row is whole: it ends with a line end, or has a label that other rows have too"
            yield row.broken(rule, repr(row.labels[-1][:_SHOWN]), len(row.labels) - 1)
        else:
            yield row


def _numbered(
    read: dict[str, list[Row]], files: dict[str, Path], labels: tuple[str, ...], bad: list[_Bad]
) -> dict[str, list[Example]]:
    """Rows with the labels' numbers. Of validation and test rows only those with labels that training rows have."""
    number = labelling.numbers(labels)
    rule = f"a label out of {_some(labels)}"
    examples = {"train": _sound(files["train"], (_example(row, number, rule) for row in read["train"]), bad)}
    seen = {label for _, label in examples["train"] if not isinstance(label, list)}
    seen |= {label for _, tags in examples["train"] if isinstance(tags, list) for label in tags}
    number = {name: i for name, i in number.items() if i in seen}
    rule = f"a label that training rows have: {_some([labels[i] for i in sorted(seen)])}"
    for split in (split for split in files if split != "train"):
        examples[split] = _sound(files[split], (_example(row, number, rule) for row in read[split]), bad)
    return examples


def _example(row: Row, number: Mapping[str, int], rule: str) -> Example | BadRow:
    label = labelling.numbered(row, number, rule)
    return label if isinstance(label, BadRow) else Example(row.text, label)


def _split(examples: dict[str, list[Example]], validation_share: float, seed: int, place: Path) -> dict[str, list[Example]]:
    """Train, validation and test; what has no file of its own is split off the training rows."""
    examples = dict(examples)
    for split, share in (("test", _TEST_SHARE), ("validation", validation_share)):
        if split not in examples:
            rows_kept, held_out = splits.split_off([row.label for row in examples["train"]], share, seed)
            examples[split] = [examples["train"][row] for row in held_out]
            examples["train"] = [examples["train"][row] for row in rows_kept]
    for split in ("train", "test"):
        if not examples[split]:
            _refuse(
                f"the corpus has no {split} rows", "at least one, and two of a label where they are split off", "none", str(place)
            )
    return examples


def sample(examples: list[Example], count: int, seed: int) -> list[int]:
    """Numbers of `count` rows, of each class its share (of a tagger any rows); all when `count` is 0 or too large."""
    if count <= 0 or count >= len(examples):
        return list(range(len(examples)))
    shuffled = random.Random(seed).sample(range(len(examples)), len(examples))
    if isinstance(examples[0].label, list):
        return sorted(shuffled[:count])
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in shuffled:
        by_class[examples[row].label].append(row)
    # The middles of a class's rows lie evenly between 0 and 1: the first `count` of all classes' rows hold each in its share.
    ranked = sorted(((place + 0.5) / len(rows), row) for rows in by_class.values() for place, row in enumerate(rows))
    return sorted(row for _, row in ranked[:count])


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    return ", ".join(labels[:_SHOWN_LABELS]) + more


def _refuse(
    summary: str, expected: str, found: str, where: str, fix: str = "correct it, then run the same command again"
) -> NoReturn:
    raise CorpusError(summary, expected=expected, found=found, where=where, fix=fix)
