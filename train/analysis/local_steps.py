"""A training job's steps in this process alone, to look at: nothing that they learn is kept."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from train.data import dataset
from train.data.corpus import Corpus
from train.distributed.ranks import Ranks
from train.distributed.watchdog import Heartbeat
from train.job import Job

if TYPE_CHECKING:
    from train.engine.loop import Loop


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
