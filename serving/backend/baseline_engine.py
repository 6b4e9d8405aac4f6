"""The engine of the benchmark's baselines: every text padded to the longest sequence, never cut.

Copied beside engine.py if settings.json has `"engine": "baseline"`; imports numpy, and ONNX Runtime
or TensorFlow, whichever it runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engine import Ids, Inference, Logits

Infer = Callable[[dict[str, Ids]], Logits]  # ids, mask and types, int32 [rows, tokens] each


class BaselineEngine:
    """A model run as most serve it; the same text_model.py asks it and engine.Engine."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        """Open saved_model/ in TensorFlow, or else model.onnx in ONNX Runtime."""
        self._width = int(settings["max_seq_len"])
        saved_model, threads = directory / "saved_model", settings["threads"]
        if saved_model.is_dir():
            self._infer = _tensorflow(saved_model, threads)
        else:
            self._infer = _onnx(directory / "model.onnx", threads, settings["provider"])

    def run(self, rows: Sequence[Ids], types: Sequence[Ids] | None = None) -> Inference:
        shape = (len(rows), self._width)
        ids, mask, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
            if types:
                segments[i, : len(row)] = types[i]
        logits = self._infer({"input_word_ids": ids, "input_mask": mask, "input_type_ids": segments})
        unpadded = logits if logits.ndim == 2 else [of_row[: len(row)] for of_row, row in zip(logits, rows, strict=True)]
        tokens = int(mask.sum())
        return Inference(unpadded, tokens, mask.size - tokens, 1)


def _onnx(model: Path, threads: int, provider: str) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it would slow the models beside it
    session = onnxruntime.InferenceSession(str(model), options, providers=[provider])
    names = {node.name for node in session.get_inputs()}
    return lambda feed: session.run(["logits"], {name: values for name, values in feed.items() if name in names})[0]


def _tensorflow(saved_model: Path, threads: int) -> Infer:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(saved_model))
    signature = loaded.signatures["serving_default"]

    def infer(feed: dict[str, Ids]) -> Logits:
        _ = loaded  # kept: the signature holds its variables only weakly
        return signature(**{name: tf.constant(values) for name, values in feed.items()})["logits"].numpy()

    return infer
