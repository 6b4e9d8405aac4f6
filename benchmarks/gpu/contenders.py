"""Who is measured: every variant's session, the padded ones once more as CUDA graphs, and the same weights in PyTorch.

The gate has compared the variants. Who else takes part is compared here, by the same counts and limits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.arithmetic import Flops, Lengths, flops
from benchmarks.gpu.device import Device
from benchmarks.gpu.models import MEASURED, Model
from benchmarks.gpu.records import CAPTURED, COMPILED, PACKED, PEER
from benchmarks.gpu.timing import Deadline
from export import comparison, gpu_variants
from train.ragged import Feed, Logits, infer_rows

_CAPTURED_TOKENS = 8192  # of a batch; beyond, kernels run long enough for the next launches to hide behind them
_COMPILING = 90.0  # seconds that have to be left for it
_BATCH = 64


@dataclass(frozen=True)
class Contender:
    name: str
    prepare: Callable[[Feed], Callable[[], Any]]  # a batch → a run of it that waits for its end
    padded: bool = True  # computes padding as text
    first_token_only: bool = True  # in its last layer, after attention
    first_query_only: bool = False  # and in that layer's attention
    most_tokens: int = 1 << 30  # of a batch, padding included
    captured: bool = False  # as a CUDA graph for each shape: no use for batches of many shapes

    def flops(self, model: Model, lengths: Lengths) -> Flops:
        computed = np.full_like(lengths, lengths.max()) if self.padded else lengths
        return flops(model.bert, computed, first_token_only=self.first_token_only, first_query_only=self.first_query_only)


def variants(model: Model, device: Device, skipped: dict[str, str]) -> list[Contender]:
    """One for every variant that has a file; adds to `skipped` what cannot be opened, with ONNX Runtime's words."""
    found = []
    for name in (variant.name for variant in MEASURED if variant.name in model.files):
        try:
            session = device.open(model.files[name])
        except Exception as error:  # ONNX Runtime's: no kernel, no memory
            skipped[name] = why(error)
            continue
        # Only the canonical graph, which onnx_fp16 is a conversion of, leaves the last layer's other queries out.
        found.append(Contender(name, partial(device.bind, session), name != PACKED, first_query_only=name == "onnx_fp16"))
    return found


Compared = tuple[list[Contender], list[dict[str, Any]]]  # who takes part, and how the answers compare with FP32


def captured(model: Model, device: Device, skipped: dict[str, str]) -> Compared:
    """The padded FP16 graphs with every batch as a CUDA graph."""
    if device.kind == "cpu":
        skipped |= dict.fromkeys(CAPTURED, "a CPU has no CUDA graphs")
        return [], []

    def open_captured(name: str) -> Contender:
        session = device.open(model.files[CAPTURED[name]], cuda_graph=True)
        return Contender(name, partial(device.bind, session, cuda_graph=True), most_tokens=_CAPTURED_TOKENS, captured=True)

    return _agreeing({name: partial(open_captured, name) for name in CAPTURED}, model, skipped)


def peers(model: Model, device: Device, deadline: Deadline, skipped: dict[str, str]) -> Compared:
    """PyTorch's, as it is and compiled."""
    if not importlib.util.find_spec("torch"):
        skipped[PEER] = skipped[COMPILED] = "no PyTorch in this environment"
        return [], []
    from benchmarks.gpu.torch_peer import Peer

    def open_peer(name: str) -> Contender:
        if name == COMPILED and deadline.left() < _COMPILING:
            raise TimeoutError(f"less than {_COMPILING:.0f} s are left, which compiling may take")
        return Contender(name, Peer(model.bert, device.kind, compiled=name == COMPILED).prepare, first_token_only=False)

    return _agreeing({name: partial(open_peer, name) for name in (PEER, COMPILED)}, model, skipped)


def _agreeing(candidates: Mapping[str, Callable[[], Contender]], model: Model, skipped: dict[str, str]) -> Compared:
    """Those whose answers pass, and every comparison. Who fails is in `skipped`, with the reason."""
    found, records = [], []
    for name, candidate in candidates.items():
        try:
            one = candidate()
            records.append(_compared(one, model))
        except Exception as error:  # each runtime has its own, and PyTorch's compiler has many
            skipped[name] = why(error)
            continue
        if records[-1]["passed"]:
            found.append(one)
        else:
            skipped[name] = f"it answers otherwise, so its speed says nothing: {records[-1]['failures']}"
    return found, records


def _compared(one: Contender, model: Model) -> dict[str, Any]:
    golden, asked = model.golden, model.golden.asked
    logits = infer_rows(lambda feed: answers(one.prepare(feed)), golden.ids, _BATCH)
    measured = comparison.compare(
        golden.logits[asked], logits[asked], golden.labels[asked], golden.lengths[asked], model.reference.labels
    )
    failures = comparison.judge(measured, gpu_variants.FUSED.limits)
    kept = ("rows", "flips", "non_finite_rows", "flip_rate_bound", "accuracy_loss_bound", "logit_difference_max")
    return {"variant": one.name, "passed": not failures, "failures": failures, **{key: measured[key] for key in kept}}


def answers(run: Callable[[], Any]) -> Logits:
    """Of a prepared run: ONNX Runtime's are in its output, PyTorch's are returned."""
    found: Logits = run.logits() if hasattr(run, "logits") else run().float().cpu().numpy()
    return found


def why(error: Exception) -> str:
    """On a line: PyTorch's compiler tells whole pages."""
    return f"{type(error).__name__}: {(str(error).strip() or 'nothing said').splitlines()[0]}"
