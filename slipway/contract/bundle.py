"""The bundle: the directory that training hands over, and all that export and serving know of it.

bundle/saved_model/   FP32, one signature: ragged.INPUTS int32 [batch, sequence] → logits float32
                      [batch, labels]; tagger: [batch, sequence, labels]
       vocab.txt  labels.txt
       golden.jsonl   held-out rows: text (pair: both texts, tagger: the words) and label
       golden.npz     their ids (ragged), labels, and the logits of the SavedModel on disk
       probes.jsonl   texts that golden rows do not resemble
       probes.npz     their ids, rows of all word pieces, and the logits of the SavedModel
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
from slipway.errors import ManifestError, UsageError

MANIFEST = "bundle.json"
RUN_RECORD = "train.json"  # beside the bundle
MADE_BY = "made_by"  # key in both: the `slipway` command and its options, without the run
SCHEMA = 3
TOKENIZER_FACTS = ("lower_case", "strip_accents", "added_tokens")
TASKS = ("single_text", "text_pair", "tagging")
# Label of a token without a tag: [CLS], [SEP], and word pieces after a word's first. Of a
# classifier's row: it has no label, and counts for changed answers, not for accuracy.
NOT_ASKED = -1


@dataclass(frozen=True)
class Golden:
    """Held-out rows with their reference answers: one a row; tagger: one a token."""

    texts: list[Any]  # str; pair: [str, str]; tagger: the words, list[str]
    ids: Ragged
    labels: Numbers  # [rows], NOT_ASKED: unlabelled; tagger: [tokens], NOT_ASKED where no tag belongs
    logits: Logits  # [rows, labels]; tagger: [tokens, labels]; from the FP32 SavedModel

    @property
    def per_row(self) -> bool:
        """True if an answer is a row's: not a tagger's."""
        return len(self.labels) == len(self.ids)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """True for each answer that has a label, [rows] or [tokens]."""
        asked: NDArray[np.bool_] = self.labels != NOT_ASKED
        return asked

    @property
    def compared(self) -> NDArray[np.bool_]:
        """True for each answer that is compared: every row; tagger: every token with a label."""
        return np.ones(len(self.ids), np.bool_) if self.per_row else self.asked

    @property
    def text_of(self) -> Numbers:
        """Number of the text that each answer belongs to, [rows] or [tokens]."""
        rows = np.arange(len(self.ids))
        return rows if self.per_row else np.repeat(rows, self.ids.lengths)

    @property
    def lengths(self) -> Numbers:
        """Tokens of the row that each answer belongs to, [rows] or [tokens]."""
        lengths: Numbers = self.ids.lengths[self.text_of]
        return lengths

    def take(self, rows: Numbers) -> Golden:
        answers = rows if self.per_row else self.ids.tokens_of(rows)
        return Golden([self.texts[i] for i in rows], self.ids.take(rows), self.labels[answers], self.logits[answers])

    def distinct(self) -> Golden:
        """Return the rows without those whose ids came before: a model answers them alike."""
        first: dict[bytes, int] = {}
        for row in range(len(self.ids)):
            ends = slice(self.ids.offsets[row], self.ids.offsets[row + 1])
            first.setdefault(self.ids.ids[ends].tobytes() + self.ids.types[ends].tobytes(), row)
        return self if len(first) == len(self.ids) else self.take(np.array(list(first.values()), np.int64))


@dataclass(frozen=True)
class Probes:
    """Rows that golden texts do not touch, with their reference logits (parity/probes.py)."""

    texts: list[Any]  # as golden texts are; theirs are the first rows of `ids`
    ids: Ragged
    logits: Logits  # [rows, labels]; tagger: [tokens, labels]; from the FP32 SavedModel


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
    def tokenizer_facts(self) -> dict[str, Any]:
        """What Tokenizer.of reads, besides max_seq_len; what is not recorded is not there."""
        return {name: self.facts[name] for name in TOKENIZER_FACTS if name in self.facts}

    @property
    def vocabulary_sha256(self) -> str:
        return str(self.facts["files"]["vocab.txt"])


@dataclass(frozen=True)
class Reference:
    """What answers are compared with: the bundle, its golden rows and its probe rows."""

    bundle: Bundle
    golden: Golden
    probes: Probes


def write_golden(directory: Path, golden: Golden) -> None:
    """Write golden.jsonl and golden.npz into `directory`."""
    ids = golden.ids
    with (directory / "golden.jsonl").open("w", encoding="utf-8") as file:
        for row, text in enumerate(golden.texts):
            label = golden.labels[row] if golden.per_row else golden.labels[ids.offsets[row] : ids.offsets[row + 1]]
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


def write_probes(directory: Path, probes: Probes) -> None:
    """Write probes.jsonl and probes.npz into `directory`."""
    with (directory / "probes.jsonl").open("w", encoding="utf-8") as file:
        for text in probes.texts:
            file.write(json.dumps({"text": text}, ensure_ascii=True) + "\n")
    ids = probes.ids
    np.savez_compressed(directory / "probes.npz", ids=ids.ids, types=ids.types, offsets=ids.offsets, logits=probes.logits)


def load_golden(bundle: Bundle) -> Golden:
    """Return the golden rows, each of them once. Raises ManifestError for anything but arrays."""
    lines = _lines(bundle.directory / "golden.jsonl")
    arrays = _arrays(bundle, "golden.npz", ("ids", "types", "offsets", "labels", "logits"))
    ids = Ragged(arrays["ids"], arrays["types"], arrays["offsets"])
    return Golden([line["text"] for line in lines], ids, arrays["labels"], arrays["logits"]).distinct()


def load_probes(bundle: Bundle) -> Probes:
    """Return the probe rows. Raises ManifestError for anything but arrays."""
    lines = _lines(bundle.directory / "probes.jsonl")
    arrays = _arrays(bundle, "probes.npz", ("ids", "types", "offsets", "logits"))
    ids = Ragged(arrays["ids"], arrays["types"], arrays["offsets"])
    return Probes([line["text"] for line in lines], ids, arrays["logits"])


def load_reference(bundle: Bundle) -> Reference:
    """Return the bundle with its golden and its probe rows. Raises ManifestError as these do."""
    return Reference(bundle, load_golden(bundle), load_probes(bundle))


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _arrays(bundle: Bundle, name: str, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read arrays; nothing is unpickled. Logits have to be finite: answers are put beside them."""
    path = bundle.directory / name
    try:
        with np.load(path, allow_pickle=False) as arrays:
            read = {key: arrays[key] for key in wanted}
        if not np.isfinite(read["logits"]).all():
            raise ValueError("logits with NaN or Inf")
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ManifestError(
            f"{name} cannot be read",
            expected=f"plain arrays of finite numbers: {', '.join(wanted)}",
            found=f"{type(error).__name__}: {error}",
            where=str(path),
            fix=_remake(bundle.directory),
        ) from error
    return read


