"""Dynamic loss scaling: keeps float16 gradients above what float16 rounds to zero.

Source: Micikevicius et al. 2018, 3.2. Starting value and interval are those of Keras' LossScaleOptimizer.
"""

from __future__ import annotations

from train.keras2 import tf

_START, _INTERVAL = 2.0**15, 2000


class LossScale:
    """1 unless `dynamic`. Halved when gradients overflow, and that step is skipped; doubled after 2000 steps without."""

    def __init__(self, *, dynamic: bool) -> None:
        self.value = tf.Variable(_START if dynamic else 1.0, trainable=False, name="loss_scale")
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="loss_scale_steps")
        self._dynamic = dynamic

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.value, self._steps] if self._dynamic else []

    def explains(self) -> tf.Tensor:
        """bool: whether gradients that are not finite may only have been scaled too far."""
        return self.value > 1.0

    def update(self, finite: tf.Tensor) -> None:
        """After a step, inside a tf.function."""
        if not self._dynamic:
            return
        steps = tf.where(finite, self._steps + 1, 0)
        grown = tf.where(steps == _INTERVAL, self.value * 2, self.value)
        self.value.assign(tf.where(finite, grown, tf.maximum(self.value / 2, 1.0)))
        self._steps.assign(steps % _INTERVAL)
