"""The examples that a model is trained, validated and tested on: AG News, or a person's own files.

A place is a file or a directory (train/data/files/). Without test rows a tenth of the rows is the
test split. Every row is checked before the first step, and equal texts are in one split. The
formats are described in slipway/contract/readers.py, what a label may be in train/data/labels/.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from slipway import errors
from slipway.contract import labelling, readers
from slipway.contract.labelling import Unlabelled
from slipway.contract.readers import BadRow, Row
from train.data import ag_news, card, reading
from train.data.bad_rows import BadRows, refuse, task_of
from train.data.card import Card, LeftOut
from train.data.files import places
from train.data.labels import label_names
from train.data.reading import Columns
from train.data.splitting import labels_of, leaked_rows, sample, split_off_texts, without_leaks
from train.options import LEAKS

_MOST_OF_A_CLASS = 0.2  # of a split's rows, that are left out as a class of its own
_SHOWN_LEAKS = 3


class Example(NamedTuple):
    """A checked row with the number of its label."""

    text: Any  # str; pair: tuple[str, str]; tagger: the words, list[str]
    label: Any  # int, an index into Corpus.labels; tagger: list[int], one a word


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
    warnings: tuple[str, ...] = ()  # what may make its figures wrong
    unlabelled: Unlabelled | None = None  # golden rows beside the test rows
    card: Card | None = None


def find(given: str, checkout: Path, command: str = "slipway train RUN") -> Path:
    """Return the corpus: `given`, else $AG_NEWS_DIR, else AG News or a generated corpus.

    AG News is looked for in the usual places, then downloaded. Raises CorpusError when a place that
    was named holds no corpus; nothing else is tried instead. Its fix is `command` with another one.
    """
    for origin, named in (("--corpus", given), ("$AG_NEWS_DIR", os.environ.get("AG_NEWS_DIR", ""))):
        if named:
            places.files(Path(named), origin, command)
            return Path(named)
    return ag_news.find(checkout)


def load(
    place: Path,
    columns: Columns = _PLAIN,
    *,
    test_share: float = 0.1,
    validation_share: float = 0.0,
    train_rows: int = 0,
    seed: int = 1,
    max_bad_rows: int = 0,
    leaks: str = "refuse",
    command: str = "slipway train RUN",
) -> Corpus:
    """Read and check every row, then split, and sample `train_rows` of the training rows (0: all).

    Up to `max_bad_rows` are left out and counted, but never one after which rows cannot be told
    apart. A label that validation or test rows have and training rows lack makes a bad row. Texts
    that are in two splits are refused, removed from training, or kept, as `leaks` says.
    Raises CorpusError naming file:line, rule and value of the first bad rows; where an option reads
    them, its fix is `command` with this option.
    """
    files = places.files(place, "--corpus", command)
    bad, notes = BadRows(max_bad_rows, command), list[str]()
    read = reading.rows_of(files, columns, bad, notes, command)
    bad.check(read)
    files, rows_read = {split: files[split] for split in read}, _count(read)
    read = {split: [row for row in rows if row.label not in columns.missing] for split, rows in read.items()}
    task = task_of(read, files)
    read, labels = reading.named(read, files, columns, bad, notes, command)
    leaked = _checked_leaks(read, files, leaks, command)
    before = _count(read)
    read = without_leaks(read) if leaks == "remove" else read
    left_out = LeftOut(bad.by_rule(), rows_read - before, before - _count(read))
    examples = _numbered(read, files, labels, columns.missing, bad)
    bad.check(examples)
    _split(examples, {"test": test_share, "validation": validation_share}, seed, place)
    _keep_sample(examples, train_rows, seed)
    examples = {split: examples[split] for split in ("train", "validation", "test")}
    alike = labelling.look_alikes(labels)
    facts = card.card(examples, labels, left_out, leaked, leaks, notes)
    return Corpus(
        task=task,
        train=examples["train"],
        validation=examples["validation"],
        test=examples["test"],
        labels=labels,
        where=str(place),
        sha256=_sha256(files, labels, columns, leaks),
        generated=(files["train"].parent / ag_news.MARK).is_file(),
        bad_rows=len(bad.rows),
        warnings=(*notes, *alike, *_of_one_class(examples["test"], labels), *facts.warnings()),
        card=facts,
    )


def _count(read: Mapping[str, Sequence[Any]]) -> int:
    return sum(map(len, read.values()))


def _checked_leaks(read: dict[str, list[Row]], files: dict[str, Path], policy: str, command: str) -> dict[str, int]:
    """Count the rows of each split that are judged by and trained with. Raises CorpusError.

    AG News' own test rows are kept as they were published, so that accuracies can be compared.
    """
    found = leaked_rows(read)
    if found and policy == "refuse" and not ag_news.beside(files["train"].parent):
        split, rows = next(iter(found.items()))
        others = " or ".join(sorted({leak.of for leak in rows})).replace("train", "training")
        places_of = [
            f"{files[split].name}:{leak.row.line} is {files[leak.of].name}:{leak.other.line}" for leak in rows[:_SHOWN_LEAKS]
        ]
        remove, keep = (errors.with_options(command, ("--leaks", policy)) for policy in LEAKS[1:])
        refuse(
            f"{len(rows)} of {len(read[split])} {split} rows are {others} rows, too",
            "each text in one split, but for case and white space: else accuracy is of what was learned by heart",
            "; ".join(places_of),
            str(files[split]),
            f"{remove}\n            leaves them out of training; to keep them: {keep}",
        )
    return {split: len(rows) for split, rows in found.items()}


def _sha256(files: dict[str, Path], labels: tuple[str, ...], columns: Columns, policy: str) -> str:
    """Return the sha256 of the files and labels, and of the options that leave out rows of them."""
    left_out = [*columns.missing, *(["--leaks remove"] if policy == "remove" else [])]
    return hashlib.sha256("\n".join([*map(readers.sha256, files.values()), *labels, *left_out]).encode()).hexdigest()


def _of_one_class(test: list[Example], labels: tuple[str, ...]) -> list[str]:
    """Return a warning when all test rows have the same label."""
    classes = set().union(*(labels_of(example.label) for example in test))
    if len(classes) > 1:
        return []
    return [f"the test rows are all of {labels[classes.pop()]!r}: a model that always gives this answer would pass"]


def _numbered(
    read: dict[str, list[Row]], files: dict[str, Path], labels: tuple[str, ...], missing: tuple[str, ...], bad: BadRows
) -> dict[str, list[Example]]:
    """Return rows with their labels' numbers; other splits may only have training rows' labels.

    A label that several of their rows have, but few of them, is a class of its own, which an option
    leaves out.
    """
    number = labelling.numbers(labels)
    rule = f"a label out of {label_names.some(labels)}"
    examples = {}
    for split in ("train", *(split for split in files if split != "train")):
        counts = Counter(row.label for row in read[split] if split != "train" and isinstance(row.label, str))
        examples[split] = bad.taken_out(files[split], (_example(row, number, rule, counts, missing) for row in read[split]))
        if split == "train":
            seen = {label for _, tags in examples["train"] for label in (tags if isinstance(tags, list) else [tags])}
            number = {name: i for name, i in number.items() if i in seen}
            rule = f"a label that training rows have: {label_names.some([labels[i] for i in sorted(seen)])}"
    return examples


def _example(
    row: Row, number: Mapping[str, int], rule: str, counts: Mapping[str, int], missing: tuple[str, ...]
) -> Example | BadRow:
    label = labelling.numbered(row, number, rule)
    if not isinstance(label, BadRow):
        return Example(row.text, label)
    again = isinstance(row.label, str) and 1 < counts.get(row.label, 0) <= _MOST_OF_A_CLASS * sum(counts.values())
    return label._replace(options=("--missing-label", *missing, *row.labels)) if again else label


def _split(examples: dict[str, list[Example]], shares: Mapping[str, float], seed: int, place: Path) -> None:
    """Take splits without a file out of the training rows. Raises CorpusError for an empty one."""
    for split, share in shares.items():
        if split not in examples:
            train = examples["train"]
            kept, held_out = split_off_texts(train, share, seed)
            examples[split] = [train[row] for row in held_out]
            examples["train"] = [train[row] for row in kept]
    for split in ("train", "test"):
        if not examples[split]:
            expected = "at least one, and two different texts of a label where they are split off"
            refuse(f"the corpus has no {split} rows", expected, "none", str(place))


def _keep_sample(examples: dict[str, list[Example]], train_rows: int, seed: int) -> None:
    """Keep `train_rows` training rows (0: all), and as large a share of the validation rows."""
    share = train_rows / len(examples["train"])
    if 0 < share < 1:
        for split in ("train", "validation"):
            chosen = sample([example.label for example in examples[split]], max(1, round(share * len(examples[split]))), seed)
            examples[split] = [examples[split][row] for row in chosen]
