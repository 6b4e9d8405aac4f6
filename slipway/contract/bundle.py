"""The bundle: the directory that training hands over, and all that export and serving know of it.

bundle/saved_model/   FP32, one signature: ragged.INPUTS int32 [batch, sequence] → logits float32
                      [batch, labels]; tagger: [batch, sequence, labels]
       vocab.txt  labels.txt
       golden.jsonl   held-out rows: text (pair: both texts, tagger: the words) and label
       golden.npz     their ids (ragged), labels, and the logits of the SavedModel on disk
       bundle.json    the manifest

Training also writes train.json beside it, which names the command of a run without a bundle.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway import errors
from slipway.contract import manifest
from slipway.contract.ragged import Logits, Numbers, Ragged
from slipway.errors import ManifestError

MANIFEST = "bundle.json"
RUN_RECORD = "train.json"  # beside the bundle
MADE_BY = "made_by"  # key in both: the `slipway` command and its options, without the run
SCHEMA = 2
TASKS = ("single_text", "text_pair", "tagging")
NOT_ASKED = -1  # label of a token without a tag: [CLS], [SEP], and word pieces after a word's first


@dataclass(frozen=True)
class Golden:
    """Held-out rows with their reference answers: one a row; tagger: one a token."""

    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    ids: Ragged
    labels: Numbers  # [rows]; tagger: [tokens], NOT_ASKED where no tag belongs
    logits: Logits  # [rows, labels]; tagger: [tokens, labels]; from the FP32 SavedModel

    @property
    def asked(self) -> NDArray[np.bool_]:
        """True for each answer that has a label and is compared, [rows] or [tokens]."""
        asked: NDArray[np.bool_] = self.labels != NOT_ASKED
        return asked

    @property
    def text_of(self) -> Numbers:
        """Number of the text that each answer belongs to, [rows] or [tokens]."""
        rows = np.arange(len(self.ids))
        return rows if len(self.labels) == len(rows) else np.repeat(rows, self.ids.lengths)

    @property
    def lengths(self) -> Numbers:
        """Tokens of the row that each answer belongs to, [rows] or [tokens]."""
        lengths: Numbers = self.ids.lengths[self.text_of]
        return lengths

    def take(self, rows: Numbers) -> Golden:
        answers = rows if len(self.labels) == len(self.ids) else self.ids.tokens_of(rows)
        return Golden([self.texts[i] for i in rows], self.ids.take(rows), self.labels[answers], self.logits[answers])


@dataclass(frozen=True)
class Bundle:
    """A complete and unchanged bundle on disk."""

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
    """Write golden.jsonl and golden.npz into `directory`."""
    ids = golden.ids
    per_row = len(golden.labels) == len(ids)
    with (directory / "golden.jsonl").open("w", encoding="utf-8") as file:
        for row, text in enumerate(golden.texts):
            label = golden.labels[row] if per_row else golden.labels[ids.offsets[row] : ids.offsets[row + 1]]
            file.write(json.dumps({"text": text, "label": label.tolist()}, ensure_ascii=False) + "\n")
    np.savez_compressed(
        directory / "golden.npz",
        ids=ids.ids,
        types=ids.types,
        offsets=ids.offsets,
        labels=golden.labels,
        logits=golden.logits,
    )


def load(directory: Path) -> Bundle:
    """Return the bundle. Raises ManifestError if it is incomplete, changed or of another schema."""
    fix = _remake(directory)
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
    """Return the golden rows. Raises ManifestError for anything but arrays: none is unpickled."""
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
            fix=_remake(bundle.directory),
        ) from error


def made_by(run: Path, *records: Path) -> str:
    """Return the command that makes the bundle anew, with the settings in the first good record."""
    for record in records:
        if record.is_file() and not record.is_symlink():  # a pipe would never end
            with contextlib.suppress(ValueError, KeyError, TypeError):  # of an older version, or changed
                verb, *options = json.loads(record.read_text("utf-8"))[MADE_BY]
                return errors.command(verb, run, *options)
    return errors.command("train", run)


def _remake(directory: Path) -> str:
    return made_by(directory.parent, directory / MANIFEST, directory.parent / RUN_RECORD)
