"""Fine-tune a TF Hub BERT with Horovod and write the bundle.

Checks the corpus before any process is started, runs `train.worker` under horovodrun, shows its progress, and writes the
bundle in one rename. When anything fails, the bundle that was there stays.

    python -m train.finetune --out runs/demo/bundle --train-rows 4000
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from train import bundle, corpus, errors, launch, manifest
from train.job import PROGRESS, Job
from train.ragged import Logits, Ragged
from train.tokenizer import Tokenizer

_CHECKOUT = Path(__file__).parents[1]
_VERSIONS_OF = ("tensorflow", "tf_keras", "tensorflow-hub", "horovod", "tokenizers", "numpy")


def main() -> int:
    arguments = _parse()
    found = corpus.load(corpus.find(arguments.corpus, _CHECKOUT))
    job = _job(arguments, found)
    print(f"corpus    {found.where}: {len(found.train)} train, {len(found.test)} test rows, labels {', '.join(found.labels)}")
    print(f"encoder   {job.encoder}")
    encoder = _encoder_facts(job.encoder)  # refuses one with links now, not when it has been trained
    with manifest.atomic_directory(arguments.out) as building:
        scratch = building / "training"
        scratch.mkdir()
        job.write(scratch)
        launch.run(scratch, arguments.processes)
        metrics = _hand_over(scratch, building, found, job, encoder)
    print(f"accuracy  {metrics['test_accuracy']:.4f} on {metrics['test_rows']} test rows")
    print(f"bundle    {arguments.out}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="the bundle directory")
    parser.add_argument("--corpus", default="", help="directory with train.csv and test.csv; empty: the usual places")
    parser.add_argument("--encoder", default=".tools/encoder", help="TF Hub handle: address or directory")
    parser.add_argument("--processes", type=int, default=2, help="Horovod ranks on this machine")
    parser.add_argument("--train-rows", type=int, default=0, help="a stratified sample of so many rows; 0: all")
    parser.add_argument("--golden-rows", type=int, default=0, help="test rows kept as reference; 0: all")
    parser.add_argument("--max-seq-len", type=int, default=128, help="tokens, [CLS] and [SEP] included")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-per-rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="peak, of the global batch")
    parser.add_argument("--warm-up", type=float, default=0.1, help="share of the steps")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--dropout", type=float, default=0.1, help="before the classification head")
    parser.add_argument("--compression", choices=("none", "fp16"), default="fp16", help="of gradients on the wire")
    parser.add_argument("--sparse-as-dense", choices=("on", "off"), default="on", help="embedding gradients as dense tensors")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _job(arguments: argparse.Namespace, found: corpus.Corpus) -> Job:
    return Job(
        corpus=str(Path(found.where).resolve()),
        encoder=arguments.encoder,
        max_seq_len=arguments.max_seq_len,
        train_rows=arguments.train_rows,
        golden_rows=arguments.golden_rows,
        epochs=arguments.epochs,
        batch_per_rank=arguments.batch_per_rank,
        learning_rate=arguments.learning_rate,
        warm_up=arguments.warm_up,
        weight_decay=arguments.weight_decay,
        dropout=arguments.dropout,
        compression=arguments.compression,
        sparse_as_dense=arguments.sparse_as_dense == "on",
        seed=arguments.seed,
    )


def _hand_over(scratch: Path, building: Path, found: corpus.Corpus, job: Job, encoder: dict[str, str]) -> dict[str, Any]:
    """Move what the ranks wrote into the bundle, add the golden rows and the manifest; return the metrics."""
    facts = json.loads((scratch / "facts.json").read_text("utf-8"))
    (scratch / "saved_model").rename(building / "saved_model")
    (scratch / "vocab.txt").rename(building / "vocab.txt")
    (building / "labels.txt").write_text("\n".join(found.labels) + "\n", "utf-8")
    history = [json.loads(line) for line in (scratch / PROGRESS).read_text("utf-8").splitlines()]
    manifest.write_json(building / "history.json", history)
    logits = _gathered_logits(scratch, len(found.test))
    labels = np.array([row.label for row in found.test])
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(found.labels), len(found.labels)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    bundle.write_golden(building, _golden(building, found, job, facts["lower_case"], logits))
    metrics = {
        "test_rows": len(labels),
        "test_accuracy": float((predicted == labels).mean()),
        "confusion": confusion.tolist(),  # [true label][predicted label]
        "train_loss_last_steps": float(np.mean([line["loss"] for line in history[-20:]])),
        **{name: value for name, value in facts.items() if name != "lower_case"},
    }
    shutil.rmtree(scratch)
    manifest.seal(
        building,
        bundle.MANIFEST,
        {
            "schema": bundle.SCHEMA,
            "task": "single_text",
            "max_seq_len": job.max_seq_len,
            "lower_case": facts["lower_case"],
            "encoder": encoder,
            "corpus": {"where": job.corpus, "sha256": found.sha256, "generated": found.generated},
            "hyper_parameters": vars(job),
            "metrics": metrics,
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in _VERSIONS_OF},
            },
        },
    )
    return metrics


def _gathered_logits(scratch: Path, rows: int) -> Logits:
    parts = [np.load(path) for path in sorted(scratch.glob("logits.*.npz"))]
    order = np.concatenate([part["rows"] for part in parts])
    if not np.array_equal(np.sort(order), np.arange(rows)):
        raise errors.TrainingError(
            "the ranks did not evaluate every test row exactly once",
            expected=f"{rows} rows",
            found=f"{len(np.unique(order))} different rows in {len(order)}",
            where=str(scratch),
            mend="make train",
        )
    logits = np.concatenate([part["logits"] for part in parts])
    ordered: Logits = logits[np.argsort(order)].astype(np.float32)
    return ordered


def _golden(building: Path, found: corpus.Corpus, job: Job, lower_case: bool, logits: Logits) -> bundle.Golden:
    rows = corpus.sample(found.test, job.golden_rows, job.seed)
    texts = [found.test[row].text for row in rows]
    tokenize = Tokenizer(building / "vocab.txt", lower_case=lower_case, max_seq_len=job.max_seq_len)
    return bundle.Golden(
        texts=texts,
        ids=Ragged.of(tokens.ids for tokens in tokenize(texts)),
        labels=np.array([found.test[row].label for row in rows]),
        logits=logits[rows],
    )


def _encoder_facts(handle: str) -> dict[str, str]:
    """Of a local module also its sha256 and, when set-up made it, what from; an address's files are in TF Hub's own cache."""
    directory = Path(handle)
    made = directory / "encoder.json"
    return {
        "handle": handle,
        "sha256": manifest.sha256(directory) if directory.is_dir() else "",
        "made_from": str(json.loads(made.read_text("utf-8"))["made_from"]) if made.is_file() else "",
    }


if __name__ == "__main__":
    errors.run(main)
