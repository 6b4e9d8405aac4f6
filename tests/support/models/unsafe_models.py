"""SavedModels as TensorFlow writes them: one that is fine, and some that do more than compute. For
tests/export/safety/test_saved_model.py.

python tests/support/models/unsafe_models.py TARGET        writes TARGET/<name>/ for each
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
import tf_keras

IDS = tf.TensorSpec([None, None], tf.int32, name="input_word_ids")


class Reads(tf.Module):
    @tf.function(input_signature=[IDS])
    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.cast(ids, tf.float32) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


class HidesAWrite(tf.Module):
    """The signature is clean; another function of the same module, behind a condition and a loop,
    is not.
    """

    @tf.function(input_signature=[IDS])
    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.cast(ids, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def other(self, times: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(times):
            if times > 3:
                tf.io.write_file("planted", "x")
        return times


class CallsPython(tf.Module):
    @tf.function(input_signature=[IDS])
    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda value: value.astype("float32"), [ids], tf.float32)


class PrintsIntoAFile(tf.Module):
    @tf.function(input_signature=[IDS])
    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        tf.print(ids, output_stream="file://planted")
        return tf.cast(ids, tf.float32)


class RestoresInItsSignature(tf.Module):
    @tf.function(input_signature=[IDS])
    def logits(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.cast(ids, tf.float32) + tf.raw_ops.RestoreV2(
            prefix="elsewhere", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )


def keras(*layers: tf_keras.layers.Layer) -> tf_keras.Model:
    return tf_keras.Sequential([tf_keras.layers.Input((3,)), *layers])


def main() -> None:
    target = Path(sys.argv[1])
    for module in (Reads(), HidesAWrite(), CallsPython(), PrintsIntoAFile(), RestoresInItsSignature()):
        module.weights = tf.Variable([1.0])
        tf.saved_model.save(module, str(target / type(module).__name__), signatures=module.logits)
    dense = tf_keras.layers.Dense(2)
    keras(dense).save(target / "Keras", save_format="tf")
    bytecode = tf_keras.layers.TimeDistributed(tf_keras.layers.Lambda(lambda x: x * 2, name="bytecode"))
    keras(dense, tf_keras.layers.Reshape((2, 1)), bytecode).save(target / "KerasLambda", save_format="tf")


if __name__ == "__main__":
    main()
