"""AG News in its canonical form, found or fetched, and every row checked before anything is trained on it.

`train.csv` and `test.csv` have no header and three quoted columns: class index from 1, title, description; a `\\` stands
for a line break inside a field. Line i of `classes.txt` (optional) names class i.
"""

from __future__ import annotations

import csv
import http.client
import io
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from train import generated_corpus, manifest
from train.errors import CorpusError
from train.rows import BadRow, Row, broken_text, decoded, table

LABELS = ("World", "Sports", "Business", "Sci/Tech")
ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
SHA256 = {
    "train.csv": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
    "test.csv": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
}
_DOWNLOAD_TIMEOUT = 20  # seconds without an answer


def find(checkout: Path) -> Path:
    """data/ag_news, ../shared/data/ag_news, a download, or else a generated corpus, which is said loudly."""
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
            "!!! For real figures: CORPUS=path/to/ag_news (a directory with train.csv and test.csv)\n",
            flush=True,
        )
        return generated_corpus.write(checkout / "data" / "generated")


def _download(target: Path) -> None:
    """Fetch both files and keep them only when their sha256 is the official one. Raises OSError."""
    with manifest.atomic_directory(target) as building:
        for name, expected in SHA256.items():
            with urllib.request.urlopen(f"{ADDRESS}/{name}", timeout=_DOWNLOAD_TIMEOUT) as answer:
                (building / name).write_bytes(answer.read())
            found = manifest.sha256(building / name)
            if found != expected:
                raise OSError(f"{name}: expected sha256 {expected}, found {found}")


def has_form(path: Path) -> bool:
    """Whether a file is meant to be AG News': not one with a header of columns to be named."""
    content = decoded(path)
    if path.suffix != ".csv" or isinstance(content, BadRow):
        return False
    try:
        first, second = [*islice(filter(None, csv.reader(io.StringIO(content, newline=""))), 2), [""], [""]][:2]
    except csv.Error:  # a field without an end: what is wrong is told when all rows are read
        return content.lstrip('"')[:1].isdigit()
    if {"text", "label"} <= {name.strip() for name in first}:
        return False
    under_a_header = len(first) == len(second) == 3 and second[0].isdigit()
    return first[0].isdigit() or under_a_header or (path.parent / "classes.txt").is_file()


def labels(directory: Path) -> tuple[str, ...]:
    """The names in classes.txt, or else AG News' own. Raises CorpusError."""
    path = directory / "classes.txt"
    if not path.is_file():
        return LABELS
    content = decoded(path)
    names = () if isinstance(content, BadRow) else tuple(name.strip() for name in content.rstrip("\r\n").split("\n"))
    if len(names) < 2 or not all(names):
        raise CorpusError(
            "the class names cannot be read",
            expected="UTF-8, at least two lines, a name on each",
            found=content.found if isinstance(content, BadRow) else repr(content[:60]),
            where=str(path),
            fix="correct the file, then run the same command again",
        )
    return names


def read(path: Path, names: tuple[str, ...]) -> Iterator[Row | BadRow]:
    """The rows of train.csv or test.csv with their labels' names, and those that break a rule."""
    content = decoded(path)
    records = [content] if isinstance(content, BadRow) else table(content)
    if not records:
        yield BadRow(1, "a file has at least one row", "0 rows", True)
    for record in records:
        yield record if isinstance(record, BadRow) else _row(record.line, record.columns, record.ended, names)


def _row(line: int, columns: list[str], ended: bool, names: tuple[str, ...]) -> Row | BadRow:
    if len(columns) != 3:
        return BadRow(line, "a row has 3 columns: class index, title, description", f"{len(columns)} columns")
    if columns[0] not in {str(index) for index in range(1, len(names) + 1)}:
        also = ", in the first row too: this form has no header" if line == 1 else ""
        return BadRow(line, f"the class index is 1 to {len(names)}{also}", repr(columns[0][:40]))
    if not ended and not columns[2]:
        return BadRow(line, "the last row is whole", "an empty description without a line end")
    text = " ".join(" ".join(columns[1:]).replace("\\", " ").split())
    if broken := broken_text(text):
        return BadRow(line, *broken)
    return Row(line, text, names[int(columns[0]) - 1])
