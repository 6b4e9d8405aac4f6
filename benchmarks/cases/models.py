"""Imports the cases' models, each with the vocabulary, labels and rows beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.cases.answers import Answer

_COMMAND = [sys.executable, "-m", "slipway.cli"]
_TAKEN = 0
# A case's folder or file → what its refusal says; a model that is not here is imported with all its
# rows right.
_REFUSALS = {
    "a05-tf-text-op": "CaseFoldUTF8",
    "a06-text-in-lookup": "takes texts",
    "a08-huggingface-tree/model.keras": "a model of Keras",
    "a08-huggingface-tree/frozen_graph.pb": "a frozen graph",
    "a08-huggingface-tree/my-model/tf_model.h5": "a model of Keras",
    "a08-huggingface-tree/nothing": "no such path",
    "a09-heads/multi-label": "multi-label",
    "a14-vocab-bytes/no-unk.txt": "no [UNK]",
    "a14-vocab-bytes/lower-case-special.txt": "but [unk]",
    "a14-vocab-bytes/pad-second.txt": "[PAD] in line 2",
    "a14-vocab-bytes/utf-16.txt": "UTF-16",
    "a14-vocab-bytes/latin-1.txt": "0xe9",
    "a14-vocab-bytes/with-counts.txt": "counts behind a tab",
}


def answers(cases: Path) -> Iterator[Answer]:
    """Import each model with what lies beside it, each vocabulary, and each wrong path."""
    for model in sorted(cases.glob("a*/**/model")):
        vocabularies = sorted(path for path in model.parent.glob("*.txt") if path.name != "labels.txt")
        for vocabulary in vocabularies:
            case = model.parent if len(vocabularies) == 1 else vocabulary
            yield _imported(case.relative_to(cases), model, vocabulary, model.parent)
    tree = cases / "a08-huggingface-tree"
    names = ("", "my-model", "model.keras", "frozen_graph.pb", "my-model/tf_model.h5", "nothing") if tree.is_dir() else ()
    for name in names:
        path = tree / name
        yield _imported(path.relative_to(cases), path, tree / "my-model/vocab.txt", tree / "my-model")


def _imported(case: Path, model: Path, vocabulary: Path, beside: Path) -> Answer:
    with tempfile.TemporaryDirectory() as scratch:
        files = ["--vocab", vocabulary, "--labels", beside / "labels.txt", "--golden", beside / "rows.csv"]
        return _answer(case, ["import", f"{scratch}/run", "--saved-model", model, *files], "accuracy 100.00%")


def _answer(case: Path, words: Sequence[object], taken: str) -> Answer:
    done = subprocess.run([*_COMMAND, *map(str, words)], capture_output=True, text=True, check=False)
    refusal = _REFUSALS.get(str(case))
    good = (refusal or taken) in done.stdout + done.stderr and (done.returncode == _TAKEN) == (refusal is None)
    return Answer(str(case), done.returncode, done.stdout + done.stderr, good and "Traceback" not in done.stderr)
