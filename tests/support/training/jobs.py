"""Jobs small enough for tests with real ranks: two processes, the tiny encoder, a few steps."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.command import CHECKOUT
from train.data import corpus, dataset
from train.job import PROGRESS, Job

ROWS = 320  # 10 steps of two ranks
JOB = Job(
    task="single_text",
    labels=4,
    max_seq_len=48,
    encoder="",
    output_size=0,
    fine_tune_layers=-1,
    debug=False,
    epochs=1,
    max_steps=0,
    batch_per_rank=16,
    accumulation=1,
    batches="bucketed",
    padding="longest",
    optimizer="adamw",
    learning_rate=3e-3,
    scale_learning_rate=False,
    warm_up=0.1,
    decay="linear",
    weight_decay=0.01,
    clip_norm=1.0,
    average_weights=0.0,
    dropout=0.1,
    compression="none",
    sparse_as_dense=True,
    amp="none",
    xla=False,
    on_nan="stop",
    hang_limit=120,
    checkpoint_every=0,
    checkpoints="",
    resume=False,
    evaluate=False,
    seed=1,
)


def prepare(directory: Path, generated: Path, encoder: Path, **settings: Any) -> Path:
    """A job's directory, as train.finetune writes it."""
    directory.mkdir()
    found = corpus.load(generated, corpus.Columns(), validation_share=0.05, seed=1)
    dataset.write(dataclasses.replace(found, train=found.train[:ROWS]), directory)
    dataclasses.replace(JOB, encoder=str(encoder), **settings).write(directory)
    return directory


def finetune(*arguments: object) -> subprocess.Popen[str]:
    """`slipway train …` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "slipway.cli", "train", *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def steps(directory: Path) -> list[dict[str, Any]]:
    """The lines of progress of steps, also while they are written."""
    path = directory / PROGRESS
    whole, _, _ = (path.read_text("utf-8") if path.exists() else "").rpartition("\n")
    return [line for line in map(json.loads, whole.splitlines()) if "loss" in line]


def wait_for_step(directory: Path, step: int, running: Callable[[], bool] = lambda: True, within: float = 300) -> bool:
    """Whether the job in `directory` has taken so many steps, once it has, or is no longer
    `running`.
    """
    ends = time.monotonic() + within
    while running() and time.monotonic() < ends:
        if len(steps(directory)) >= step:
            return True
        time.sleep(0.05)
    return False


def finetune_to_step(step: int, new_directory: Callable[[], Path], *flags: object) -> tuple[Path, subprocess.Popen[str]]:
    """A run in a new directory that has taken so many steps and goes on: its bundle to be, and
    its process. The steps take seconds: on a machine that stalls a run may be over before that is
    seen, so it is tried three times.
    """
    for _ in range(3):
        out = new_directory() / "bundle"
        process = finetune(out.parent, *flags)
        if wait_for_step(scratch(out, process), step, lambda process=process: process.poll() is None):
            return out, process
        if process.poll() is None:
            process.kill()
        output = process.communicate()
        if process.returncode:
            raise AssertionError(output)
    raise AssertionError(f"three runs were over before step {step} was seen")


def process_of(directory: Path, rank: int) -> int:
    return int(json.loads((directory / f"rank.{rank}.json").read_text("utf-8"))["pid"])


def small_corpus(generated: Path, target: Path) -> Path:
    """The first rows of the generated corpus, in its form."""
    target.mkdir()
    for name, rows in (("train.csv", ROWS), ("test.csv", 64)):
        with (generated / name).open(encoding="utf-8") as file:
            (target / name).write_text("".join(itertools.islice(file, rows)), "utf-8")
    (target / "classes.txt").write_text((generated / "classes.txt").read_text("utf-8"), "utf-8")
    return target


def scratch(out: Path, process: subprocess.Popen[str]) -> Path:
    """Where the ranks that this process started write."""
    return out.parent / f".{out.name}.building-{process.pid}" / "training"


def steps_of_bundle(bundle: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((bundle / "history.json").read_text("utf-8"))["steps"]
    return found
