"""AG News in its canonical form, found or fetched, with every row checked.

`train.csv` and `test.csv` have no header and three quoted columns: class index from 1, title,
description; a `\\` stands for a line break inside a field. Line i of `classes.txt` (optional)
names class i.
"""

from __future__ import annotations

import csv
import http.client
import io
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from train import generated_corpus, manifest, rows
from train.errors import CorpusError
from train.rows import BadRow, Row, Unreadable

LABELS = ("World", "Sports", "Business", "Sci/Tech")
ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
SHA256 = {
    "train.csv": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
    "test.csv": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
}
_DOWNLOAD_TIMEOUT = 20  # seconds without an answer


def find(checkout: Path) -> Path:
    """Return the place of AG News, downloaded if need be, or else of a generated corpus."""
    downloaded = checkout / "data" / "ag_news"
    for place in (downloaded, checkout.parent / "shared" / "data" / "ag_news"):
        if all((place / name).is_file() for name in SHA256):
            return place
    try:
        _download(downloaded)
        return downloaded
    except (OSError, http.client.HTTPException) as error:
        print(
            "\n!!! AG News is not on this machine and could not be downloaded"
            f" ({error}).\n!!! Going on with a GENERATED corpus: the way is real, its accuracy says nothing about news.\n"
            "!!! For real figures: --corpus path/to/ag_news (a directory with train.csv and test.csv)\n",
            flush=True,
        )
        return generated_corpus.write(checkout / "data" / "generated")


def _download(target: Path) -> None:
    """Fetch both files and keep them only when their sha256 is the official one. Raises OSError."""
    with manifest.atomic_directory(target) as building:
        for name, expected in SHA256.items():
            with urllib.request.urlopen(f"{ADDRESS}/{name}", timeout=_DOWNLOAD_TIMEOUT) as answer:
                (building / name).write_bytes(answer.read())
            if (sha256 := manifest.sha256(building / name)) != expected:
                raise OSError(f"{name}: expected sha256 {expected}, found {sha256}")


def has_form(path: Path) -> bool:
    """Return whether a file is meant to be in this form, not to have a header of column names."""
    if path.suffix != ".csv":
        return False
    try:
        content = rows.decoded(path)
        first, second = [*islice(filter(None, csv.reader(io.StringIO(content, newline=""))), 2), [""], [""]][:2]
    except Unreadable:
        return False
    except csv.Error:  # a field without an end, which is reported when all rows are read
        return content.lstrip('"')[:1].isdigit()
    if {"text", "label"} <= {name.strip() for name in first}:
        return False
    under_a_header = len(first) == len(second) == 3 and second[0].isdigit()
    return first[0].isdigit() or under_a_header or (path.parent / "classes.txt").is_file()


def labels(directory: Path) -> tuple[str, ...]:
    """Return the names in classes.txt, or AG News' own without one. Raises CorpusError."""
    path = directory / "classes.txt"
    if not path.is_file():
        return LABELS
    try:
        content = rows.decoded(path)
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


def read(path: Path, names: tuple[str, ...]) -> Iterator[Row | BadRow]:
    """Yield the rows of train.csv or test.csv with their labels' names, bad ones among them."""
    return rows.complete(_parsed(path, names))


def _parsed(path: Path, names: tuple[str, ...]) -> Iterator[Row | BadRow]:
    content = rows.decoded(path)
    records = rows.table(content)
    for number, (line, columns) in enumerate(records, 1):
        may_be_cut = number == len(records) and not rows.ends_in_a_line(content)
        yield _row(line, columns, may_be_cut, names)


def _row(line: int, columns: list[str], may_be_cut: bool, names: tuple[str, ...]) -> Row | BadRow:
    if len(columns) != 3:
        return BadRow(line, "a row has 3 columns: class index, title, description", f"{len(columns)} columns")
    if columns[0] not in {str(index) for index in range(1, len(names) + 1)}:
        also = ", in the first row too: this form has no header" if line == 1 else ""
        return BadRow(line, f"the class index is 1 to {len(names)}{also}", repr(columns[0][:40]))
    if may_be_cut and not columns[2]:
        return BadRow(line, "the last row is whole", "an empty description without a line end")
    text = " ".join(" ".join(columns[1:]).replace("\\", " ").split())
    if broken := rows.broken_text(text):
        return BadRow(line, *broken)
    return Row(line, text, names[int(columns[0]) - 1])
