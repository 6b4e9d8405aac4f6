"""TensorFlow with Keras 2, imported the one way that works: hub.KerasLayer and Horovod break under Keras 3.

Everything that needs TensorFlow for training imports it from here, because the choice has to be made before TensorFlow is imported.
"""

from __future__ import annotations

import os
import warnings

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of pkg_resources, which tensorflow_hub asks for its version
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

__all__ = ["hub", "tf", "tf_keras"]
