"""A training job: job.json, written by the command that starts it and read by every rank."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway import errors
from slipway.contract import manifest

FILE = "job.json"
CORPUS = "corpus.jsonl"  # the examples of the job, one a line: split, text, label
PROGRESS = "progress.jsonl"  # one line a step, written by rank 0
FAILURE = "failure"  # failure.<rank>.json: the error that a rank raised
MESSAGES = "messages.txt"  # from rank 0 to the person, shown as they come
# <name>.<rank>.npz: the SavedModel's answers to a rank's share of the test rows, the probe rows
TEST, PROBES = "test", "probe"
FACTS = "facts.json"  # written last, by rank 0: the job is complete
ENDED = "ended"  # created by the supervisor: the job is over, also for a rank on another host
STOP = "stop"  # created by the supervisor: write a checkpoint after the current step, and end


@dataclass(frozen=True)
class Job:
    """Every choice of a run. The defaults are written in `train.options`, and nowhere else."""

    task: str  # one of bundle.TASKS
    labels: int  # how many
    max_seq_len: int  # tokens, [CLS] and [SEP] included

    encoder: str  # TF Hub handle
    output_size: int  # hidden units the encoder must have; 0: not checked
    fine_tune_layers: int  # -1 all; 0 none; n: the top n cells
    debug: bool  # print every trainable variable

    epochs: int
    max_steps: int  # optimizer steps of the run; 0: all
    batch_per_rank: int  # rows of one micro-batch
    accumulation: int  # micro-batches per optimizer step
    batches: str  # "bucketed": neighbours in length together | "shuffled"
    padding: str  # "longest": to the longest row of the batch | "fixed": to max_seq_len

    optimizer: str  # adamw | lazy_adam
    learning_rate: float  # peak; of the global batch, unless scaled
    scale_learning_rate: bool  # peak × world size
    warm_up: float  # share of the steps
    decay: str  # linear | cosine
    weight_decay: float
    average_weights: float  # share of the steps, the last ones, that are averaged; 0: none
    clip_norm: float  # largest global norm of the averaged gradients; 0: not clipped
    dropout: float  # before the head

    compression: str  # of gradients on the wire: none | fp16
    sparse_as_dense: bool  # embedding gradients as dense tensors
    amp: str  # none | float16 | bfloat16
    xla: bool

    on_nan: str  # stop | skip
    hang_limit: float  # seconds without progress of any rank
    checkpoint_every: int  # steps; 0: only when asked to stop
    checkpoints: str  # directory, outside of what becomes the bundle
    resume: bool
    evaluate: bool  # False: steps only, nothing is evaluated or saved
    seed: int
    command: str = "slipway train RUN"  # as it was given; with more options behind it, the fix of an error

    def write(self, directory: Path) -> None:
        manifest.write_json(directory / FILE, asdict(self))

    @staticmethod
    def read(directory: Path) -> Job:
        return Job(**json.loads((directory / FILE).read_text("utf-8")))

    def again(self) -> str:
        """Return the command that goes on with this job, or begins it where no step was saved."""
        return f"{self.command} --resume" if self.is_begun else self.command

    def changed(self, *options: object) -> str:
        """Return the command of this job with other options."""
        return errors.with_options(self.command, [*map(str, options)])

    @property
    def is_begun(self) -> bool:
        """Whether there are checkpoints to go on from, which need the same settings."""
        return bool(self.checkpoints) and Path(self.checkpoints).is_dir()
