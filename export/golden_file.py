"""Labelled rows out of a person's own file: what a model that was not trained here is compared on.

    rows.csv, rows.tsv   a header with the columns text and label; of pairs text, text_b and label
    rows.jsonl           {"text": "…", "label": "…"}; of pairs {"text": ["…", "…"], …}
    rows.conll           a word and its tag a line, in the first and the last column; an empty line between sentences

A label is one of the names in labels.txt, or its number.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from train.errors import CorpusError

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".conll")


@dataclass(frozen=True)
class Rows:
    task: str  # one of bundle.TASKS
    texts: list[Any]  # str; of a pair [str, str]; of a tagger the words, list[str]
    labels: list[Any]  # int; of a tagger list[int], one a word


def read(path: Path, names: list[str]) -> Rows:
    """The rows of a file, `names` being the labels. Raises CorpusError by file and line."""
    if path.suffix not in _SUFFIXES or not path.is_file():
        raise CorpusError(
            "the golden rows cannot be read",
            expected=f"a file that ends in {', '.join(_SUFFIXES)}",
            found="no such file" if path.suffix in _SUFFIXES else f"the ending {path.suffix!r}",
            where=str(path),
            mend="make export … GOLDEN=rows.csv, with a header text,label",
        )
    if len(set(names)) < max(len(names), 2) or "" in names:
        _refuse(path, 0, "two labels or more in labels.txt, each once", str(names))
    number = {name: i for i, name in enumerate(names)}
    if not any(name.lstrip("-").isdigit() for name in names):  # or 1 would be a name and a number
        number |= {str(i): i for i in range(len(names))}
    try:
        found = list({".jsonl": _json_lines, ".conll": _conll}.get(path.suffix, _table)(path, number))
    except UnicodeDecodeError as error:
        _refuse(path, 0, "UTF-8", repr(error))
    tasks = {
        "tagging" if isinstance(label, list) else "text_pair" if isinstance(text, list) else "single_text" for text, label in found
    }
    if len(tasks) != 1:
        _refuse(path, 0, "rows, all of single texts or all of pairs", f"{len(found)} rows, {sorted(tasks)}")
    return Rows(tasks.pop(), [text for text, _ in found], [label for _, label in found])


def _table(path: Path, number: dict[str, int]) -> Iterator[tuple[Any, int]]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a byte order mark
        rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        if not {"text", "label"} <= set(rows.fieldnames or ()):
            _refuse(path, 1, "a header with the columns text and label", str(rows.fieldnames))
        for row in rows:
            text, second, label = row["text"], row.get("text_b"), row["label"]
            if text is None or label not in number:
                _refuse(path, rows.line_num, f"a label out of {list(number)}", repr(label))
            yield (text if second is None else [text, second]), number[label]


def _json_lines(path: Path, number: dict[str, int]) -> Iterator[tuple[Any, int]]:
    with path.open(encoding="utf-8") as file:
        for at, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                text, label = row["text"], str(row["label"])
            except (ValueError, KeyError, TypeError) as error:
                _refuse(path, at, '{"text": …, "label": …}', repr(error))
            pair = isinstance(text, list) and [type(one) for one in text] == [str, str]
            if label not in number or not (pair or isinstance(text, str)):
                _refuse(path, at, f"a text or two, and a label out of {list(number)}", line.strip()[:200])
            yield text, number[label]


def _conll(path: Path, number: dict[str, int]) -> Iterator[tuple[list[str], list[int]]]:
    words: list[str] = []
    tags: list[int] = []
    with path.open(encoding="utf-8") as file:
        for at, line in enumerate((*file, ""), 1):
            columns = line.split()
            if not columns or columns[0] == "-DOCSTART-":
                if words:
                    yield words, tags
                words, tags = [], []
            elif len(columns) < 2 or columns[-1] not in number:
                _refuse(path, at, f"a word and a tag out of {list(number)}", line.strip()[:200])
            else:
                words.append(columns[0])
                tags.append(number[columns[-1]])


def _refuse(path: Path, line: int, expected: str, found: str) -> NoReturn:
    where = f"{path}:{line}" if line else str(path)
    raise CorpusError(
        "the golden rows cannot be used", expected=expected, found=found, where=where, mend=f"correct {path.name} and run it again"
    )
