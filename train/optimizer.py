"""AdamW without weight decay on biases and LayerNorm, and with LazyAdam's sparse updates.

A dense gradient updates its variable in TensorFlow's own fused kernel: one pass over the memory,
where Keras' AdamW makes ten. A sparse one (tf.IndexedSlices) updates the rows it has and no other:
their moments and their decay too, as LazyAdam does (TensorFlow Addons; the paper's Adam, Kingma and
Ba 2015, decays every row's moments at every step).
"""

from __future__ import annotations

from collections.abc import Sequence

from train.gradients import Gradient
from train.keras2 import tf

_BETA_1, _BETA_2 = 0.9, 0.999
_EPSILON = 1e-6  # Devlin et al. 2018: the released AdamWeightDecayOptimizer
_Pair = tuple[tf.Tensor, tf.Tensor]  # of the first and the second moment
_NO_DECAY = ("bias", "gamma", "beta")  # last parts of the names of biases, and of a LayerNorm's variables


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
