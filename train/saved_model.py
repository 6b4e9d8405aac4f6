"""The FP32 SavedModel, loaded back from disk: the reference that every conversion is compared with.

Its signature is the one in bundle.py: INPUTS, int32 [batch, sequence] → logits float32.
"""

from __future__ import annotations

from pathlib import Path

from train.keras2 import tf
from train.ragged import Feed, Logits

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
