"""AdamW as BERT is fine-tuned with: linear warm-up, linear decay to zero, no weight decay on biases and LayerNorm."""

from __future__ import annotations

from train.keras2 import tf, tf_keras

_NO_DECAY = ["bias", "layer_norm", "gamma", "beta"]


class WarmUpLinearDecay(tf_keras.optimizers.schedules.LearningRateSchedule):
    """0 → `peak` over `warm_up_steps`, then → 0 at `steps`. Source: Devlin et al. 2018, A.2."""

    def __init__(self, peak: float, steps: int, warm_up_steps: int) -> None:
        self._peak, self._steps, self._warm_up_steps = peak, steps, max(1, warm_up_steps)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        done = tf.cast(step, tf.float32)
        rising = (done + 1.0) / self._warm_up_steps
        falling = (self._steps - done) / max(1, self._steps - self._warm_up_steps)
        return self._peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)


def build(peak: float, steps: int, warm_up: float, weight_decay: float) -> tf_keras.optimizers.Optimizer:
    """`warm_up` is a share of `steps`; gradients are clipped to a global norm of 1, as in the BERT paper's code."""
    schedule = WarmUpLinearDecay(peak, steps, round(warm_up * steps))
    optimizer = tf_keras.optimizers.AdamW(schedule, weight_decay=weight_decay, epsilon=1e-6, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=_NO_DECAY)
    return optimizer
