"""A rank of test_averaging.py: takes a few steps on its share of every batch, and rank 0 writes the
weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import horovod.tensorflow as hvd
import numpy as np

from slipway.contract.ragged import Feed
from tests.support.models import tiny_modules
from train.engine.step import TrainStep

ROWS, STEPS = 7, 4  # an odd number: the ranks' shares are unequal
SETTINGS = {
    "fp16, dense": {"compression": "fp16", "sparse_as_dense": True},
    "sparse": {"compression": "none", "sparse_as_dense": False},
}


def share(batch: tuple[Feed, np.ndarray], rank: int, ranks: int) -> tuple[Feed, np.ndarray]:
    feed, labels = batch
    return {name: value[rank::ranks] for name, value in feed.items()}, labels[rank::ranks]


def weights(module: str, setting: str, rank: int, ranks: int) -> tuple[list[np.ndarray], list[tuple[float, float]]]:
    """Without dropout, whose masks depend on the rank: the weights after all steps, and every
    step's loss and gradient norm.

    The norm, because AdamW's weights are the same for gradients that are all too large by one
    factor.
    """
    take: TrainStep = tiny_modules.step(tiny_modules.job(module, **SETTINGS[setting]), dropped=False)
    take.broadcast()
    results = [take([share(tiny_modules.batch(ROWS, seed=number), rank, ranks)], ROWS / ranks, number) for number in range(STEPS)]
    return [variable.numpy() for variable in take._model.trainable_variables], [(one.loss, one.gradient_norm) for one in results]


if __name__ == "__main__":
    hvd.init()
    for setting in SETTINGS:
        found, scalars = weights(sys.argv[1], setting, hvd.rank(), hvd.size())
        if hvd.rank() == 0:
            np.savez(Path(sys.argv[2]) / f"{setting}.npz", *found, scalars=scalars)
