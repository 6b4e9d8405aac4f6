"""The bundle: what training hands over, and the only thing export and serving know of training.

bundle/saved_model/   FP32, one signature: input_word_ids, input_mask, input_type_ids int32 [batch, sequence] → logits
       vocab.txt  labels.txt
       golden.jsonl   held-out rows: text, label
       golden.npz     their ids (ragged), labels, and the logits of the SavedModel after it was loaded back from disk
       bundle.json    the manifest
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train import manifest
from train.errors import ManifestError
from train.ragged import Ragged

MANIFEST = "bundle.json"
SCHEMA = 1
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """Held-out rows with the reference answers. Nothing after training needs the corpus."""

    texts: list[str]
    ids: Ragged
    labels: NDArray[np.int64]  # [rows]
    logits: Logits  # [rows, labels], from the FP32 SavedModel


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
    def max_seq_len(self) -> int:
        return int(self.facts["max_seq_len"])

    @property
    def lower_case(self) -> bool:
        return bool(self.facts["lower_case"])

    @property
    def vocabulary_sha256(self) -> str:
        return str(self.facts["files"]["vocab.txt"])


def write_golden(directory: Path, golden: Golden) -> None:
    with (directory / "golden.jsonl").open("w", encoding="utf-8") as file:
        for text, label in zip(golden.texts, golden.labels, strict=True):
            file.write(json.dumps({"text": text, "label": int(label)}, ensure_ascii=False) + "\n")
    np.savez_compressed(
        directory / "golden.npz",
        ids=golden.ids.ids,
        offsets=golden.ids.offsets,
        labels=golden.labels,
        logits=golden.logits,
    )


def load(directory: Path) -> Bundle:
    """The bundle in `directory`. Raises ManifestError when it is incomplete, changed, or of another schema."""
    mend = f"make train RUN={directory.parent}"
    facts = manifest.read(directory, MANIFEST, mend)
    if facts.get("schema") != SCHEMA:
        raise ManifestError(
            "this bundle was written by another version of Slipway",
            expected=f"schema {SCHEMA}",
            found=f"schema {facts.get('schema')}",
            where=str(directory / MANIFEST),
            mend=mend,
        )
    return Bundle(directory, manifest.sha256(directory / MANIFEST), facts)


def load_golden(bundle: Bundle) -> Golden:
    with (bundle.directory / "golden.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    with np.load(bundle.directory / "golden.npz", allow_pickle=False) as arrays:
        return Golden(texts, Ragged(arrays["ids"], arrays["offsets"]), arrays["labels"], arrays["logits"])
