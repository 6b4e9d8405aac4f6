"""Reads the cases' labelled data up to where training would begin, and does what a refusal advises.

The good answers are in good_data.py.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases.answers import Answer
from benchmarks.cases.good_data import CORPORA, Good
from slipway.errors import SlipwayError
from train import options, settings
from train.data.corpus import Corpus, Example

_TAKEN = 0
_SHOWN_LABELS = 14
_NOT_A_CASE = (".py", ".pyc")
_TRAIN = re.compile(r"^\W*(?:.*: )?(?:(?P<before>.+) && )?\S*slipway train (?P<words>.+)$", re.MULTILINE)


def answers(cases: Path) -> Iterator[Answer]:
    """Read each file and directory of a folder; after a refusal, with the command of its fix."""
    for folder in sorted(cases.glob("d*/")):
        for corpus in sorted(folder.iterdir()):
            if corpus.suffix not in _NOT_A_CASE and corpus.name != "__pycache__":
                yield from _case(corpus, str(corpus.relative_to(cases)))


def _case(corpus: Path, case: str) -> Iterator[Answer]:
    """Work on a copy, because a fix may be to change the file."""
    good = CORPORA.get(case)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / corpus.name
        (shutil.copytree if corpus.is_dir() else shutil.copyfile)(corpus, copy)
        answer, fix = _read(case, good, ["RUN", "--corpus", str(copy)])
        yield answer
        if good and good.fixed:
            yield _fixed(f"{case}, as its fix says", good.fixed, fix)


def _fixed(case: str, good: Good, fix: str) -> Answer:
    """Read the corpus by the first command in a fix that trains; what stands before it is run."""
    command = _TRAIN.search(fix)
    if not command:
        return Answer(case, 1, f"no command in the fix: {fix}", good=False)
    if command["before"]:
        subprocess.run(shlex.split(command["before"]), check=False, timeout=60)
    return _read(case, good, shlex.split(command["words"]))[0]


def _read(case: str, good: Good | None, words: Sequence[str]) -> tuple[Answer, str]:
    """Return the answer to `slipway train` with these words, and its fix, which may be none."""
    parser = argparse.ArgumentParser()
    options.train_options(parser)
    try:
        status, text, fix = _TAKEN, _described(settings.corpus_of(parser.parse_args(words))), ""
    except SlipwayError as error:
        status, text, fix = error.exit_code, f"error: {error.summary}: {error.found}\n{error}", error.fix
    except (Exception, SystemExit) as error:  # a traceback is never a good answer, nor a wrong option
        return Answer(case, 1, repr(error), good=False), ""
    return Answer(case, status, text, good.matches(status, text) if good else None), fix


def _described(data: Corpus) -> str:
    """Return each row as `text → label` behind a line break, what is said of all, and a summary."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    rows = [_row(example, data.labels) for split in splits.values() for example in split]
    labels = ", ".join(data.labels[:_SHOWN_LABELS]) + (" …" if len(data.labels) > _SHOWN_LABELS else "")
    counts = ", ".join(f"{len(split)} {name}" for name, split in splits.items())
    summary = f"{data.task}, {len(data.labels)} labels: {labels}; {len(rows)} rows: {counts}"
    return "\n".join(["", *rows, *(data.card.lines() if data.card else ()), *data.warnings, summary])


def _row(example: Example, labels: Sequence[str]) -> str:
    text: Any = example.text
    if isinstance(example.label, list):
        return " ".join(f"{word}/{labels[tag]}" for word, tag in zip(text, example.label, strict=True))
    return f"{' | '.join(text) if isinstance(text, tuple) else text} → {labels[example.label]}"
