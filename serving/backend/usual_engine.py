"""A baseline of `make bench`, as most serve such a model: every text padded to the longest sequence, the batch as it came.

Copied as engine.py into the baselines' version directories; imports numpy, and of ONNX Runtime and TensorFlow the one it runs on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Logits = NDArray[np.float32]
Infer = Callable[[dict[str, Ids]], Logits]  # ids, mask and types, int32 [rows, tokens] each


@dataclass(frozen=True)
class Result:
    """As engine.py's."""

    logits: Sequence[Logits]
    tokens: int
    padding: int
    batches: int


class Engine:
    """In the place of engine.py's, so that the same text_model.py asks both."""

    def __init__(self, model: Path, threads: int, _: object, provider: str) -> None:
        settings = json.loads(model.with_name("settings.json").read_text("utf-8"))
        self._width = int(settings["max_seq_len"])
        saved_model = model.with_name("saved_model")
        self._infer = _tensorflow(saved_model, threads) if saved_model.is_dir() else _onnx(model, threads, provider)

    def run(self, rows: Sequence[Ids], types: Sequence[Ids] | None = None) -> Result:
        shape = (len(rows), self._width)
        ids, mask, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
            if types:
                segments[at, : len(row)] = types[at]
        logits = self._infer({"input_word_ids": ids, "input_mask": mask, "input_type_ids": segments})
        tokens = int(mask.sum())
        unpadded = logits if logits.ndim == 2 else [one[: len(row)] for one, row in zip(logits, rows, strict=True)]
        return Result(unpadded, tokens, mask.size - tokens, 1)


def _onnx(model: Path, threads: int, provider: str) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it would slow the models beside it
    session = onnxruntime.InferenceSession(str(model), options, providers=[provider])
    names = {one.name for one in session.get_inputs()}
    return lambda feed: session.run(["logits"], {name: values for name, values in feed.items() if name in names})[0]


def _tensorflow(saved_model: Path, threads: int) -> Infer:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(saved_model))
    ask = loaded.signatures["serving_default"]

    def infer(feed: dict[str, Ids]) -> Logits:
        _ = loaded  # kept: the signature holds its variables only weakly
        return ask(**{name: tf.constant(values) for name, values in feed.items()})["logits"].numpy()

    return infer
