"""ONNX Runtime on rows of unequal length, cut into the micro-batches that cost least.

Padding makes a batch as expensive as its longest row, and each batch costs a fixed overhead. Copied
beside every served model that runs an engine; imports numpy and onnxruntime alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# Device and options of each provider. TF32 is off on CUDA: the gate compared FP32.
_PROVIDERS = {"CPUExecutionProvider": ("cpu", {}), "CUDAExecutionProvider": ("cuda", {"use_tf32": "0"})}
# What decides how a CPU rounds; slipway/provenance.py records the same ones of the gate's.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16")
_AGAIN = "compare again on this machine: slipway export RUN --compare-only, then slipway build RUN"
Ids = NDArray[np.int32]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class CostModel:
    """Seconds that one run takes: `fixed` + `per_token` · rows · tokens of the longest row."""

    fixed: float
    per_token: float


@dataclass(frozen=True)
class Inference:
    """The logits of some rows, and what was computed for them."""

    logits: Sequence[Logits]  # in the rows' order; classifier: an array [rows, labels]; tagger: arrays [tokens, labels]
    tokens: int  # of the rows
    padding: int  # tokens computed on top of them
    batches: int  # micro-batches run


class Engine:
    """An ONNX model. [PAD] is id 0, so a row that its client padded is answered as the bare row."""

    def __init__(self, model: Path, threads: int, cost: CostModel, provider: str) -> None:
        """Open the model on a provider of _PROVIDERS. Raises RuntimeError if that is missing."""
        self._device, provider_options = _PROVIDERS[provider]
        if self._device == "cuda":
            onnxruntime.preload_dlls()  # CUDA's libraries out of the wheels of this environment
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Idle threads give their core to the server instead of spinning.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=[(provider, provider_options)])
        if (actual := self._session.get_providers()[0]) != provider:  # ONNX Runtime falls back without an error
            raise RuntimeError(f"expected {provider}, found {actual}: onnxruntime-gpu, its CUDA or cuDNN libraries are missing")
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._cost = cost

    def run(self, rows: Sequence[Ids], types: Sequence[Ids] | None = None) -> Inference:
        """Run rows int32 [tokens]; `types`, shaped alike, are 1 in the second text of a pair."""
        lengths = np.array([len(row) for row in rows])
        batches = plan(lengths, self._cost)
        logits = [self._infer([rows[i] for i in batch], types and [types[i] for i in batch]) for batch in batches]
        computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
        tokens = int(lengths.sum())
        return Inference(_in_row_order(logits, batches, lengths), tokens, computed - tokens, len(batches))

    def _infer(self, rows: list[Ids], types: list[Ids] | None) -> Logits:
        """Return the logits [rows, labels]; tagger: [rows, tokens of the longest row, labels]."""
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


def load(directory: Path, settings: dict[str, Any]) -> Any:
    """Open a version's engine, and compare its first answers with the gate's.

    `proven_on`: the software and CPU that passed the gate. `start_up`: rows with the logits that
    this very model gave there. A RuntimeError refuses the version; its sentence is in the log.
    """
    _refuse_unproven(settings.get("proven_on", {}))
    if settings.get("engine") == "baseline":  # of the benchmark's baselines alone
        engine = importlib.import_module("baseline_engine").BaselineEngine(directory, settings)
    else:
        engine = Engine(directory / "model.onnx", settings["threads"], CostModel(**settings["cost"]), settings["provider"])
    for number, row in enumerate(settings["start_up"]):
        [logits] = engine.run([np.array(row["ids"], np.int32)], [np.array(row["types"], np.int32)]).logits
        name = f"the logits of start-up row {number}, of {len(row['ids'])} tokens,"
        if not np.isfinite(logits).all():
            raise RuntimeError(f"{name} are not finite")
        if "logits" in row:
            _refuse_other_logits(name, np.array(row["logits"], np.float32), np.atleast_2d(logits), settings["tolerance"])
    return engine


def _refuse_unproven(proven_on: dict[str, Any]) -> None:
    """Refuse another ONNX Runtime or another kind of CPU than the gate ran on: they may round."""
    here = {"onnxruntime": onnxruntime.__version__, "cpu_flags": _cpu_flags()}
    for name, expected in proven_on.items():
        if (actual := here[name]) != expected:
            raise RuntimeError(f"the gate ran elsewhere: expected {name} {_listed(expected)}, found {_listed(actual)}; {_AGAIN}")


def _refuse_other_logits(name: str, expected: Logits, found: Logits, limit: float) -> None:
    """Compare a row's logits [1, labels]; tagger: [tokens, labels]."""
    if found.shape != expected.shape:
        raise RuntimeError(f"{name} are not the gate's: expected the shape {expected.shape}, found {found.shape}")
    if not (largest := float(np.abs(found - expected).max())) <= limit:  # NaN too
        raise RuntimeError(f"{name} are not the gate's: the largest |Δlogit| is {largest:.3g}, the limit {limit:.3g}; {_AGAIN}")


def _cpu_flags() -> list[str]:
    """Return those of _CPU_FLAGS that this machine has, in their order."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:  # a block a core: the first is enough
        flags = next((line.partition(":")[2].split() for line in file if line.startswith("flags")), [])
    return [flag for flag in _CPU_FLAGS if flag in flags]


def _listed(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value) or "none"


def plan(lengths: NDArray[np.int64], cost: CostModel) -> list[NDArray[np.int64]]:
    """Return the rows of each micro-batch, at the least total cost; `lengths` [rows] are in tokens.

    Rows are sorted by length. best[j], the cost of the j shortest, is the least over i < j of
    best[i] + cost of rows i…j−1 as one batch. If padding is free, nothing is cut.
    """
    order = np.argsort(lengths, kind="stable")
    if cost.per_token == 0:
        return [order]
    widths, count = lengths[order], len(order)
    best, cut = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    rows_before = np.arange(count)
    for end in range(1, count + 1):
        padded = (end - rows_before[:end]) * widths[end - 1]
        totals = best[:end] + cost.fixed + cost.per_token * padded
        cut[end] = totals.argmin()
        best[end] = totals[cut[end]]
    batches, end = [], count
    while end:
        batches.append(order[cut[end] : end])
        end = cut[end]
    return batches[::-1]


def _padded(rows: list[Ids]) -> Ids:
    padded = np.zeros((len(rows), max(len(row) for row in rows)), np.int32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _in_row_order(logits: list[Logits], batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> Sequence[Logits]:
    """Put the batches' logits into the order of the rows; tagger: without those of padding."""
    order = np.argsort(np.concatenate(batches))
    if logits[0].ndim == 2:
        return np.concatenate(logits)[order]
    rows = [row for batch in logits for row in batch]
    return [rows[place][:length] for place, length in zip(order, lengths, strict=True)]
