"""One optimizer step over all ranks, as one call into TensorFlow.

Micro-batches → each rank's gradients → mean over the ranks → unscaled, clipped → applied, or
skipped on all ranks alike when they are not finite. With XLA the gradients are compiled, but not
the all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
from numpy.typing import NDArray

from slipway.contract.bundle import NOT_ASKED
from slipway.contract.ragged import INPUTS, Feed
from slipway.encoder import bert
from slipway.errors import TrainingError
from slipway.tensorflow import tf, tf_keras
from train.engine import gradients
from train.engine.gradients import Gradient
from train.engine.optimizer import AdamW, LossScale, Schedule, WeightAverage, scaled_rate
from train.job import Job

# The feed and the labels. Classifier: [batch]; tagger: [batch, sequence], with NOT_ASKED.
MicroBatch = tuple[Feed, NDArray[np.int64]]

_IDS = tf.TensorSpec([None, None], tf.int32)
_SEED = tf.TensorSpec([2], tf.int32)


@dataclass(frozen=True)
class StepResult:
    """The outcome of a step, the same on every rank."""

    loss: float  # mean over the global batch
    skipped: bool  # gradients were not finite: no rank applied them
    # Ranks whose own loss or gradients were not finite before the reduction. None when a float16
    # overflow was all that happened: the step is skipped, and the loss scale halved.
    nonfinite_ranks: tuple[int, ...]
    stop: bool  # rank 0 asked all ranks to stop after this step
    learning_rate: float
    gradient_norm: float  # global, of the averaged gradients, before clipping


class TrainStep:
    """The step of a rank, built after hvd.init(), and anew when the number of ranks has changed.

    `schedule` (step number → rate) and `request_stop` may be set at any time.
    """

    def __init__(self, model: tf_keras.Model, job: Job, steps: int) -> None:
        """Build the step for a run of `steps`. Raises TrainingError for contradictory choices."""
        _check(job)
        peak = scaled_rate(job.learning_rate, hvd.size(), job.scale_learning_rate)
        self.schedule: Callable[[int], float] = Schedule(peak, steps, job.warm_up, job.decay)
        self.request_stop = False
        self._model, self._job, self._trained = model, job, model.trainable_variables
        self._scale = LossScale(dynamic=job.amp == "float16")
        self._optimizer = AdamW(self._trained, job.weight_decay)
        self._average = WeightAverage(self._trained, steps, job.average_weights)
        self._labels = tf.TensorSpec([None, None] if job.task == "tagging" else [None], tf.int64)
        signature = [dict.fromkeys(INPUTS, _IDS), self._labels, tf.TensorSpec([], tf.float32), _SEED]
        self._local = tf.function(self._gradients, signature, autograph=False, jit_compile=job.xla or None)
        self._traced: dict[bool, Any] = {}  # with gradients of earlier micro-batches or without → the whole step

    @property
    def variables(self) -> list[tf.Variable]:
        """The content of a checkpoint: weights, moments, number of updates, loss scale, means."""
        return [*self._model.variables, *self._optimizer.variables, *self._scale.variables, *self._average.variables]

    def broadcast(self) -> None:
        """Give every rank the weights and the optimizer state of rank 0."""
        hvd.broadcast_variables(self.variables, root_rank=0)

    def __call__(self, micro_batches: Sequence[MicroBatch], weight: float, number: int) -> StepResult:
        """Take step `number`, from 0, of the run.

        The summed losses are divided by `weight`, the labelled answers of the global batch divided
        by ranks: so the mean over ranks is that of the global batch, whatever the ranks' shares.
        """
        seeds = seeds_of(self._job.seed, hvd.rank(), number, len(micro_batches))
        earlier: tuple[Any, ...] = ()
        for (feed, labels), seed in zip(micro_batches[:-1], seeds, strict=False):
            loss, own = self._local(feed, labels, np.float32(weight), seed)
            earlier = (earlier[0] + loss, list(map(gradients.added, earlier[1], own))) if earlier else (loss, own)
        rate = self.schedule(number)
        feed, labels = micro_batches[-1]
        scalars = tf.constant([weight, rate, float(self.request_stop)], tf.float32)
        facts = self._whole(bool(earlier))(feed, tf.constant(labels, tf.int64), scalars, tf.constant(seeds[-1]), earlier).numpy()
        loss, stop, norm, skipped = facts[:4].tolist()
        self._average.take(number)
        return StepResult(
            loss=loss,
            skipped=bool(skipped),
            nonfinite_ranks=tuple(np.flatnonzero(facts[4:]).tolist()),
            stop=bool(stop),
            learning_rate=rate,
            gradient_norm=norm,
        )

    def _whole(self, accumulated: bool) -> Any:
        if accumulated not in self._traced:
            specs = tf.nest.map_structure(tf.type_spec_from_value, self._local.get_concrete_function().structured_outputs)
            earlier = tuple(specs) if accumulated else ()
            scalars = tf.TensorSpec([3], tf.float32)
            traced = tf.function(self._step, [dict.fromkeys(INPUTS, _IDS), self._labels, scalars, _SEED, earlier], autograph=False)
            self._traced[accumulated] = traced
        return self._traced[accumulated]

    def _gradients(self, feed: Feed, labels: tf.Tensor, weight: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, list[Gradient]]:
        """Return this rank's loss, and the gradients of the scaled loss."""
        with tf.GradientTape() as tape, bert.masks(seed):
            logits = self._model(feed, training=True)
            labelled = labels != NOT_ASKED
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(labelled, labels, 0), logits)
            loss = tf.reduce_sum(tf.where(labelled, losses, 0.0)) / weight
            scaled = loss * self._scale.value
        own = tape.gradient(scaled, self._trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, gradients.densified(own, self._trained, sparse_as_dense=self._job.sparse_as_dense)

    def _step(self, feed: Feed, labels: tf.Tensor, scalars: tf.Tensor, seed: tf.Tensor, earlier: tuple[Any, ...]) -> tf.Tensor:
        """Return float32 [4 + ranks]: loss, stop, gradient norm, skipped, 1 for a rank to blame."""
        weight, rate, stop = tf.unstack(scalars)
        own_loss, own = self._local(feed, labels, weight, seed)
        if earlier:
            own_loss, own = own_loss + earlier[0], list(map(gradients.added, own, earlier[1]))
        loss, stop = tf.unstack(_mean(tf.stack([own_loss, stop]), "facts"))
        distinct_rows = gradients.summed if self._job.optimizer == "lazy_adam" else gradients.dense
        averaged = list(map(distinct_rows, gradients.averaged(own, self._job.compression)))
        norm = tf.linalg.global_norm(averaged) / self._scale.value
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)  # the same on every rank: computed from what all have
        blamed = tf.cond(finite, lambda: tf.zeros([hvd.size()]), lambda: self._blamed(own_loss, own))
        factor = self._clipped(norm) / self._scale.value
        self._scale.update(finite)
        tf.cond(finite, lambda: self._apply(averaged, factor, rate), lambda: tf.constant(0))
        return tf.concat([[loss, tf.cast(stop > 0, tf.float32), norm, 1 - tf.cast(finite, tf.float32)], blamed], 0)

    def _clipped(self, norm: tf.Tensor) -> tf.Tensor:
        """Return the factor that clips gradients of this norm."""
        limit = self._job.clip_norm
        return limit / tf.maximum(norm, limit) if limit else tf.constant(1.0)

    def _apply(self, averaged: list[Gradient], factor: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        self._optimizer.apply([gradients.multiplied(gradient, factor) for gradient in averaged], rate)
        return tf.constant(0)

    def _blamed(self, loss: tf.Tensor, own: list[Gradient]) -> tf.Tensor:
        """Return float32 [ranks]: 1 for those whose own loss or gradients are not finite."""
        overflow = ~tf.math.is_finite(tf.linalg.global_norm(own)) & ~self._scale.explains()
        guilty = tf.cast(overflow | ~tf.math.is_finite(loss), tf.float32)
        return _mean(tf.one_hot(hvd.rank(), hvd.size()) * guilty, "blamed") * hvd.size()


def seeds_of(seed: int, rank: int, number: int, count: int) -> NDArray[np.int32]:
    """Return the seeds of dropout masks, int32 [count, 2]: the same again when a run is resumed."""
    state = np.random.SeedSequence((seed, rank, number)).generate_state(2 * count)
    return state.view(np.int32).reshape(count, 2)


def _mean(tensor: tf.Tensor, name: str) -> tf.Tensor:
    return hvd.allreduce(tensor, op=hvd.Average, name=name, ignore_name_scope=True) if hvd.size() > 1 else tensor


def _check(job: Job) -> None:
    if job.optimizer == "lazy_adam" and job.sparse_as_dense:
        raise TrainingError(
            "lazy_adam needs to know which rows of the embeddings a batch touched",
            expected="sparse_as_dense off",
            found="optimizer lazy_adam with sparse_as_dense on",
            where="the training job",
            fix=f"{job.changed('--sparse-as-dense', 'off')}, or with --optimizer adamw",
        )
