"""A TF Hub BERT encoder with a classification head, and its SavedModel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from train.errors import EncoderError
from train.keras2 import hub, tf, tf_keras
from train.ragged import INPUTS
from train.saved_model import SIGNATURE


@dataclass(frozen=True)
class Encoder:
    layer: hub.KerasLayer
    handle: str
    vocabulary: Path
    lower_case: bool
    positions: int  # rows of the position table: the longest sequence the encoder can take


def load_encoder(handle: str) -> Encoder:
    """The encoder behind any TF Hub handle (address or directory). Raises EncoderError when it is not a TF2 BERT."""
    try:
        layer = hub.KerasLayer(handle, trainable=True, name="encoder")
    except Exception as error:  # hub raises whatever the file system or the network raised
        raise EncoderError(
            "the encoder cannot be loaded",
            expected="a TF Hub handle: the address or the directory of a TF2 SavedModel",
            found=f"{type(error).__name__}: {str(error).splitlines()[0][:300]}",
            where=handle,
            mend="make train ENCODER=path/or/address, or leave ENCODER out for the default (made by: make setup)",
        ) from error
    module = layer.resolved_object
    table = next((v for v in layer.variables if "position_embedding" in v.name), None)
    if table is None or not hasattr(module, "vocab_file") or not hasattr(module, "do_lower_case"):
        raise EncoderError(
            "the module is not a TF Hub BERT encoder",
            expected="a vocabulary asset `vocab_file`, `do_lower_case`, and a variable position_embedding/embeddings",
            found=", ".join(sorted({v.name.split("/")[0] for v in layer.variables})) or "no variables",
            where=handle,
            mend="choose a TF2 BERT encoder, for example a bert_en_uncased_* module",
        )
    vocabulary = Path(module.vocab_file.asset_path.numpy().decode())
    return Encoder(layer, handle, vocabulary, bool(module.do_lower_case.numpy()), int(table.shape[0]))


def build(encoder: Encoder, labels: int, dropout: float) -> tf_keras.Model:
    """Inputs as in ragged.INPUTS, int32 [batch, sequence] → logits float32 [batch, labels]."""
    inputs = {name: tf_keras.layers.Input((None,), dtype=tf.int32, name=name) for name in INPUTS}
    pooled = encoder.layer(inputs)["pooled_output"]
    initializer = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    pooled = tf_keras.layers.Dropout(dropout)(pooled)
    logits = tf_keras.layers.Dense(labels, kernel_initializer=initializer, name="classifier")(pooled)
    return tf_keras.Model(inputs, logits)


def save(model: tf_keras.Model, directory: Path) -> None:
    """Write the SavedModel of the bundle: the variables and one signature, nothing of Keras."""
    module = tf.Module()
    module.model_variables = model.variables

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS])  # type: ignore[untyped-decorator]
    def logits(input_word_ids: tf.Tensor, input_mask: tf.Tensor, input_type_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True)), training=False)}

    tf.saved_model.save(module, str(directory), signatures={SIGNATURE: logits})
