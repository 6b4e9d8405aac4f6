"""AdamW without weight decay on biases and LayerNorm, and with LazyAdam's sparse updates; beside it
its learning rates, the loss scale of float16, and the mean of the last weights.

A dense gradient updates its variable in TensorFlow's own fused kernel: one pass over the memory,
where Keras' AdamW makes ten. A sparse one (tf.IndexedSlices) updates the rows it has and no other:
their moments and their decay too, as LazyAdam does (TensorFlow Addons; the paper's Adam, Kingma and
Ba 2015, decays every row's moments at every step).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.tensorflow import tf
from train.engine.gradients import Gradient

_FIRST_SCALE, _DOUBLED_AFTER = 2.0**15, 2000  # steps
_BETA_1, _BETA_2 = 0.9, 0.999
_EPSILON = 1e-6  # Devlin et al. 2018: the released AdamWeightDecayOptimizer
_Pair = tuple[tf.Tensor, tf.Tensor]  # of the first and the second moment
_NO_DECAY = ("bias", "gamma", "beta")  # last parts of the names of biases, and of a LayerNorm's variables
_AVERAGED_EVERY = 10  # steps: neighbours hardly differ, and a pass over all weights costs a tenth of a step


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    The decay, rate × weight_decay × variable, is taken beside Adam's step and not through it.
    """

    def __init__(self, trained: Sequence[tf.Variable], weight_decay: float) -> None:
        self._trained, self._weight_decay = list(trained), weight_decay
        self._first, self._second = ([_slot(variable, name) for variable in trained] for name in ("m", "v"))
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")

    @property
    def variables(self) -> list[tf.Variable]:
        return [self._updates, *self._first, *self._second]

    def apply(self, gradients: Sequence[Gradient], rate: tf.Tensor) -> None:
        """Update all variables, inside a tf.function; sparse gradients have distinct rows."""
        updates = tf.cast(self._updates.assign_add(1), tf.float32)
        powers = _BETA_1**updates, _BETA_2**updates
        moments = zip(self._first, self._second, strict=True)
        for variable, pair, gradient in zip(self._trained, moments, gradients, strict=True):
            decay = self._weight_decay if variable.name.removesuffix(":0").rpartition("/")[2] not in _NO_DECAY else 0.0
            update = _update_rows if isinstance(gradient, tf.IndexedSlices) else _update_all
            update(variable, pair, gradient, rate, decay, powers)


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    return tf.Variable(tf.zeros(variable.shape), trainable=False, name=f"{variable.name.removesuffix(':0')}/{name}")


def _update_all(variable: tf.Variable, moments: _Pair, gradient: tf.Tensor, rate: tf.Tensor, decay: float, powers: _Pair) -> None:
    if decay:
        variable.assign_sub(rate * decay * variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=moments[0].handle,
        v=moments[1].handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=rate,
        beta1=_BETA_1,
        beta2=_BETA_2,
        epsilon=_EPSILON,
        grad=gradient,
    )


def _update_rows(
    variable: tf.Variable, moments: _Pair, gradient: tf.IndexedSlices, rate: tf.Tensor, decay: float, powers: _Pair
) -> None:
    (first, second), rows, values = moments, gradient.indices, gradient.values
    m = _BETA_1 * tf.gather(first, rows) + (1 - _BETA_1) * values
    v = _BETA_2 * tf.gather(second, rows) + (1 - _BETA_2) * tf.square(values)
    first.scatter_update(tf.IndexedSlices(m, rows))
    second.scatter_update(tf.IndexedSlices(v, rows))
    corrected = rate * tf.sqrt(1 - powers[1]) / (1 - powers[0])
    step = corrected * m / (tf.sqrt(v) + _EPSILON) + rate * decay * tf.gather(variable, rows)
    variable.scatter_sub(tf.IndexedSlices(step, rows))


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step's number."""

    peak: float
    steps: int  # of the whole run
    warm_up: float  # share of the steps
    decay: str  # linear | cosine

    def __call__(self, number: int) -> float:
        """Return the rate of step `number`, from 0: above 0 in the first, 0 after the last."""
        warm_up_steps = round(self.warm_up * self.steps)
        if number < warm_up_steps:
            return self.peak * (number + 1) / warm_up_steps
        left = max(0.0, (self.steps - number) / max(1, self.steps - warm_up_steps))  # 1 → 0
        share = left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2
        return self.peak * min(1.0, share)


def scaled_rate(rate: float, ranks: int, scale: bool) -> float:
    """Return the rate for the global batch of `ranks`, given that of one rank's batch."""
    return rate * ranks if scale else rate


class LossScale:
    """The loss's factor, 1 unless `dynamic`: halved on overflow, doubled after 2000 good steps."""

    def __init__(self, *, dynamic: bool) -> None:
        self.value = tf.Variable(_FIRST_SCALE if dynamic else 1.0, trainable=False, name="loss_scale")
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="loss_scale_steps")
        self._dynamic = dynamic

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.value, self._steps] if self._dynamic else []

    def explains(self) -> tf.Tensor:
        """Return a bool: whether gradients may only have been scaled beyond what is finite."""
        return self.value > 1.0

    def update(self, finite: tf.Tensor) -> None:
        """Adapt the factor after a step, inside a tf.function."""
        if not self._dynamic:
            return
        steps = tf.where(finite, self._steps + 1, 0)
        grown = tf.where(steps == _DOUBLED_AFTER, self.value * 2, self.value)
        self.value.assign(tf.where(finite, grown, tf.maximum(self.value / 2, 1.0)))
        self._steps.assign(steps % _DOUBLED_AFTER)


class WeightAverage:
    """The mean of `trained` over the last `share` (0 to 1) of `steps`; 0 keeps nothing."""

    def __init__(self, trained: Sequence[tf.Variable], steps: int, share: float) -> None:
        averaged = -(-round(share * steps) // _AVERAGED_EVERY)  # how many steps; the last is one of them
        self._numbers = range(steps - 1, -1, -_AVERAGED_EVERY)[:averaged][::-1]
        self._trained = list(trained) if averaged else []
        self.variables = [
            tf.Variable(tf.zeros(weights.shape), trainable=False, name=f"{weights.name.removesuffix(':0')}/average")
            for weights in self._trained
        ]

    def take(self, number: int) -> None:
        """Add the weights after step `number`, from 0; after the last they become their mean."""
        if number not in self._numbers:
            return
        count = self._numbers.index(number) + 1
        for mean, weights in zip(self.variables, self._trained, strict=True):
            mean.assign_add((weights - mean) / count)
            if number == self._numbers[-1]:
                weights.assign(mean)
