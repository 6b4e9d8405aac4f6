"""Measure how fast training runs here, and how much of the machine it uses.

Takes real steps with real ranks, and all options of training; keeps nothing but a JSON record:

    slipway analyze throughput runs/demo --processes 2 --max-steps 40
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from slipway import console, provenance
from slipway.contract import manifest
from train import settings
from train.analysis import flops, trial
from train.analysis.trial import Floats, Timed
from train.distributed.ranks import Ranks
from train.job import Job

if TYPE_CHECKING:
    from slipway.encoder.bert import Size

_PRECISION = {"none": "float32", "float16": "float16", "bfloat16": "bfloat16"}  # of the products, by --amp


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of whole training steps."""

    per_example: float
    per_second: float
    share_of_peak: float | None  # None: no peak was measured


@dataclass(frozen=True)
class StepCost:
    """The cost of the texts alone (`model`), and with their padding (`fed`)."""

    model: Cost
    fed: Cost
    formula: str = flops.FORMULA


@dataclass(frozen=True)
class TrainingSpeed:
    """The figures of a measurement as in its record. A rate has a median and quartiles."""

    steps: int
    examples_per_second: dict[str, float]
    tokens_per_second: dict[str, float]
    fed_tokens_per_second: dict[str, float]
    padding_waste: float
    outside_tensorflow: float
    first_step_seconds: float
    peak_memory_bytes: int
    matmul_peak: dict[str, float]  # precision → operations per second
    flops: StepCost | None  # None: the encoder is not recognised, so its operations are not known


def throughput(arguments: argparse.Namespace) -> int:
    corpus = settings.corpus_of(arguments)
    job, ranks = settings.job_of(arguments, corpus, checkpoints="", evaluate=False), settings.ranks_of(arguments)
    arguments.run.mkdir(parents=True, exist_ok=True)
    timed = trial.run(corpus, job, ranks, arguments.untimed, arguments.run.resolve())
    # The peak of this machine says nothing of several.
    peaks = {} if ranks.hosts else _matmul_peaks(threads(ranks), ranks.processes)
    from train.model.hub_encoder import EncoderLayer  # TensorFlow, which would take memory from the ranks

    figures = training_speed(timed, job, EncoderLayer(job.encoder, again=job.changed).size, peaks)
    record = {
        **asdict(figures),
        "untimed_steps": arguments.untimed,
        "job": asdict(job),
        "ranks": asdict(ranks),
        "corpus": {"where": corpus.where, "sha256": corpus.sha256, "train_rows": len(corpus.train)},
        **provenance.record("tensorflow", "tf_keras", "horovod", "numpy"),
    }
    out = arguments.run / "training_speed.json"
    manifest.write_json(out, record)
    _show(figures)
    print(f"record    {out}")
    return 0


def _matmul_peaks(threads: int, gpus: int) -> dict[str, float]:
    """Return precision → operations per second, of a process with TensorFlow threads of its own."""
    command = [sys.executable, "-m", "train.analysis.matmul_peak", "--threads", str(threads), "--gpus", str(gpus)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    peaks: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return peaks


def threads(ranks: Ranks) -> int:
    """Return the number of cores that all ranks of this machine compute on together."""
    return ranks.processes * ranks.cores_per_rank or len(os.sched_getaffinity(0))


def training_speed(timed: Timed, job: Job, size: Size | None, peaks: dict[str, float]) -> TrainingSpeed:
    """Return the figures of the timed steps; `peaks` are precision → operations per second."""
    peak = peaks.get(_PRECISION[job.amp])
    return TrainingSpeed(
        steps=len(timed.seconds),
        examples_per_second=timed.per_second(timed.examples),
        tokens_per_second=timed.per_second(timed.tokens),
        fed_tokens_per_second=timed.per_second(timed.fed),
        padding_waste=timed.padding_waste,
        outside_tensorflow=timed.outside_share,
        first_step_seconds=timed.first_step,
        peak_memory_bytes=timed.peak_memory,
        matmul_peak=peaks,
        flops=None
        if size is None
        else StepCost(_cost(timed, timed.tokens, job, size, peak), _cost(timed, timed.fed, job, size, peak)),
    )


def _cost(timed: Timed, tokens: Floats, job: Job, size: Size, peak: float | None) -> Cost:
    """Return the cost of steps of so many `tokens` [steps].

    A step costs what its mean length does: exact but for the attention products, which are 2 % of
    the operations at 52 tokens.
    """
    tagging, layers = job.task == "tagging", job.fine_tune_layers
    means = tokens / timed.examples
    per_example = [flops.training(size, mean, job.labels, tagging=tagging, fine_tune_layers=layers) for mean in means]
    total = float(np.dot(timed.examples, per_example))
    rate = total / float(timed.seconds.sum())
    return Cost(total / float(timed.examples.sum()), rate, rate / peak if peak else None)


def _show(figures: TrainingSpeed) -> None:
    table = console.table("Training speed", "figure", "median", "quartiles", left=("figure",))
    for name in ("examples_per_second", "tokens_per_second", "fed_tokens_per_second"):
        rate = getattr(figures, name)
        table.add_row(name.replace("_", " "), f"{rate['median']:.1f}", f"{rate['low']:.1f} to {rate['high']:.1f}")
    costs = {"model": figures.flops.model, "fed": figures.flops.fed} if figures.flops else {}
    for name, cost in costs.items():
        table.add_row(f"{name} GFLOP an example", f"{cost.per_example / 1e9:.3f}", "")
        table.add_row(f"{name} TFLOP/s", f"{cost.per_second / 1e12:.4f}", "")
        if cost.share_of_peak:
            table.add_row(f"{name} share of matmul peak", f"{cost.share_of_peak:.1%}", "")
    for precision, peak in figures.matmul_peak.items():
        table.add_row(f"matmul peak {precision}, TFLOP/s", f"{peak / 1e12:.3f}", "")
    table.add_row("padding waste", f"{figures.padding_waste:.1%}", "")
    table.add_row("step time outside TensorFlow", f"{figures.outside_tensorflow:.2%}", "")
    table.add_row("first step, s", f"{figures.first_step_seconds:.1f}", "")
    table.add_row("peak memory of a rank, GB", f"{figures.peak_memory_bytes / 1e9:.2f}", "")
    console.console().print(table)
    if figures.flops:
        print(f"formula   {figures.flops.formula}")
