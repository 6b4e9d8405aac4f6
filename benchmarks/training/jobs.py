"""Short training jobs of several settings, in turn, so that they were measured side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks import harness
from slipway.statistics import Floats, Ratio, ratio
from train.analysis import trial
from train.analysis.trial import Timed
from train.data.corpus import Corpus
from train.distributed.ranks import Ranks
from train.job import Job

_BATCH = 32  # rows of two ranks together
Times = Mapping[str, list[Timed]]  # name of a setting → one a round


@dataclass(frozen=True)
class Effort:
    rounds: int
    rows: int  # of an epoch, two ranks together: a few steps
    epochs: int  # the first is not timed


@dataclass(frozen=True)
class JobSetting:
    """A job, what it is trained on, and where it runs."""

    name: str
    corpus: Corpus
    job: Job
    ranks: Ranks
    untimed: int  # steps at the beginning
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rate:
    """Examples per second over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class SettingRow:
    """One setting in the record: medians over its rounds."""

    setting: str
    ranks: int
    cores_per_rank: int
    environment: dict[str, str]
    steps: int
    examples_per_second: Rate
    outside_tensorflow: float  # share of the time
    padding_waste: float  # share of the tokens
    first_step_seconds: float
    peak_memory_bytes: int  # the largest rank of all rounds


def setting(name: str, corpus: Corpus, job: Job, ranks: Ranks, effort: Effort, **environment: str) -> JobSetting:
    """Return a setting of whole epochs, the first not timed: all are timed on the same texts."""
    per_step = job.batch_per_rank * job.accumulation * ranks.processes
    steps = max(1, len(corpus.train) // per_step)
    return JobSetting(name, corpus, dataclasses.replace(job, epochs=effort.epochs), ranks, steps, environment)


def sampled(corpus: Corpus, rows: int) -> Corpus:
    """Take whole batches of rows that are neighbours in length, evenly spaced over all lengths.

    The sample is as long, and as easily padded, as the whole.
    """
    order = np.argsort([len(str(row.text)) for row in corpus.train], kind="stable")
    batches = np.array_split(order, max(1, len(order) // _BATCH))
    chosen = np.linspace(0, len(batches) - 1, 2 * (rows // _BATCH) + 1).round().astype(int)[1::2]
    return dataclasses.replace(corpus, train=[corpus.train[row] for batch in chosen for row in batches[batch][:_BATCH]])


def every_second(corpus: Corpus) -> Corpus:
    """Take half of the rows, as long as the others: one rank's work where two share the whole."""
    return dataclasses.replace(corpus, train=sorted(corpus.train, key=lambda row: len(str(row.text)))[::2])


def run(settings: list[JobSetting], rounds: int) -> dict[str, list[Timed]]:
    """Run every setting once a round, in random order. Raises as `trial.run`."""
    by_name = {setting.name: setting for setting in settings}
    times: dict[str, list[Timed]] = {name: [] for name in by_name}
    for number, name in harness.in_turn(rounds, list(by_name)):
        print(f"round {number + 1}/{rounds}  {name}", flush=True)
        chosen = by_name[name]
        with _environment(chosen.environment):
            times[name].append(trial.run(chosen.corpus, chosen.job, chosen.ranks, chosen.untimed))
    return times


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def faster(times: Times, ours: str, baseline: str, expected: float = 1.0) -> Ratio:
    """Return examples/s of `ours` ÷ `baseline` ÷ `expected`; rounds count as loads.

    Settings that took the same steps are compared step by step, others by the whole of the time.
    """
    rounds = [_seconds(own, other) for own, other in zip(times[ours], times[baseline], strict=True)]
    return ratio([slow / expected for _, slow in rounds], [fast for fast, _ in rounds])


def _seconds(ours: Timed, baseline: Timed) -> tuple[Floats, Floats]:
    """Return seconds per example of both: [steps] where the steps are the same, else [1]."""
    if np.array_equal(ours.examples, baseline.examples) and np.array_equal(ours.tokens, baseline.tokens):
        return ours.seconds / ours.examples, baseline.seconds / baseline.examples
    return _overall(ours), _overall(baseline)


def _overall(timed: Timed) -> Floats:
    return np.array([timed.seconds.sum() / timed.examples.sum()])


def rows(settings: list[JobSetting], times: Times) -> list[SettingRow]:
    return [_row(setting, times[setting.name]) for setting in settings]


def _row(setting: JobSetting, rounds: list[Timed]) -> SettingRow:
    rates = [float(timed.examples.sum() / timed.seconds.sum()) for timed in rounds]
    return SettingRow(
        setting=setting.name,
        ranks=setting.ranks.processes,
        cores_per_rank=setting.ranks.cores_per_rank,
        environment=setting.environment,
        steps=len(rounds[0].seconds),
        examples_per_second=Rate(float(np.median(rates)), min(rates), max(rates)),
        outside_tensorflow=float(np.median([timed.outside_share for timed in rounds])),
        padding_waste=rounds[0].padding_waste,
        first_step_seconds=float(np.median([timed.first_step for timed in rounds])),
        peak_memory_bytes=max(timed.peak_memory for timed in rounds),
    )
