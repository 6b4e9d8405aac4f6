"""Labelled rows out of a person's own file, which an imported model is compared on.

The files are those that training reads (train/rows.py): .csv and .tsv with a header text,label or
text,text_b,label; .jsonl; and .conll. A label is one of the names in labels.txt, or its number,
from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from train import errors, labelling, rows
from train.errors import CorpusError


@dataclass(frozen=True)
class GoldenRows:
    task: str  # one of bundle.TASKS
    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    labels: list[Any]  # int; tagger: list[int], one a word


def read_golden_rows(path: Path, names: list[str]) -> GoldenRows:
    """Read the rows of a file, `names` being the labels. Raises CorpusError by file and line."""
    if path.suffix not in rows.SUFFIXES or not path.is_file():
        raise CorpusError(
            "the golden rows cannot be read",
            expected=f"a file that ends in {', '.join(rows.SUFFIXES)}",
            found="no such file" if path.suffix in rows.SUFFIXES else f"the ending {path.suffix!r}",
            where=str(path),
            fix=f"{errors.command('import', 'RUN', '--golden', 'rows.csv')} …, with a header text,label",
        )
    if not labelling.are_labels(names):
        _refuse_rows(str(path), "two labels or more in labels.txt, each once", str(names))
    number = labelling.numbers(names)
    rule = f"a label out of {list(number)}"
    task = ""
    texts: list[Any] = []
    labels: list[Any] = []
    for row in rows.read(path):
        if isinstance(row, rows.BadRow):
            _refuse_rows(f"{path}:{row.line}", row.rule, row.found)
        label = labelling.numbered(row, number, rule)
        if isinstance(label, rows.BadRow):
            _refuse_rows(f"{path}:{label.line}", label.rule, label.found)
        task = row.task
        texts.append(list(row.text) if isinstance(row.text, tuple) else row.text)
        labels.append(label)
    return GoldenRows(task, texts, labels)


def _refuse_rows(where: str, expected: str, found: str) -> NoReturn:
    fix = "correct the file and run it again"
    raise CorpusError("the golden rows cannot be used", expected=expected, found=found, where=where, fix=fix)
