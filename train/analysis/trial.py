"""Steps of a training job of which nothing is kept: timed with real ranks (`run`), or taken in this
process alone, to look at (`open_loop`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slipway.errors import TrainingError
from train.data import dataset
from train.data.corpus import Corpus
from train.distributed import launcher
from train.distributed.ranks import Ranks
from train.distributed.watchdog import Heartbeat
from train.engine.history import StepLine, progress_lines
from train.job import FACTS, PROGRESS, Job

if TYPE_CHECKING:
    from train.engine.loop import Loop

Floats = NDArray[np.float64]
_BLOCKS = 10  # a rate is the median over so many stretches of steps: one step is short, and its texts may be long


@dataclass(frozen=True)
class Timed:
    """The timed steps of a job, without those at its beginning, which trace and fill caches.

    Arrays are [steps]; counts are of all ranks.
    """

    seconds: Floats  # from the end of the step before to the end of this one
    outside: Floats  # seconds of these that rank 0 was not inside TensorFlow
    examples: Floats
    tokens: Floats  # of the texts
    fed: Floats  # tokens, padding included
    first_step: float  # seconds, with tracing and compiling
    peak_memory: int  # bytes resident, of the largest rank

    def per_second(self, counts: Floats) -> dict[str, float]:
        """Return median and quartiles, over stretches of steps, of `counts` [steps] per second."""
        stretches = np.array_split(np.arange(len(counts)), min(_BLOCKS, len(counts)))
        rates = [counts[steps].sum() / self.seconds[steps].sum() for steps in stretches]
        low, median, high = np.percentile(rates, (25, 50, 75))
        return {"median": float(median), "low": float(low), "high": float(high)}

    @property
    def padding_waste(self) -> float:
        """Share of the tokens fed to the model that are padding, 0 to 1."""
        return float(1 - self.tokens.sum() / self.fed.sum())

    @property
    def outside_share(self) -> float:
        return float(self.outside.sum() / self.seconds.sum())


def run(corpus: Corpus, job: Job, ranks: Ranks, untimed: int, beside: Path | None = None) -> Timed:
    """Take the job's steps with real ranks; return the times of all but the first `untimed`.

    The job's directory is temporary and made in `beside`, so that ranks on other hosts see it if
    they see that. Raises TrainingError when no steps are left, and as `launcher.run` does.
    """
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=beside) as name:
        directory = Path(name)
        dataset.write(dataclasses.replace(corpus, validation=[], test=[]), directory)
        dataclasses.replace(job, evaluate=False, checkpoints="", checkpoint_every=0, resume=False).write(directory)
        launcher.run(directory, ranks)
        peak_memory = json.loads((directory / FACTS).read_text("utf-8"))["peak_memory_bytes"]
        lines = [line for line in progress_lines(directory / PROGRESS) if isinstance(line, StepLine)]
        return timed_steps(lines, untimed, int(peak_memory), job)


def timed_steps(lines: list[StepLine], untimed: int, peak_memory: int, job: Job) -> Timed:
    """Return the times and counts of each step, from lines in which they add up."""
    if len(lines) <= untimed:
        raise TrainingError(
            "the job has no steps to time",
            expected=f"more than {untimed} steps: that many are not timed",
            found=f"{len(lines)} steps",
            where="the training job",
            fix=f"{job.changed('--max-steps', untimed + 10, '--epochs', untimed + 10)}, or a smaller --untimed",
        )
    sums = [(line.seconds, line.examples, line.tokens, line.padded_tokens) for line in lines]
    seconds, examples, tokens, fed = np.diff(np.array(sums, np.float64), axis=0, prepend=0.0)[untimed:].T
    outside = np.array([line.outside_seconds for line in lines[untimed:]])
    return Timed(seconds, outside, examples, tokens, fed, lines[0].seconds, peak_memory)


def in_one_process(job: Job, corpus: Corpus, ranks: int = 1) -> Job:
    """Return the job with the global batch of `ranks`, accumulated, and epochs for `max_steps`."""
    accumulation = job.accumulation * ranks
    rows = job.batch_per_rank * accumulation * job.max_steps
    epochs = 1 + math.ceil(rows / len(corpus.train))  # one more: the last steps of an epoch may be larger
    return dataclasses.replace(job, accumulation=accumulation, epochs=epochs)


@contextmanager
def open_loop(corpus: Corpus, job: Job) -> Iterator[Loop]:
    """Open the job's loop, ready to take steps."""
    from slipway.tensorflow import tf  # before Horovod, which imports TensorFlow, too

    tf.config.threading.set_inter_op_parallelism_threads(1)  # as every rank does
    import horovod.tensorflow as hvd

    from train.engine import rank
    from train.engine.loop import Loop

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        dataset.write(dataclasses.replace(corpus, validation=[], test=[]), directory)
        hvd.init()
        _, model, splits = rank.prepare(directory, job)
        with Heartbeat(directory, 0) as heartbeat:
            yield Loop(directory, job, Ranks(processes=1), heartbeat, model, splits)