def refuse_finished(run: Path, again: str) -> None:
    """Raise UsageError if the run has a sound bundle. `again` is the command to be forced."""
    try:
        finished = load(run / "bundle")
    except ManifestError:  # none, or one that nothing reads any more
        return
    facts = finished.facts
    accuracy = facts.get("metrics", {}).get("test_accuracy")
    of = f" of {facts.get('corpus', {}).get('where', '')}" + (f", accuracy {accuracy:.2%}" if accuracy is not None else "")
    raise UsageError(
        f"{run} has a finished bundle, which would be lost",
        expected="a run of another name, or --force",
        found=f"a bundle{of}",
        where=str(finished.directory),
        fix=f"go on with it: {errors.command('export', run)}; or take another RUN; or over it: {again} --force",
    )


def made_by(run: Path, *records: Path, over: bool = False) -> str:
    """Return the command that makes the bundle anew, with the settings in the first good record.

    With `over` it also replaces one that is sound.
    """
    more = ("--force",) if over else ()
    for record in records:
        if record.is_file() and not record.is_symlink():  # a pipe would never end
            with contextlib.suppress(ValueError, KeyError, TypeError):  # of an older version, or changed
                verb, *options = json.loads(record.read_text("utf-8"))[MADE_BY]
                return errors.command(verb, run, *options, *more)
    return errors.command("train", run, *more)


def _remake(directory: Path) -> str:
    return made_by(directory.parent, directory / MANIFEST, directory.parent / RUN_RECORD)
