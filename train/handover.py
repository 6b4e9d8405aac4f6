"""From what the ranks wrote to the bundle: the model, the golden rows, the history, and the metrics, sealed by the manifest."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train import bundle, corpus, errors, feeding, history, manifest, published, scores
from train.feeding import Split
from train.job import FACTS, Job
from train.ragged import Logits
from train.tokenizer import Tokenizer

_VERSIONS_OF = ("tensorflow", "tf_keras", "tensorflow-hub", "horovod", "tokenizers", "numpy")


def complete(
    scratch: Path, building: Path, found: corpus.Corpus, job: Job, golden_rows: int, choices: dict[str, Any]
) -> dict[str, Any]:
    """Make `building` a bundle out of `scratch`, which is removed; returns the metrics. `choices` are recorded beside the job's."""
    facts = json.loads((scratch / FACTS).read_text("utf-8"))
    (scratch / "saved_model").rename(building / "saved_model")
    (scratch / "vocab.txt").rename(building / "vocab.txt")
    (building / "labels.txt").write_text("\n".join(found.labels) + "\n", "utf-8")
    past = history.read(scratch)
    manifest.write_json(building / "history.json", past)
    tokenize = Tokenizer(building / "vocab.txt", lower_case=facts["lower_case"], max_seq_len=job.max_seq_len)
    test = feeding.read(scratch, job.task, tokenize)["test"]
    logits = _gathered_logits(scratch, len(test.labels))
    bundle.write_golden(building, _golden(found, test, logits, golden_rows, job.seed))
    metrics = {
        **scores.score(logits, test.labels, found.labels),
        **({"published": figures} if (figures := published.beside(Path(found.where))) else {}),
        "train_rows": len(found.train),
        **_of_the_run(past),
        "peak_memory_bytes": facts["peak_memory_bytes"],  # of the largest rank
    }
    shutil.rmtree(scratch)
    manifest.seal(
        building,
        bundle.MANIFEST,
        {
            "schema": bundle.SCHEMA,
            "task": job.task,
            "max_seq_len": job.max_seq_len,
            "lower_case": facts["lower_case"],
            "encoder": encoder_facts(job.encoder),
            "corpus": {"where": found.where, "sha256": found.sha256, "generated": found.generated, "bad_rows": found.bad_rows},
            "hyper_parameters": {**vars(job), **choices},
            "metrics": metrics,
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _VERSIONS_OF},
            },
        },
    )
    return metrics


def encoder_facts(handle: str) -> dict[str, str]:
    """Of a local module also its sha256 and, when set-up made it, what from; an address's files are in TF Hub's own cache.

    Raises EncoderError for a directory that is not there, ManifestError for one with links.
    """
    directory = Path(handle)
    if "://" not in handle and not directory.is_dir():
        raise errors.EncoderError(
            "the encoder cannot be loaded",
            expected="a TF Hub handle: the address or the directory of a TF2 SavedModel",
            found="no such directory",
            where=handle,
            fix="make train ENCODER=path/or/address, or leave ENCODER out for the default (made by: make setup)",
        )
    made = directory / "encoder.json"
    return {
        "handle": handle,
        "sha256": manifest.sha256(directory) if directory.is_dir() else "",
        "made_from": str(json.loads(made.read_text("utf-8"))["made_from"]) if made.is_file() else "",
    }


def _gathered_logits(scratch: Path, answers: int) -> Logits:
    """Logits [answers, labels] of all ranks in order; answers are test rows, of a tagger tokens."""
    parts = [np.load(path) for path in sorted(scratch.glob("logits.*.npz"))]
    order = np.concatenate([part["answers"] for part in parts])
    if not np.array_equal(np.sort(order), np.arange(answers)):
        raise errors.TrainingError(
            "the ranks did not evaluate every test row exactly once",
            expected=f"{answers} answers",
            found=f"{len(np.unique(order))} different ones in {len(order)}",
            where=str(scratch),
            fix="make train",
        )
    logits = np.concatenate([part["logits"] for part in parts])
    ordered: Logits = logits[np.argsort(order)].astype(np.float32)
    return ordered


def _golden(found: corpus.Corpus, test: Split, logits: Logits, count: int, seed: int) -> bundle.Golden:
    everything = bundle.Golden([row.text for row in found.test], test.rows, test.labels, logits)
    rows: NDArray[np.int64] = np.array(corpus.sample(found.test, count, seed), np.int64)
    return everything.take(rows)


def _of_the_run(past: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the lines of progress add up to. Rates leave out the first step, which traces."""
    first, last = past["steps"][0], past["steps"][-1]
    seconds = last["seconds"] - first["seconds"]
    rates = {f"{one}_per_second": (last[one] - first[one]) / seconds if seconds else 0.0 for one in ("examples", "tokens")}
    losses = [line["loss"] for line in past["steps"][-20:] if line["loss"] is not None]
    worlds = [
        line
        for before, line in zip([{"ranks": 0}, *past["steps"]], past["steps"], strict=False)
        if before["ranks"] != line["ranks"]
    ]
    return {
        "world_size": last["ranks"],
        **({"world_sizes": [{"from_step": one["step"], "ranks": one["ranks"]} for one in worlds]} if len(worlds) > 1 else {}),
        "steps": last["steps"],
        "skipped_steps": sum(line["skipped"] for line in past["steps"]),
        "examples": last["examples"],
        **rates,
        "padding_waste": 1 - last["tokens"] / last["padded_tokens"],
        "train_loss_last_steps": float(np.mean(losses)) if losses else None,
        "validation_accuracy": past["validation"][-1]["validation_accuracy"] if past["validation"] else None,
    }
