"""Dynamic loss scaling: keeps float16 gradients above what float16 rounds to zero.

Source: Micikevicius et al. 2018, 3.2. First value and interval are those of Keras'
LossScaleOptimizer.
"""

from __future__ import annotations

from train.keras2 import tf

_FIRST_SCALE, _DOUBLED_AFTER = 2.0**15, 2000  # steps


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
