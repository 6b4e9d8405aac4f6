"""AG News, found or fetched, or a generated corpus in its form.

`train.csv` and `test.csv` have no header and three quoted columns: class index from 1, title,
description; a `\\` stands for a line break inside a field. Only AG News has its names and its line
breaks.
"""

from __future__ import annotations

import csv
import http.client
import random
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from slipway.contract import manifest
from slipway.contract.formats.rows import BadRow, Row, broken_text

MARK = "GENERATED"  # a file of this name tells a generated corpus from a real one
_ROWS = {"train.csv": 4000, "test.csv": 2400}
_LISTS: dict[str, tuple[list[str], list[str], list[str]]] = {  # label: subject, verb, object
    "World": (
        ["The foreign minister", "A border patrol", "The peace mission", "The parliament", "An election observer"],
        ["met", "accused", "agreed with", "warned", "received", "voted against"],
        ["rebel leaders", "the embassy", "a ceasefire", "the neighbouring government", "refugees at the border"],
    ),
    "Sports": (
        ["The home team", "A young striker", "The defending champion", "The coach", "The relay squad"],
        ["won", "lost", "equalised in", "trained hard for", "was injured before", "broke the record in"],
        ["the cup final", "the second half", "the marathon", "an overtime thriller", "the opening match"],
    ),
    "Business": (
        ["The retailer", "A steel maker", "The central bank", "The airline", "An insurance group"],
        ["reported", "cut", "raised", "missed", "announced", "defended"],
        ["quarterly profit", "its dividend", "interest rates", "thousands of jobs", "the merger price"],
    ),
    "Sci/Tech": (
        ["Researchers", "A chip designer", "The space probe", "A software firm", "Astronomers"],
        ["released", "discovered", "measured", "patched", "launched", "simulated"],
        ["a faster processor", "a security hole", "a distant moon", "an open source browser", "a new particle"],
    ),
}
_CLOSINGS = ["on Monday", "after a long week", "sources said", "for the first time this year", "despite earlier doubts"]
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
        return write_generated(checkout / "data" / "generated")


def _download(target: Path) -> None:
    """Fetch both files and keep them only when their sha256 is the official one. Raises OSError."""
    with manifest.atomic_directory(target) as building:
        for name, expected in SHA256.items():
            with urllib.request.urlopen(f"{ADDRESS}/{name}", timeout=_DOWNLOAD_TIMEOUT) as answer:
                (building / name).write_bytes(answer.read())
            if (sha256 := manifest.sha256(building / name)) != expected:
                raise OSError(f"{name}: expected sha256 {expected}, found {sha256}")


def is_here(directory: Path) -> bool:
    """Return whether a directory has AG News, a sample of it, or the generated corpus.

    Rows in the same form are published of other texts, too: Amazon's, Yelp's, DBpedia's.
    """
    names = directory / "classes.txt"
    if names.is_file() and names.read_bytes().split() == [name.encode() for name in LABELS]:
        return True
    files = {name: directory / name for name in SHA256}
    return any(path.is_file() and manifest.sha256(path) == SHA256[name] for name, path in files.items())


def with_line_breaks(row: Row) -> Row | BadRow:
    """Return a row of AG News with spaces for its line breaks, which are written as a backslash."""
    text = " ".join(str(row.text).replace("\\", " ").split())
    if text == row.text:
        return row
    return row.broken(*broken) if (broken := broken_text(text)) else row._replace(text=text)


@dataclass(frozen=True)
class Published:
    """Test accuracies of others, as bundle.json names them."""

    source: str
    trained_on: str
    test_accuracy: dict[str, float]  # by model


AG_NEWS = Published(
    source="README of NVAITC/bert-finetune, 'Classification Performance', the example that this training replaces",
    trained_on="all 120,000 training rows",
    test_accuracy={"BERT-base": 0.941, "BERT-large": 0.946, "XLNet": 0.955},
)


def beside(corpus: Path) -> Published | None:
    """Return the accuracies on the corpus' test rows; None unless these are AG News' own."""
    test = corpus / "test.csv"
    return AG_NEWS if test.is_file() and manifest.sha256(test) == SHA256["test.csv"] else None


def write_generated(target: Path, seed: int = 1) -> Path:
    """Write the corpus and its mark into `target`, the same for the same seed; return `target`."""
    source, written = random.Random(seed), set[str]()
    with manifest.atomic_directory(target) as building:
        for name, rows in _ROWS.items():
            with (building / name).open("w", encoding="utf-8", newline="") as file:
                new = (_new_row(source, row, written) for row in range(rows))
                csv.writer(file, quoting=csv.QUOTE_ALL).writerows(new)
        (building / "classes.txt").write_text("\n".join(_LISTS) + "\n", "utf-8")
        (building / MARK).write_text("Generated sentences, not news: see train/data/ag_news.py\n", "utf-8")
    return target


def _new_row(source: random.Random, row: int, written: set[str]) -> tuple[str, str, str]:
    """Return a row whose text is not among `written`, where it is added."""
    while (text := " ".join((new := _generated_row(source, row))[1:]).strip()) in written:
        continue
    written.add(text)
    return new


def _generated_row(source: random.Random, row: int) -> tuple[str, str, str]:
    """Return a row; one in twenty borrows a sentence, so that accuracy is not exactly 1."""
    names = list(_LISTS)
    label = row % len(names)
    sentences = [_sentence(source, names[label]) for _ in range(source.randint(1, 5))]
    if source.random() < 0.05:
        sentences.append(_sentence(source, source.choice(names)))
    return str(label + 1), sentences[0], " ".join(sentences[1:])


def _sentence(source: random.Random, label: str) -> str:
    subject, verb, direct_object = (source.choice(words) for words in _LISTS[label])
    return f"{subject} {verb} {direct_object} {source.choice(_CLOSINGS)}."
