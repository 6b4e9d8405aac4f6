"""The last step of training: make the bundle out of the files that the ranks wrote.

It holds the model, the golden rows, the probe rows, the history and the metrics, and is sealed by
the manifest.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from slipway import errors, provenance
from slipway.contract import bundle, manifest
from slipway.contract.parity import probes
from slipway.contract.ragged import Logits
from slipway.contract.scoring import scores
from slipway.contract.tokenizer import Tokenizer
from train.data import ag_news, corpus, dataset
from train.data.dataset import Split
from train.data.splitting import sample
from train.engine import history
from train.engine.history import StepLine, ValidationLine
from train.job import FACTS, PROBES, PROGRESS, TEST, Job

_VERSIONS_OF = ("tensorflow", "tf_keras", "tensorflow-hub", "horovod", "tokenizers", "numpy")


def complete(
    scratch: Path, building: Path, data: corpus.Corpus, job: Job, choices: Mapping[str, Any], made_by: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Make `building` a bundle out of `scratch`, which is removed; return the metrics.

    `choices` are recorded beside the job's; `made_by` is the record of the command.
    """
    facts = json.loads((scratch / FACTS).read_text("utf-8"))
    (scratch / "saved_model").rename(building / "saved_model")
    (scratch / "vocab.txt").rename(building / "vocab.txt")
    (building / "labels.txt").write_text("\n".join(data.labels) + "\n", "utf-8")
    manifest.write_json(building / "history.json", history.read(scratch))
    tokenize = Tokenizer(building / "vocab.txt", lower_case=facts["lower_case"], max_seq_len=job.max_seq_len)
    test = dataset.read(scratch, job.task, tokenize)["test"]
    logits = gathered_logits(scratch, TEST, len(test.labels), job.again())
    bundle.write_golden(building, golden(data, test, logits, choices["golden_rows"], job.seed))
    bundle.write_probes(building, _probes(scratch, building / "vocab.txt", tokenize, job))
    others = ag_news.beside(Path(data.where))
    metrics = {
        **scores.score(logits, test.labels, data.labels, test.text_of),
        **({"published": asdict(others)} if others else {}),
        "train_rows": len(data.train),
        **_figures(history.progress_lines(scratch / PROGRESS)),
        "peak_memory_bytes": facts["peak_memory_bytes"],  # of the largest rank
    }
    shutil.rmtree(scratch)
    bundle_facts = {
        "schema": bundle.SCHEMA,
        "made_at": provenance.now(),
        "task": job.task,
        "max_seq_len": job.max_seq_len,
        "lower_case": facts["lower_case"],
        "encoder": encoder_facts(job),
        "corpus": {"where": data.where, "sha256": data.sha256, "generated": data.generated, "bad_rows": data.bad_rows},
        "hyper_parameters": {name: value for name, value in vars(job).items() if name != "command"} | dict(choices),
        **made_by,
        **({"unlabelled": data.unlabelled.facts} if data.unlabelled else {}),
        "metrics": metrics,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONS_OF},
        },
    }
    manifest.seal(building, bundle.MANIFEST, bundle_facts)
    return metrics


def encoder_facts(job: Job) -> dict[str, str]:
    """Return the encoder's handle, and for a local module its sha256 and its source, if known.

    The files of an address are in TF Hub's own cache. Raises EncoderError for a directory that is
    not there, ManifestError for one with links.
    """
    handle, directory = job.encoder, Path(job.encoder)
    if "://" not in handle and not directory.is_dir():
        raise errors.EncoderError(
            "the encoder cannot be loaded",
            expected="a TF Hub handle: the address or the directory of a TF2 SavedModel",
            found="no such directory",
            where=handle,
            fix=f"{job.changed('--encoder', 'path/or/address')}, or no --encoder for the default, which make setup builds",
        )
    source = directory / "encoder.json"
    return {
        "handle": handle,
        "sha256": manifest.sha256(directory) if directory.is_dir() else "",
        "made_from": str(manifest.read_json(source, f"rm {source} && {job.command}")["made_from"]) if source.is_file() else "",
    }


def gathered_logits(scratch: Path, of: str, answers: int, fix: str) -> Logits:
    """Return the logits of all ranks in order, [answers, labels]; tagger: an answer a token."""
    parts = [np.load(path) for path in sorted(scratch.glob(f"{of}.*.npz"))]
    order = np.concatenate([part["answers"] for part in parts])
    if not np.array_equal(np.sort(order), np.arange(answers)):
        raise errors.TrainingError(
            f"the ranks did not evaluate every {of} row exactly once",
            expected=f"{answers} answers",
            found=f"{len(np.unique(order))} different ones in {len(order)}",
            where=str(scratch),
            fix=fix,
        )
    logits = np.concatenate([part["logits"] for part in parts])
    ordered: Logits = logits[np.argsort(order)].astype(np.float32)
    return ordered


def golden(data: corpus.Corpus, test: Split, logits: Logits, count: int, seed: int) -> bundle.Golden:
    """Return `count` of the test rows (0: all), and all texts without labels, which follow them."""
    extra = data.unlabelled.texts if data.unlabelled else []
    all_rows = bundle.Golden([*(example.text for example in data.test), *extra], test.rows, test.labels, logits)
    rows = [*sample([example.label for example in data.test], count, seed), *range(len(data.test), len(data.test) + len(extra))]
    return all_rows.take(np.array(rows, np.int64))


def _probes(scratch: Path, vocabulary: Path, tokenize: Tokenizer, job: Job) -> bundle.Probes:
    rows = probes.rows(tokenize, vocabulary, job.max_seq_len, job.task)
    answers = len(rows.ids.ids) if job.task == "tagging" else len(rows.ids)
    return bundle.Probes(rows.texts, rows.ids, gathered_logits(scratch, PROBES, answers, job.again()))


def _figures(lines: list[history.Line]) -> dict[str, Any]:
    """Sum up the lines of progress. Rates leave out the first step, which traces."""
    steps = [line for line in lines if isinstance(line, StepLine)]
    validations = [line for line in lines if isinstance(line, ValidationLine)]
    first, last = steps[0], steps[-1]
    seconds = last.seconds - first.seconds
    losses = [line.loss for line in steps[-20:] if line.loss is not None]
    changes = [first, *(line for before, line in pairwise(steps) if before.ranks != line.ranks)]
    worlds = [{"from_step": line.step, "ranks": line.ranks} for line in changes]
    return {
        "world_size": last.ranks,
        **({"world_sizes": worlds} if len(worlds) > 1 else {}),
        "steps": last.steps,
        "skipped_steps": sum(line.skipped for line in steps),
        "examples": last.examples,
        "examples_per_second": (last.examples - first.examples) / seconds if seconds else 0.0,
        "tokens_per_second": (last.tokens - first.tokens) / seconds if seconds else 0.0,
        "padding_waste": 1 - last.tokens / last.padded_tokens,
        "train_loss_last_steps": float(np.mean(losses)) if losses else None,
        "validation_accuracy": validations[-1].validation_accuracy if validations else None,
    }
