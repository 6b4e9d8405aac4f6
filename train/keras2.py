"""TensorFlow with Keras 2: hub.KerasLayer and Horovod break under Keras 3.

Training imports TensorFlow from here, because the choice must precede the import.
"""

from __future__ import annotations

import os
import warnings

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    # tensorflow_hub asks pkg_resources, which is deprecated, for a version.
    warnings.simplefilter("ignore", DeprecationWarning)
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

__all__ = ["hub", "tf", "tf_keras"]
