"""The bundle: what training hands over, and the only thing export and serving know of training.

bundle/saved_model/   FP32, one signature: input_word_ids, input_mask, input_type_ids int32 [batch, sequence] → logits float32
                      [batch, labels], of a tagger [batch, sequence, labels]
       vocab.txt  labels.txt
       golden.jsonl   held-out rows: text (of a pair both, of a tagger the words), label
       golden.npz     their ids (ragged), labels, and the logits of the SavedModel after it was loaded back from disk
       bundle.json    the manifest
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train import manifest
from train.errors import ManifestError
from train.ragged import Logits, Ragged

MANIFEST = "bundle.json"
SCHEMA = 2
TASKS = ("single_text", "text_pair", "tagging")
NOT_ASKED = -1  # label of a token that no tag belongs to: [CLS], [SEP], and word pieces after a word's first


@dataclass(frozen=True)
class Golden:
    """Held-out rows with the reference answers, one a row, or one a token of a tagger. Nothing after training needs the corpus."""

    texts: list[Any]  # str; of a pair [str, str]; of a tagger the words, list[str]
    ids: Ragged
    labels: NDArray[np.int64]  # [rows] or [tokens], there with NOT_ASKED
    logits: Logits  # [rows, labels] or [tokens, labels], from the FP32 SavedModel

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Which answers are compared, [rows] or [tokens]: those that have a label."""
        asked: NDArray[np.bool_] = self.labels != NOT_ASKED
        return asked

    @property
    def text_of(self) -> NDArray[np.int64]:
        """The text that each answer belongs to, [rows] or [tokens]."""
        rows = np.arange(len(self.ids))
        return rows if len(self.labels) == len(rows) else np.repeat(rows, self.ids.lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of the row that each answer belongs to, [rows] or [tokens]."""
        lengths: NDArray[np.int64] = self.ids.lengths[self.text_of]
        return lengths

    def take(self, rows: NDArray[np.int64]) -> Golden:
        answers = rows if len(self.labels) == len(self.ids) else self.ids.tokens_of(rows)
        return Golden([self.texts[i] for i in rows], self.ids.take(rows), self.labels[answers], self.logits[answers])


@dataclass(frozen=True)
class Bundle:
    directory: Path
    sha256: str  # of bundle.json, and through it of every file
    facts: dict[str, Any]  # bundle.json as it is

    @property
    def saved_model(self) -> Path:
        return self.directory / "saved_model"

    @property
    def vocabulary(self) -> Path:
        return self.directory / "vocab.txt"

    @property
    def labels(self) -> list[str]:
        return (self.directory / "labels.txt").read_text("utf-8").splitlines()

    @property
    def task(self) -> str:
        return str(self.facts["task"])

    @property
    def max_seq_len(self) -> int:
        return int(self.facts["max_seq_len"])

    @property
    def lower_case(self) -> bool:
        return bool(self.facts["lower_case"])

    @property
    def vocabulary_sha256(self) -> str:
        return str(self.facts["files"]["vocab.txt"])


def write_golden(directory: Path, golden: Golden) -> None:
    per_row = len(golden.labels) == len(golden.ids)
    with (directory / "golden.jsonl").open("w", encoding="utf-8") as file:
        for row, text in enumerate(golden.texts):
            label = golden.labels[row] if per_row else golden.labels[golden.ids.offsets[row] : golden.ids.offsets[row + 1]]
            file.write(json.dumps({"text": text, "label": label.tolist()}, ensure_ascii=False) + "\n")
    np.savez_compressed(
        directory / "golden.npz",
        ids=golden.ids.ids,
        types=golden.ids.types,
        offsets=golden.ids.offsets,
        labels=golden.labels,
        logits=golden.logits,
    )


def load(directory: Path) -> Bundle:
    """The bundle in `directory`. Raises ManifestError when it is incomplete, changed, or of another schema."""
    fix = f"make train RUN={directory.parent}"
    facts = manifest.read(directory, MANIFEST, fix)
    if facts.get("schema") != SCHEMA:
        raise ManifestError(
            "this bundle was written by another version of Slipway",
            expected=f"schema {SCHEMA}",
            found=f"schema {facts.get('schema')}",
            where=str(directory / MANIFEST),
            fix=fix,
        )
    return Bundle(directory, manifest.sha256(directory / MANIFEST), facts)


def load_golden(bundle: Bundle) -> Golden:
    """The golden rows. Raises ManifestError when golden.npz holds anything but plain arrays: nothing is ever unpickled."""
    with (bundle.directory / "golden.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    path = bundle.directory / "golden.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Golden(texts, Ragged(arrays["ids"], arrays["types"], arrays["offsets"]), arrays["labels"], arrays["logits"])
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ManifestError(
            "golden.npz cannot be read",
            expected="plain arrays: ids, types, offsets, labels, logits",
            found=f"{type(error).__name__}: {error}",
            where=str(path),
            fix=f"make train RUN={bundle.directory.parent}",
        ) from error
