"""Encoders, jobs and batches small enough for tests of the training step."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slipway.contract.ragged import INPUTS, Feed
from slipway.encoder import bert, saving
from slipway.tensorflow import tf, tf_keras
from tests.support.training.jobs import JOB
from train.engine.step import TrainStep
from train.job import Job
from train.model import classifier
from train.model.hub_encoder import EncoderLayer

WORDS, LABELS = 1100, 4  # more words than gradients.py calls a small table
SIZE = bert.Size(WORDS, 32, hidden=16, layers=2, heads=2, intermediate=32)


def save_module(model: tf_keras.Model, target: Path) -> str:
    """As a TF Hub module; returns its handle."""
    target.mkdir(parents=True)
    saving.save_encoder(model, "".join(f"word{number}\n" for number in range(WORDS)).encode(), target)
    return str(target)


PLAIN = {
    "task": "single_text",
    "labels": LABELS,
    "learning_rate": 1e-2,
    "warm_up": 0.0,
    "seed": 1,
}


def job(module: str, **changes: Any) -> Job:
    return replace(JOB, encoder=module, **(PLAIN | changes))


def feed(rows: int, tokens: int, seed: int) -> Feed:
    """Random words; row i is i tokens shorter than the first, down to 2."""
    random = np.random.default_rng(seed)
    mask = np.arange(tokens) < np.maximum(2, tokens - np.arange(rows))[:, None]
    ids, types = random.integers(0, WORDS, (rows, tokens)) * mask, (np.arange(tokens) >= tokens // 2) * mask
    return {name: np.asarray(value, np.int32) for name, value in zip(INPUTS, (ids, mask, types), strict=True)}


def batch(rows: int = 8, tokens: int = 12, seed: int = 0) -> tuple[Feed, np.ndarray]:
    """The label can be learned: each has 50 words of its own."""
    labels = np.random.default_rng(seed).integers(0, LABELS, rows)
    found = feed(rows, tokens, seed)
    found["input_word_ids"] = found["input_word_ids"] % 50 + 50 * labels[:, None].astype(np.int32)
    return found, labels


def build(job: Job) -> tf_keras.Model:
    """The same weights for the same job, whatever was built before."""
    classifier.set_precision(job.amp)
    tf_keras.utils.set_random_seed(job.seed)
    layer = EncoderLayer(job.encoder, fine_tune_layers=job.fine_tune_layers, return_sequence=job.task == "tagging")
    model = classifier.build(layer, job.task, job.labels, job.dropout)
    classifier.set_precision("none")
    return model


def step(job: Job, *, dropped: bool = True) -> TrainStep:
    """The step of this job, its variables as new; one object a job, because tracing takes seconds.
    `dropped`: with dropout.
    """
    take, new = _traced(job, dropped)
    for variable, value in zip(take.variables, new, strict=True):
        variable.assign(value)
    take.schedule, take.request_stop = (lambda _: job.learning_rate), False
    return take


@functools.cache
def _traced(job: Job, dropped: bool) -> tuple[TrainStep, list[np.ndarray]]:
    model = build(job)
    for layer in model.submodules:
        if isinstance(layer, bert.Dropout) and not dropped:
            layer._zeroed = 0
    take = TrainStep(model, job, 1000)
    return take, [variable.numpy() for variable in take.variables]


def values(variables: list[tf.Variable]) -> dict[str, np.ndarray]:
    return {variable.name.removesuffix(":0"): variable.numpy() for variable in variables}
