"""The contenders: every variant's session, the padded ones once more as CUDA graphs, and PyTorch.

The gate has compared the variants; the others are compared here, by the same counts and limits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.device import Deadline, Device
from benchmarks.gpu.models import (
    CAPTURED,
    COMPILED,
    MEASURED,
    PACKED,
    PEER,
    EngineVerdict,
    Flops,
    GpuModel,
    Lengths,
    flops,
)
from benchmarks.gpu.variants import FUSED
from slipway.contract.parity import comparison, judgement
from slipway.contract.ragged import Feed, Logits, infer_rows

_CAPTURED_TOKENS = 8192  # of a batch; beyond, kernels run long enough for the next launches to hide behind them
_COMPILING = 90.0  # seconds that have to be left for it
_BATCH = 64

Run = Callable[[], Any]  # of a batch; waits for its end


@dataclass(frozen=True)
class Contender:
    name: str
    prepare: Callable[[Feed], Run]
    padded: bool = True  # computes padding as text
    first_token_only: bool = True  # in its last layer, after attention
    first_query_only: bool = False  # and in that layer's attention
    most_tokens: int = 1 << 30  # of a batch, padding included
    captured: bool = False  # as a CUDA graph for each shape: no use for batches of many shapes

    def flops(self, model: GpuModel, lengths: Lengths) -> Flops:
        computed = np.full_like(lengths, lengths.max()) if self.padded else lengths
        return flops(model.bert, computed, first_token_only=self.first_token_only, first_query_only=self.first_query_only)


Compared = tuple[list[Contender], list[EngineVerdict]]  # who takes part, and how the answers compare with FP32


def variants(model: GpuModel, device: Device, skipped: dict[str, str]) -> list[Contender]:
    """Open every variant that has a file; adds the others to `skipped`, with the reason."""
    opened = []
    for name in (variant.name for variant in MEASURED if variant.name in model.files):
        try:
            session = device.open(model.files[name])
        except Exception as error:  # ONNX Runtime's: no kernel, no memory
            skipped[name] = why(error)
            continue
        # Only the canonical graph, which onnx_fp16 is a conversion of, leaves the last layer's
        # other queries out.
        opened.append(Contender(name, partial(device.bind, session), name != PACKED, first_query_only=name == "onnx_fp16"))
    return opened


def captured(model: GpuModel, device: Device, skipped: dict[str, str]) -> Compared:
    """Open the padded FP16 graphs with every batch as a CUDA graph."""
    if device.kind == "cpu":
        skipped |= dict.fromkeys(CAPTURED, "a CPU has no CUDA graphs")
        return [], []

    def open_captured(name: str) -> Contender:
        session = device.open(model.files[CAPTURED[name]], cuda_graph=True)
        return Contender(name, partial(device.bind, session, cuda_graph=True), most_tokens=_CAPTURED_TOKENS, captured=True)

    return _agreeing({name: partial(open_captured, name) for name in CAPTURED}, model, skipped)


def peers(model: GpuModel, device: Device, deadline: Deadline, skipped: dict[str, str]) -> Compared:
    """Open PyTorch's model, as it is and compiled."""
    if not importlib.util.find_spec("torch"):
        skipped[PEER] = skipped[COMPILED] = "no PyTorch in this environment"
        return [], []
    from benchmarks.gpu.torch_peer import TorchBert

    def open_peer(name: str) -> Contender:
        if name == COMPILED and deadline.left() < _COMPILING:
            raise TimeoutError(f"less than {_COMPILING:.0f} s are left, which compiling may take")
        return Contender(name, TorchBert(model.bert, device.kind, compiled=name == COMPILED).prepare, first_token_only=False)

    return _agreeing({name: partial(open_peer, name) for name in (PEER, COMPILED)}, model, skipped)


def _agreeing(candidates: Mapping[str, Callable[[], Contender]], model: GpuModel, skipped: dict[str, str]) -> Compared:
    """Return those whose answers pass, and every verdict; adds the others to `skipped`."""
    agreeing, verdicts = [], []
    for name, open_candidate in candidates.items():
        try:
            contender = open_candidate()
            verdict = compared(contender, model)
        except Exception as error:  # each runtime has its own, and PyTorch's compiler has many
            skipped[name] = why(error)
            continue
        verdicts.append(verdict)
        if verdict.passed:
            agreeing.append(contender)
        else:
            failures = "; ".join(map(str, verdict.failures))
            skipped[name] = f"it answers otherwise, so its speed says nothing: {failures}"
    return agreeing, verdicts


def compared(contender: Contender, model: GpuModel) -> EngineVerdict:
    golden = model.golden
    logits = infer_rows(lambda feed: answers(contender.prepare(feed)), golden.ids, _BATCH)
    measured = comparison.compare_golden(golden, logits, model.reference.labels)
    failures = judgement.judge(measured, FUSED.limits)
    return EngineVerdict(
        variant=contender.name,
        passed=not failures,
        failures=failures,
        rows=measured.rows,
        flips=measured.flips,
        non_finite_rows=measured.non_finite_rows,
        flip_rate_bound=measured.flip_rate_bound,
        accuracy_loss_bound=measured.accuracy_loss_bound,
        logit_difference_max=measured.logit_difference_max,
    )


def answers(run: Run) -> Logits:
    """Return a run's logits: ONNX Runtime leaves them in its output, PyTorch returns them."""
    logits: Logits = run.logits() if hasattr(run, "logits") else run().float().cpu().numpy()
    return logits


def why(error: Exception) -> str:
    """Return an error in one line: PyTorch's compiler writes whole pages."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
