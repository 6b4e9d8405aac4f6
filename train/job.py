"""What a training job is: written by `train.finetune` as job.json, read by every rank of `train.worker`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from train import manifest

FILE = "job.json"
PROGRESS = "progress.jsonl"  # one line a step, written by rank 0
FAILURE = "failure.json"  # written once, by the first rank that fails


@dataclass(frozen=True)
class Job:
    corpus: str  # directory
    encoder: str  # TF Hub handle
    max_seq_len: int
    train_rows: int  # 0: all
    golden_rows: int  # 0: all test rows
    epochs: int
    batch_per_rank: int
    learning_rate: float  # peak, for the global batch
    warm_up: float  # share of the steps
    weight_decay: float
    dropout: float
    compression: str  # of gradients on the wire: none, fp16
    sparse_as_dense: bool
    seed: int

    def write(self, directory: Path) -> None:
        manifest.write_json(directory / FILE, asdict(self))

    @staticmethod
    def read(directory: Path) -> Job:
        return Job(**json.loads((directory / FILE).read_text("utf-8")))
