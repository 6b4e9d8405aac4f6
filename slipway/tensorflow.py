"""The FP32 SavedModel, loaded back from disk: the reference that every conversion is compared with.

Its signature is INPUTS of slipway/contract/ragged.py, int32 [batch, sequence] → logits float32.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from slipway.contract.ragged import Feed, Logits

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    # tensorflow_hub asks pkg_resources, which is deprecated, for a version.
    warnings.simplefilter("ignore", DeprecationWarning)
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

__all__ = ["hub", "tf", "tf_keras"]


SIGNATURE = "serving_default"


class SavedClassifier:
    """A SavedModel that answers arrays with arrays."""

    provider = "TensorFlow"

    def __init__(self, directory: Path) -> None:
        self._loaded = tf.saved_model.load(str(directory))  # kept: the signature holds its variables only weakly
        self.signature = self._loaded.signatures[SIGNATURE]  # a ConcreteFunction

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables that the signature computes with."""
        return list(self.signature.variables)

    def infer(self, feed: Feed) -> Logits:
        """Return logits float32 [batch, labels], tagger: [batch, sequence, labels]."""
        result: Logits = self.signature(**{name: tf.constant(value) for name, value in feed.items()})["logits"].numpy()
        return result
