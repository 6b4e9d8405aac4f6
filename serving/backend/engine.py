"""ONNX Runtime on rows of unequal length. Copied into every served model version; imports numpy and onnxruntime alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import microbatches
import numpy as np
import onnxruntime
from numpy.typing import NDArray

# Device and options of each provider. FP32 is FP32: on CUDA it would be TF32, which was not compared.
_PROVIDERS = {"CPUExecutionProvider": ("cpu", {}), "CUDAExecutionProvider": ("cuda", {"use_tf32": "0"})}
Ids = NDArray[np.int32]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    logits: Sequence[Logits]  # in the order of the rows: an array [rows, labels], or of a tagger each row's [tokens, labels]
    tokens: int  # of the rows
    padding: int  # tokens fed on top of them
    batches: int  # micro-batches run


class Engine:
    """Runs rows in the cheapest micro-batches. [PAD] is id 0, so a row padded by the client gives the answer of the bare row."""

    def __init__(self, model: Path, threads: int, cost: microbatches.CostModel, provider: str) -> None:
        """`provider` is ONNX Runtime's, one of _PROVIDERS. Raises RuntimeError where it cannot be had."""
        self._device, given = _PROVIDERS[provider]
        if self._device == "cuda":
            onnxruntime.preload_dlls()  # CUDA's libraries out of the wheels of this environment
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Idle threads give their core to the server instead of spinning.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=[(provider, given)])
        if (found := self._session.get_providers()[0]) != provider:  # ONNX Runtime would go on with another one
            raise RuntimeError(f"expected {provider}, found {found}: onnxruntime-gpu, its CUDA or cuDNN libraries are missing")
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._cost = cost

    def run(self, rows: Sequence[Ids], types: Sequence[Ids] | None = None) -> Result:
        """Logits of each row; a row is int32 [tokens]. `types`, as long as the rows, are 1 in the second text of a pair."""
        lengths = np.array([len(row) for row in rows])
        batches = microbatches.plan(lengths, self._cost)
        logits = [self._infer([rows[i] for i in batch], types and [types[i] for i in batch]) for batch in batches]
        fed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
        return Result(_scattered(logits, batches, lengths), int(lengths.sum()), fed - int(lengths.sum()), len(batches))

    def _infer(self, rows: list[Ids], types: list[Ids] | None) -> Logits:
        """[rows, labels], or of a tagger [rows, tokens of the longest row, labels]."""
        ids = _padded(rows)
        segments = _padded(types) if types else np.zeros_like(ids)
        feed = {"input_word_ids": ids, "input_mask": (ids != 0).astype(np.int32), "input_type_ids": segments}
        binding = self._session.io_binding()
        for name in self._inputs:
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(feed[name], self._device, 0))
        binding.bind_output(self._session.get_outputs()[0].name, self._device)
        self._session.run_with_iobinding(binding)
        logits: Logits = binding.copy_outputs_to_cpu()[0]
        return logits


def _padded(rows: list[Ids]) -> Ids:
    padded = np.zeros((len(rows), max(len(row) for row in rows)), np.int32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _scattered(logits: list[Logits], batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> Sequence[Logits]:
    """The batches' logits in the order of the rows; a tagger's without those of padding."""
    order = np.argsort(np.concatenate(batches))
    if logits[0].ndim == 2:
        return np.concatenate(logits)[order]
    rows = [row for batch in logits for row in batch]
    return [rows[at][:length] for at, length in zip(order, lengths, strict=True)]
