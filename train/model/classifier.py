"""An encoder with a classification head in a chosen precision, and its FP32 SavedModel."""

from __future__ import annotations

from pathlib import Path

from slipway.contract.ragged import INPUTS
from slipway.encoder import saving
from slipway.encoder.bert import Dropout
from slipway.tensorflow import tf, tf_keras
from train.model.hub_encoder import EncoderLayer

_POLICIES = {"none": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
_HEAD_DROPOUT = 10_000  # the number of the head's Dropout, beyond those of any encoder


def set_precision(amp: str) -> None:
    """Set the precision, a key of _POLICIES, of later layers; weights stay float32."""
    tf_keras.mixed_precision.set_global_policy(_POLICIES[amp])


def build(encoder: EncoderLayer, task: str, labels: int, dropout: float) -> tf_keras.Model:
    """Return a model from ragged.INPUTS, int32 [batch, sequence], to logits float32.

    classifier: [batch, labels]; tagger: [batch, sequence, labels]. Raises ValueError unless the
    encoder has return_sequence for "tagging", and only then.
    """
    if encoder.return_sequence != (task == "tagging"):
        raise ValueError(f"{task} with return_sequence={encoder.return_sequence}")
    inputs = _inputs()
    outputs = Dropout(dropout, _HEAD_DROPOUT)(encoder(inputs))
    return tf_keras.Model(inputs, _head(labels)(outputs))


def save(model: tf_keras.Model, directory: Path) -> None:
    """Write the SavedModel of the bundle: one signature in FP32, without Keras' own data."""
    saving.save_classifier(_plain(model), directory)


def _plain(model: tf_keras.Model) -> tf_keras.Model:
    """Return a model of the same answers in FP32: itself, unless its encoder was rebuilt."""
    layer = next((layer for layer in model.layers if isinstance(layer, EncoderLayer)), None)
    encoder = layer.in_float32() if layer else None
    if layer is None or encoder is None:
        return model
    trained = model.get_layer("classifier")
    inputs, head = _inputs(), _head(trained.units)
    plain = tf_keras.Model(inputs, head(encoder(inputs)["sequence_output" if layer.return_sequence else "pooled_output"]))
    head.set_weights(trained.get_weights())
    return plain


def _inputs() -> dict[str, tf.Tensor]:
    return {name: tf_keras.layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}


def _head(labels: int) -> tf_keras.layers.Dense:
    """Return the output layer, float32 under every policy: 8 bits of logits make a noisy loss."""
    initializer = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    return tf_keras.layers.Dense(labels, kernel_initializer=initializer, dtype="float32", name="classifier")
