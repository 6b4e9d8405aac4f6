"""Who is measured: every variant's session, once more with its batches as CUDA graphs, and the same weights in PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu.arithmetic import Flops, Lengths, flops
from benchmarks.gpu.device import Device
from benchmarks.gpu.models import MEASURED, Model
from benchmarks.gpu.records import CAPTURED, COMPILED, FUSED, PACKED, PEER
from benchmarks.gpu.timing import Deadline
from export import comparison, gpu_variants
from train.ragged import Feed, infer_rows

_CAPTURED_TOKENS = 8192  # of a batch; beyond, kernels run long enough for the next launches to hide behind them
_COMPILING = 90.0  # seconds that have to be left for it
_BATCH = 64


@dataclass(frozen=True)
class Contender:
    name: str
    prepare: Callable[[Feed], Callable[[], Any]]  # a batch → a run of it that waits for its end
    padded: bool = True  # computes padding as text
    first_token_only: bool = True  # in its last layer, after attention
    most_tokens: int = 1 << 30  # of a batch, padding included
    fixed_shapes: bool = False  # no use for batches of many shapes

    def flops(self, model: Model, lengths: Lengths) -> Flops:
        computed = np.full_like(lengths, lengths.max()) if self.padded else lengths
        return flops(model.bert, computed, first_token_only=self.first_token_only)


def variants(model: Model, device: Device, skipped: dict[str, str]) -> list[Contender]:
    """One for every variant that has a file; adds to `skipped` what cannot be opened, with ONNX Runtime's words."""
    names = [variant.name for variant in MEASURED if variant.name in model.files]
    if device.kind == "cpu":
        skipped[CAPTURED] = "a CPU has no CUDA graphs"
    else:
        names.append(CAPTURED)
    found = []
    for name in names:
        try:
            found.append(_captured(model, device) if name == CAPTURED else _session(model, device, name))
        except Exception as error:  # ONNX Runtime's: no kernel, a node that a CUDA graph cannot hold, no memory
            skipped[name] = f"{type(error).__name__}: {error}"
    return found


def _session(model: Model, device: Device, name: str) -> Contender:
    session = device.open(model.files[name])
    return Contender(name, lambda feed: device.bind(session, feed), padded=name != PACKED)


def _captured(model: Model, device: Device) -> Contender:
    session = device.open(model.files[FUSED], cuda_graph=True)
    return Contender(
        CAPTURED,
        lambda feed: device.bind(session, feed, cuda_graph=True),
        most_tokens=_CAPTURED_TOKENS,
        fixed_shapes=True,
    )


def peers(
    model: Model, device: Device, deadline: Deadline, skipped: dict[str, str]
) -> tuple[list[Contender], list[dict[str, Any]]]:
    """PyTorch's, and how their answers compare with FP32. A peer that answers otherwise is none, and is said so in `skipped`."""
    if not importlib.util.find_spec("torch"):
        skipped[PEER] = skipped[COMPILED] = "no PyTorch in this environment"
        return [], []
    from benchmarks.gpu.torch_peer import Peer

    found, records = [], []
    for name, compiled in ((PEER, False), (COMPILED, True)):
        if compiled and deadline.left() < _COMPILING:
            skipped[name] = f"less than {_COMPILING:.0f} s are left, which compiling may take"
            continue
        try:
            peer = Peer(model.bert, device.kind, compiled=compiled)
            records.append(_compared(name, peer.infer, model))
        except Exception as error:  # PyTorch's compiler has many
            skipped[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            continue
        if not records[-1]["passed"]:
            skipped[name] = f"it answers otherwise, so its speed says nothing: {records[-1]['failures']}"
            continue
        found.append(Contender(name, peer.prepare, first_token_only=False))
    return found, records


def _compared(name: str, infer: Callable[[Feed], Any], model: Model) -> dict[str, Any]:
    golden = model.golden
    logits = infer_rows(infer, golden.ids, _BATCH)
    labels = model.reference.labels
    measured = comparison.compare(golden.logits, logits, golden.labels, golden.lengths, labels)
    failures = comparison.judge(measured, gpu_variants.FUSED.limits)
    kept = ("rows", "flips", "non_finite_rows", "flip_rate_bound", "accuracy_loss_bound", "logit_difference_max")
    return {"variant": name, "passed": not failures, "failures": failures, **{key: measured[key] for key in kept}}
