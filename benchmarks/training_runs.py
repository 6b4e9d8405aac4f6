"""Short training jobs of several settings, in turn and round by round, so that what is compared was measured side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.ratios import Floats, ratio
from train import speed
from train.corpus import Corpus
from train.job import Job
from train.ranks import Ranks
from train.speed import Timed

_BATCH = 32  # rows of two ranks together
Times = Mapping[str, list[Timed]]  # name of a setting → one a round


@dataclass(frozen=True)
class Effort:
    rounds: int
    rows: int  # of an epoch, two ranks together: a few steps
    epochs: int  # the first is not timed


@dataclass(frozen=True)
class Setting:
    name: str
    corpus: Corpus
    job: Job
    ranks: Ranks
    untimed: int  # steps at the beginning
    environment: dict[str, str] = field(default_factory=dict)


def setting(name: str, found: Corpus, job: Job, ranks: Ranks, effort: Effort, **environment: str) -> Setting:
    """Whole epochs over all rows of `found`, the first of them not timed: so every setting is timed on the same texts."""
    per_step = job.batch_per_rank * job.accumulation * ranks.processes
    steps = max(1, len(found.train) // per_step)
    return Setting(name, found, dataclasses.replace(job, epochs=effort.epochs), ranks, steps, environment)


def sampled(found: Corpus, rows: int) -> Corpus:
    """Whole batches of neighbours in length, evenly out of all of them: few rows that are as long, and as easily padded, as all."""
    order = np.argsort([len(str(row.text)) for row in found.train], kind="stable")
    batches = np.array_split(order, max(1, len(order) // _BATCH))
    chosen = np.linspace(0, len(batches) - 1, 2 * (rows // _BATCH) + 1).round().astype(int)[1::2]
    return dataclasses.replace(found, train=[found.train[row] for batch in chosen for row in batches[batch][:_BATCH]])


def every_second(found: Corpus) -> Corpus:
    """Half of the rows, of the same lengths as the other half: one rank's work where two share the whole."""
    return dataclasses.replace(found, train=sorted(found.train, key=lambda row: len(str(row.text)))[::2])


def run(settings: list[Setting], rounds: int) -> dict[str, list[Timed]]:
    """Every round runs every setting once, in random order. Raises as `speed.run`."""
    times: dict[str, list[Timed]] = {setting.name: [] for setting in settings}
    random = np.random.default_rng(0)
    for number in range(rounds):
        for place in random.permutation(len(settings)):
            setting = settings[place]
            print(f"round {number + 1}/{rounds}  {setting.name}", flush=True)
            with _environment(setting.environment):
                times[setting.name].append(speed.run(setting.corpus, setting.job, setting.ranks, setting.untimed))
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


def faster(times: Times, ours: str, theirs: str, expected: float = 1.0) -> dict[str, Any]:
    """How many times as many examples a second `ours` trains as `theirs`, ÷ `expected`, with its 95 % interval.

    Rounds are the loads of benchmarks.ratios. Where both took the same steps, they are compared step by step; else by the whole
    of what was timed.
    """
    loads = [_seconds(one, other) for one, other in zip(times[ours], times[theirs], strict=True)]
    return ratio([slow / expected for _, slow in loads], [fast for fast, _ in loads])


def _seconds(ours: Timed, theirs: Timed) -> tuple[Floats, Floats]:
    """Seconds an example of both: of every step, or of all together, [1]."""
    if np.array_equal(ours.examples, theirs.examples) and np.array_equal(ours.tokens, theirs.tokens):
        return ours.seconds / ours.examples, theirs.seconds / theirs.examples
    return tuple(np.array([one.seconds.sum() / one.examples.sum()]) for one in (ours, theirs))  # type: ignore[return-value]


def rows(settings: list[Setting], times: Times) -> list[dict[str, Any]]:
    """One row a setting, for the record: medians over rounds, and the least and most."""
    found = []
    for setting in settings:
        timed = times[setting.name]
        rates = [float(one.examples.sum() / one.seconds.sum()) for one in timed]
        found.append(
            {
                "setting": setting.name,
                "ranks": setting.ranks.processes,
                "cores_per_rank": setting.ranks.cores_per_rank,
                "environment": setting.environment,
                "steps": len(timed[0].seconds),
                "examples_per_second": {"median": float(np.median(rates)), "low": min(rates), "high": max(rates)},
                "outside_tensorflow": float(np.median([one.outside_share for one in timed])),
                "padding_waste": timed[0].padding_waste,
                "first_step_seconds": float(np.median([one.first_step for one in timed])),
                "peak_memory_bytes": max(one.peak_memory for one in timed),
            }
        )
    return found
