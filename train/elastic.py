"""What an elastic run keeps in memory, so that the loss of a rank costs a few steps and no example.

The state is the variables of the training step and the number of steps done: the plan of batches does not depend on how many ranks
there are, so those that are left share the same steps among them. The weights go back together with the number of the step, so that
no example counts twice in them, and none is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import horovod.tensorflow as hvd
from horovod.common.elastic import ObjectState, run_fn
from horovod.common.exceptions import HorovodInternalError

from train.keras2 import tf
from train.step import TrainStep

KEEP_EVERY = 10  # steps; a copy of all variables is as dear as a small step


class State(ObjectState):  # Horovod's own TensorFlowState does not broadcast variables again in eager mode
    """`done` is the number of steps taken. After the loss of a rank, Horovod calls `restore`, `reset` and `sync`."""

    done: int

    def __init__(self, step: TrainStep, rebuild: Callable[[], TrainStep], done: int, *, keeps: bool) -> None:
        """`rebuild` makes the step for another number of ranks; a state that is never restored need not keep anything."""
        self.step, self._rebuild, self.keeps = step, rebuild, keeps
        self._arrays = [variable.numpy() for variable in step.variables] if keeps else []
        self._broken: set[int] = set()  # numbers of ranks with which an all-reduce failed
        super().__init__(bcast_object=hvd.broadcast_object, get_rank=hvd.rank, done=done)

    def keep(self) -> None:
        """What is gone back to from now on. Not Horovod's `commit`, which also asks the others for new hosts: there are none.

        First all ranks meet: rank 0 has then written the lines of these steps, so that they are there if it is lost.
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
        """All ranks take rank 0's variables and number."""
        with self.told_apart():
            self.step.broadcast()
            super().sync()
            self.keep()

    @contextlib.contextmanager
    def told_apart(self) -> Iterator[None]:
        """Raises HorovodInternalError, after which the others go on, for what TensorFlow makes of an all-reduce that failed.

        Horovod's own wrapper knows a few operations by name, and swallows the error of all others: the rank ends with 0. An error
        that is there again although no rank was lost is this rank's own.
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
    """`work(state, …)`, begun again after the loss of a rank from the state that was kept last."""

    def once(state: State, *arguments: Any) -> None:
        with state.told_apart():
            work(state, *arguments)

    wrapped: Callable[..., None] = run_fn(once, _connect_anew)
    return wrapped


def _connect_anew() -> None:
    hvd.shutdown()
    hvd.init()
