"""ONNX Runtime on rows of unequal length. Copied into every served model version; imports numpy and onnxruntime alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import microbatches
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Result:
    logits: NDArray[np.float32]  # [rows, labels], in the order of the rows
    tokens: int  # of the rows
    padding: int  # tokens fed on top of them
    batches: int  # micro-batches run


class Engine:
    """Runs rows in the cheapest micro-batches. [PAD] is id 0, so a row padded by the client gives the answer of the bare row."""

    def __init__(self, model: Path, threads: int, cost: microbatches.CostModel) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Idle threads give their core to the server instead of spinning.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._cost = cost

    def run(self, rows: list[Ids]) -> Result:
        """Logits of each row; a row is int32 [tokens]."""
        lengths = np.array([len(row) for row in rows])
        batches = microbatches.plan(lengths, self._cost)
        logits = [self._infer([rows[i] for i in batch]) for batch in batches]
        fed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
        order = np.argsort(np.concatenate(batches))
        return Result(np.concatenate(logits)[order], int(lengths.sum()), fed - int(lengths.sum()), len(batches))

    def _infer(self, rows: list[Ids]) -> NDArray[np.float32]:
        ids = np.zeros((len(rows), max(len(row) for row in rows)), np.int32)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        feed = {"input_word_ids": ids, "input_mask": (ids != 0).astype(np.int32), "input_type_ids": np.zeros_like(ids)}
        logits: NDArray[np.float32] = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        return logits
