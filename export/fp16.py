"""onnx_fp32 → onnx_fp16: converted by type, values out of FP16's range kept in FP32, and repaired until it passes.

Two things can go wrong, and are looked for in this order. A value may not fit (FP16 ends at 65,504): the FP32 graph is
run on golden rows with every tensor watched, which finds it also on a CPU, whose FP16 is partly computed in FP32. Or
rounding changes answers: then the gate itself drives a search for the fewest nodes to keep.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from export import half, repair, runner
from export.variants import Variant
from train.bundle import Golden
from train.errors import ConversionError
from train.ragged import Feed, Ragged, pad

_WATCHED_ROWS, _JUDGED_ROWS = 64, 512
_ROOM = 0.5  # of FP16's largest value: what other texts may need beyond the watched ones
_BATCH = 16


def convert(source: Path, target: Path, variant: Variant, golden: Golden) -> str:
    """Write the FP16 graph; returns how it was made. Raises ConversionError when no choice of nodes passes."""
    model = onnx.load(source)
    by_length = np.argsort(golden.ids.lengths, kind="stable")
    watched = golden.ids.take(by_length[np.linspace(0, len(by_length) - 1, _WATCHED_ROWS).astype(int)])
    out_of_range = overflowing(model, watched)

    def passes(kept: frozenset[str]) -> bool:
        onnx.save(half.convert(model, out_of_range | kept), target)
        return _answers_stay(target, variant, golden)

    choice = [name for name in half.convertible(model) if name not in out_of_range]
    repaired = repair.smallest_set(choice, passes)
    if repaired is None:
        raise ConversionError(
            "no set of nodes kept in FP32 gives the same answers",
            expected="the FP32 answers when every node is kept",
            found="others",
            where=str(source),
            mend="make export, to convert onnx_fp32 anew",
        )
    kept = sorted(out_of_range | repaired)
    final = half.convert(model, frozenset(kept))
    helper.set_model_props(final, {"kept_in_fp32": ", ".join(kept), "clamped": ", ".join(half.clamped(model))})
    onnx.save(final, target)
    more = f"{len(out_of_range)} nodes for range, {len(repaired)} by repair"
    return f"FP16 by type; kept in FP32: LayerNormalization, Softmax, {more}"


def overflowing(model: onnx.ModelProto, rows: Ragged) -> frozenset[str]:
    """Names of the nodes that make or read a value beyond half of FP16's range, on these rows."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    tensors = sorted(half.made_floats(model))
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    most = np.zeros(len(tensors))
    for start in range(0, len(rows), _BATCH):
        feed: Feed = pad([rows[i] for i in range(start, min(start + _BATCH, len(rows)))])
        values = session.run(tensors, {node.name: feed[node.name] for node in session.get_inputs()})
        most = np.maximum(most, [np.abs(value).max() for value in values])
    beyond = {name for name, value in zip(tensors, most, strict=True) if not value <= _ROOM * half.LARGEST}
    return frozenset(node.name for node in model.graph.node if beyond & {*node.input, *node.output})


def _answers_stay(path: Path, variant: Variant, golden: Golden) -> bool:
    """The gate in short, for the search: on some rows, no NaN, and fewer flips than half the limit. The gate itself follows."""
    rows = np.arange(min(_JUDGED_ROWS, len(golden.texts)))
    with runner.open_session(path, providers=variant.providers) as session:
        logits = session.infer_rows(golden.ids.take(rows), _BATCH)
    flips = (logits.argmax(axis=1) != golden.logits[rows].argmax(axis=1)).mean()
    return bool(np.isfinite(logits).all() and flips <= variant.limits.flip_rate_bound / 2)
