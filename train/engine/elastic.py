"""The state that an elastic run keeps in memory: losing a rank costs a few steps and no example.

The state is the variables of the training step and the number of steps done. The plan of batches
does not depend on how many ranks there are, so those that are left share the same steps among them.
The weights go back together with the number of the step, so that no example counts twice in them,
and none is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import horovod.tensorflow as hvd
from horovod.common.elastic import ObjectState, run_fn
from horovod.common.exceptions import HorovodInternalError

from slipway.tensorflow import tf
from train.engine.step import TrainStep

KEEP_EVERY = 10  # steps; to copy all variables takes as long as a small step


class State(ObjectState):  # Horovod's own TensorFlowState does not broadcast variables again in eager mode
    """The training step and `done`, the number of steps taken.

    After the loss of a rank, Horovod calls `restore`, `reset` and `sync`.
    """

    done: int

    def __init__(self, step: TrainStep, rebuild: Callable[[], TrainStep], done: int, *, keeps: bool) -> None:
        """Take copies if `keeps`; `rebuild` makes the step for another number of ranks."""
        self.step, self._rebuild, self.keeps = step, rebuild, keeps
        self._arrays = [variable.numpy() for variable in step.variables] if keeps else []
        self._broken: set[int] = set()  # numbers of ranks with which an all-reduce failed
        super().__init__(bcast_object=hvd.broadcast_object, get_rank=hvd.rank, done=done)

    def keep(self) -> None:
        """Copy the state; the loss of a rank goes back to the last copy.

        Horovod's `commit` would also ask the others for new hosts: there are none. First all ranks
        meet, so that rank 0 has written the lines of these steps before it can be lost.
        """
        if self.keeps:
            hvd.allreduce(tf.zeros(1), name="keep")
            self._arrays = [variable.numpy() for variable in self.step.variables]
            self.save()

    def reset(self) -> None:
        self.step = self._rebuild()
        for variable, array in zip(self.step.variables, self._arrays, strict=True):
            variable.assign(array)

    def sync(self) -> None:
        """Give all ranks the variables of rank 0, and its number of steps."""
        with self.detect_lost_rank():
            self.step.broadcast()
            super().sync()
            self.keep()

    @contextlib.contextmanager
    def detect_lost_rank(self) -> Iterator[None]:
        """Raise HorovodInternalError, after which the others go on, when an all-reduce failed.

        Horovod's own wrapper knows a few operations by name, and swallows the error of all others:
        the rank ends with 0. An error that comes again with as many ranks is this rank's own.
        """
        ranks = hvd.size()
        try:
            yield
        except tf.errors.UnknownError as error:
            if ranks in self._broken:
                raise
            self._broken.add(ranks)
            raise HorovodInternalError(error.message) from error


def run(work: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls `work(state, …)`, and again after the loss of a rank."""

    def attempt(state: State, *arguments: Any) -> None:
        with state.detect_lost_rank():
            work(state, *arguments)

    restarting: Callable[..., None] = run_fn(attempt, _connect_anew)
    return restarting


def _connect_anew() -> None:
    hvd.shutdown()
    hvd.init()
