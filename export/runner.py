"""Run an ONNX file in ONNX Runtime: `with open_session(path) as session: session.infer(feed)`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from train.ragged import Feed, Ragged, length_sorted_batches, pad

Logits = NDArray[np.float32]


class Session:
    """One ONNX Runtime session. `infer` takes int32 [batch, sequence] arrays and gives float32 [batch, labels]."""

    def __init__(self, path: Path, threads: int, providers: tuple[str, ...]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        here = [name for name in providers if name in onnxruntime.get_available_providers()] or ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=here)
        self.provider: str = self._session.get_providers()[0]
        self._inputs = {node.name for node in self._session.get_inputs()}

    def infer(self, feed: Feed) -> Logits:
        logits: Logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        return logits

    def infer_rows(self, rows: Ragged, batch: int) -> Logits:
        """Logits [rows, labels] of all rows, run in length-sorted batches."""
        parts = [(numbers, self.infer(pad([rows[i] for i in numbers]))) for numbers in length_sorted_batches(rows.lengths, batch)]
        order = np.concatenate([numbers for numbers, _ in parts])
        return np.concatenate([logits for _, logits in parts])[np.argsort(order)]


@contextmanager
def open_session(path: Path, threads: int = 0, providers: tuple[str, ...] = ("CPUExecutionProvider",)) -> Iterator[Session]:
    """A session on `threads` threads (0: every core this process may use)."""
    yield Session(path, threads or len(os.sched_getaffinity(0)), providers)
