"""AG News in its canonical form, found or fetched, and every row checked before anything is trained on it.

`train.csv` and `test.csv` have no header and three quoted columns: class index from 1, title, description; a `\\` stands
for a line break inside a field. Line i of `classes.txt` (optional) names class i.
"""

from __future__ import annotations

import csv
import http.client
import io
import os
import random
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from train import generated_corpus, manifest
from train.errors import CorpusError

AG_NEWS_LABELS = ("World", "Sports", "Business", "Sci/Tech")
AG_NEWS_ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
AG_NEWS_SHA256 = {
    "train.csv": "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
    "test.csv": "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
}
_SHOWN_BAD_ROWS = 5
_DOWNLOAD_TIMEOUT = 20  # seconds without an answer


class Example(NamedTuple):
    text: str
    label: int  # 0-based index into Corpus.labels


@dataclass(frozen=True)
class Corpus:
    train: list[Example]
    test: list[Example]
    labels: tuple[str, ...]
    where: str
    sha256: str  # of train.csv, test.csv and the labels together
    generated: bool  # True: built-in sentences, not real news


class _BadRow(NamedTuple):
    line: int
    rule: str
    value: str


def find(given: str, checkout: Path) -> Path:
    """The corpus directory: `given`, else $AG_NEWS_DIR, data/ag_news, ../shared/data/ag_news, a download, a generated one.

    A directory that was named but is not there is an error; nothing else is tried in its place.
    """
    for origin, named in (("CORPUS", given), ("$AG_NEWS_DIR", os.environ.get("AG_NEWS_DIR", ""))):
        if named:
            return _named_directory(Path(named), origin)
    downloaded = checkout / "data" / "ag_news"
    for place in (downloaded, checkout.parent / "shared" / "data" / "ag_news"):
        if all((place / name).is_file() for name in AG_NEWS_SHA256):
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


def _named_directory(place: Path, origin: str) -> Path:
    for name in AG_NEWS_SHA256:
        if not (place / name).is_file():
            raise CorpusError(
                f"no corpus in {place}",
                expected="a directory with train.csv and test.csv (class index, title, description)",
                found=f"no {name}" if place.is_dir() else "no such directory",
                where=f"{place / name}, named by {origin}",
                mend="make demo CORPUS=path/to/ag_news, or leave CORPUS out to look in the usual places",
            )
    return place


def _download(target: Path) -> None:
    """Fetch both files and keep them only when their sha256 is the official one. Raises OSError."""
    with manifest.atomic_directory(target) as building:
        for name, expected in AG_NEWS_SHA256.items():
            with urllib.request.urlopen(f"{AG_NEWS_ADDRESS}/{name}", timeout=_DOWNLOAD_TIMEOUT) as answer:
                (building / name).write_bytes(answer.read())
            found = manifest.sha256(building / name)
            if found != expected:
                raise OSError(f"{name}: expected sha256 {expected}, found {found}")


def load(directory: Path) -> Corpus:
    """Read and check every row. Raises CorpusError naming file:line, rule and value of the first bad rows."""
    labels = _labels(directory)
    splits = {name: _read(directory / name, len(labels)) for name in AG_NEWS_SHA256}
    parts = [manifest.sha256(directory / name) for name in splits] + [*labels]
    return Corpus(
        train=splits["train.csv"],
        test=splits["test.csv"],
        labels=labels,
        where=str(directory),
        sha256=manifest.sha256_of("\n".join(parts).encode()),
        generated=(directory / generated_corpus.MARK).is_file(),
    )


def _labels(directory: Path) -> tuple[str, ...]:
    path = directory / "classes.txt"
    if not path.is_file():
        return AG_NEWS_LABELS
    text, bad = _utf8(path)
    labels = tuple(text.rstrip("\n").split("\n"))
    if bad or len(labels) < 2 or not all(labels):
        raise CorpusError(
            "the class names cannot be read",
            expected="UTF-8, at least two lines, a name on each",
            found=bad.value if bad else repr(text[:60]),
            where=str(path),
            mend="correct the file, then run the same command again",
        )
    return labels


def _read(path: Path, classes: int) -> list[Example]:
    bad: list[_BadRow] = []
    examples: list[Example] = []
    for item in _rows(path, classes):
        if isinstance(item, Example):
            examples.append(item)
        else:
            bad.append(item)
    if not examples and not bad:
        bad.append(_BadRow(1, "a corpus file has at least one row", "an empty file"))
    if bad:
        shown = [f"{path.name}:{row.line}: {row.rule}; found {row.value}" for row in bad[:_SHOWN_BAD_ROWS]]
        raise CorpusError(
            f"{len(bad)} of {len(bad) + len(examples)} rows of {path.name} are not AG News rows",
            expected=bad[0].rule,
            found=bad[0].value,
            where=f"{path}:{bad[0].line}",
            mend="correct or remove these rows, then run the same command again:\n            " + "\n            ".join(shown),
        )
    return examples


def _rows(path: Path, classes: int) -> Iterator[Example | _BadRow]:
    text, bad_byte = _utf8(path)
    if bad_byte is not None:
        yield bad_byte
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            columns = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _BadRow(line, "every field is quoted, and quotes inside are doubled", str(error))
            return  # after a broken quote, rows cannot be told apart
        broken = _broken_rule(columns, classes)
        yield _BadRow(line, *broken) if broken else Example(_text(columns[1:]), int(columns[0]) - 1)


def _utf8(path: Path) -> tuple[str, _BadRow | None]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return "", _BadRow(line, "the file is UTF-8", f"byte 0x{data[error.start]:02x} at offset {error.start}")
    return text, None


def _broken_rule(columns: Sequence[str], classes: int) -> tuple[str, str] | None:
    """(rule, found) of the first rule this row breaks."""
    if len(columns) != 3:
        return "a row has 3 columns: class index, title, description", f"{len(columns)} columns"
    if columns[0] not in {str(index) for index in range(1, classes + 1)}:
        return f"the class index is 1 to {classes}", repr(columns[0][:40])
    if not _text(columns[1:]):
        return "title and description together hold a text", "an empty text"
    if any("\0" in column for column in columns):
        return "a text holds no NUL character", "NUL"
    return None


def _text(columns: Sequence[str]) -> str:
    """Title and description as one text, the corpus' line breaks (`\\`) as spaces."""
    return " ".join(" ".join(columns).replace("\\", " ").split())


def sample(examples: list[Example], count: int, seed: int) -> list[int]:
    """Numbers of `count` rows, the classes in equal shares as far as they go; all rows when `count` is 0 or too large."""
    if count <= 0 or count >= len(examples):
        return list(range(len(examples)))
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in random.Random(seed).sample(range(len(examples)), len(examples)):
        by_class[examples[row].label].append(row)
    taken: list[int] = []
    while len(taken) < count:
        for rows in by_class.values():
            if rows and len(taken) < count:
                taken.append(rows.pop())
    return sorted(taken)
