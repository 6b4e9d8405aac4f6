"""The SavedModels that are written: a TF Hub module of an encoder, and a bundle's classifier."""

from __future__ import annotations

from pathlib import Path

from slipway.contract.ragged import INPUTS
from slipway.tensorflow import SIGNATURE, tf, tf_keras


def save_encoder(model: tf_keras.Model, vocabulary: bytes, target: Path, lower_case: bool = True) -> None:
    """Write the encoder as a TF Hub module, its vocabulary as an asset; its texts in lower case or
    not.
    """
    vocabulary_file = target / "vocab.txt"  # saving copies it into assets/
    vocabulary_file.write_bytes(vocabulary)
    model.vocab_file = tf.saved_model.Asset(str(vocabulary_file))
    model.do_lower_case = tf.Variable(lower_case, trainable=False, dtype=tf.bool)
    tf.saved_model.save(model, str(target))
    vocabulary_file.unlink()


def save_classifier(model: tf_keras.Model, directory: Path) -> None:
    """Write the SavedModel of the bundle: one signature, without Keras' own data."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])  # type: ignore[untyped-decorator]
    def logits(input_word_ids: tf.Tensor, input_mask: tf.Tensor, input_type_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True)), training=False)}

    module.model_variables = list(logits.get_concrete_function().variables)
    tf.saved_model.save(module, str(directory), signatures={SIGNATURE: logits})
