"""Faults in what a graph computes: its inputs, its answers, and what stands beside a row.

They are planted into the variant whose limits are widest, INT8, unless only another can have them.
The gate examines each; the engine itself is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from benchmarks.faults.catalogue import Fault, sealed_anew
from export.parity import gate
from export.parity.gate import ParityRecord
from slipway.contract import artifact, bundle
from slipway.contract.parity import judgement

Edit = Callable[[onnx.GraphProto], None]
INT8, FP32, FP16 = "ort_int8", "onnx_fp32", "onnx_fp16"

_REST = 2**62  # the end of a slice that takes all that is left
_LONG = 40  # tokens


def judged(run: Path, variant: str) -> ParityRecord:
    """Return the gate's verdict on a variant of a run."""
    return gate.check(artifact.load(run / "artifacts" / variant), bundle.load_reference(bundle.load(run / "bundle")))


def shown(run: Path, variant: str) -> list[str]:
    """Return what shows that a variant is worse; nothing where the gate does not say so."""
    record = judged(run, variant)
    if record.verdict != judgement.WORSE:
        return []
    return [*map(str, record.failures), *record.diagnosis]


def edited(run: Path, variant: str, edit: Edit) -> None:
    """Change a variant's graph, and seal it as if it had been converted so."""
    directory = run / "artifacts" / variant
    model = onnx.load(directory / "model.onnx")
    edit(model.graph)
    save(model, directory / "model.onnx")
    seal(directory)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model as a new file."""
    path.unlink(missing_ok=True)
    onnx.save(model, path)


def seal(directory: Path) -> None:
    """Write an artifact's manifest anew; the verdict was another artifact's."""
    (directory / artifact.PARITY).unlink(missing_ok=True)
    sealed_anew(directory, artifact.MANIFEST)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node; `inputs` are names with spaces between them."""
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def append(graph: onnx.GraphProto, *nodes: onnx.NodeProto, **constants: ArrayLike) -> None:
    """Put nodes between the graph's own answer, now "inner", and its output "logits".

    Constants are FP32, int64 or boolean.
    """
    for entry in graph.node:
        entry.output[:] = ["inner" if name == "logits" else name for name in entry.output]
    graph.node.extend(nodes)
    hold(graph, **constants)


def hold(graph: onnx.GraphProto, **constants: ArrayLike) -> None:
    for name, value in constants.items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        graph.initializer.append(numpy_helper.from_array(array, name))


def labels(graph: onnx.GraphProto) -> int:
    return int(graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def column(graph: onnx.GraphProto, label: int, value: float) -> NDArray[np.float32]:
    """Return [1, labels] with `value` for a label and 0 for the others."""
    chosen: NDArray[np.float32] = np.eye(labels(graph), dtype=np.float32)[[label]] * np.float32(value)
    return chosen


# The inputs


def _exchange(graph: onnx.GraphProto, left: str, right: str) -> None:
    other = {left: right, right: left}
    for entry in graph.node:
        entry.input[:] = [other.get(name, name) for name in entry.input]


def _read_no_mask(graph: onnx.GraphProto) -> None:
    tensor = next(entry for entry in graph.initializer if entry.name == "masked")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((), np.float32), "masked"))


def forget(graph: onnx.GraphProto, after: int, longest: int) -> None:
    """Mask what comes after so many word pieces."""
    for entry in graph.node:
        entry.input[:] = ["mask.cut" if name == "input_mask" else name for name in entry.input]
    hold(graph, cut=(np.arange(longest) < after).astype(np.int32)[None], cut_start=[0], cut_axis=[1])
    nodes = [
        node("Shape", "input_word_ids", "cut.end", start=1, end=2),
        node("Slice", "cut cut_start cut.end cut_axis", "cut.part"),
        node("Mul", "input_mask cut.part", "mask.cut"),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)


# The answers


def _times(graph: onnx.GraphProto, factor: float) -> None:
    append(graph, node("Mul", "inner factor", "logits"), factor=factor)


def _permute(graph: onnx.GraphProto) -> None:
    append(graph, node("Gather", "inner order", "logits", axis=1), order=[1, 0, *range(2, labels(graph))])


_BEST = node("ReduceMax", "inner", "best", axes=[1], keepdims=1)  # [rows, 1]
_TOP = node("Equal", "inner best", "top")  # [rows, labels]: which is answered


def _others_at_30(graph: onnx.GraphProto) -> None:
    append(graph, _BEST, _TOP, node("Where", "top inner low", "logits"), low=-30.0)


def _raise_where_not_answered(graph: onnx.GraphProto) -> None:
    """Add 5 to a label's logits, less where the answer would become another."""
    raised = node("Add", "inner five", "raised"), node("Sub", "best little", "most"), node("Min", "raised most", "capped")
    chosen = node("Where", "third capped inner", "changed"), node("Where", "top inner changed", "logits")
    append(graph, _BEST, _TOP, *raised, *chosen, five=5.0, little=0.01, third=column(graph, 2, 1) > 0)


def _raise_label(graph: onnx.GraphProto) -> None:
    append(graph, node("Add", "inner more", "logits"), more=column(graph, 2, 1.5))


def _raise_all(graph: onnx.GraphProto) -> None:
    append(graph, node("Add", "inner more", "logits"), more=1.0)


def _constant(graph: onnx.GraphProto) -> None:
    nodes = node("Mul", "inner nothing", "none"), node("Add", "none always", "logits")
    append(graph, *nodes, nothing=0.0, always=column(graph, 0, 3))


def _add_noise(graph: onnx.GraphProto) -> None:
    append(graph, node("RandomNormalLike", "inner", "noise", scale=0.1), node("Add", "inner noise", "logits"))


def _drop(graph: onnx.GraphProto) -> None:
    append(graph, node("Dropout", "inner ratio training", "logits"), ratio=0.1, training=True)


def _poison_long_texts(graph: onnx.GraphProto) -> None:
    count = (
        node("Cast", "input_mask", "mask.long", to=onnx.TensorProto.INT64),
        node("ReduceSum", "mask.long axis", "count"),
        node("Greater", "count most", "long"),
    )
    append(graph, *count, node("Where", "long nan inner", "logits"), axis=[1], most=[_LONG], nan=np.nan)


def _spoil_some(graph: onnx.GraphProto, label: int, of: int) -> None:
    """Never answer `label` in one text `of` so many, by the sum of its ids."""
    append(
        graph,
        node("Cast", "input_word_ids", "ids.long", to=onnx.TensorProto.INT64),
        node("ReduceSum", "ids.long axis", "sum"),
        node("Mod", "sum of", "rest"),
        node("Equal", "rest zero", "hit"),
        node("Where", "hit loss keep", "change"),
        node("Add", "inner change", "logits"),
        axis=[1],
        of=[of],
        zero=[0],
        loss=column(graph, label, -1e3),
        keep=column(graph, label, 0),
    )


def _cut_labels(graph: onnx.GraphProto) -> None:
    count = labels(graph) - 1
    append(graph, node("Gather", "inner kept", "logits", axis=1), kept=list(range(count)))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = count


def _read_nothing(graph: onnx.GraphProto) -> None:
    append(graph, node("Add", "inner nowhere", "logits"))


# What stands beside a row


def _leak_padding(graph: onnx.GraphProto) -> None:
    width = node("Shape", "input_word_ids", "width", start=1, end=2), node("Cast", "width", "tokens", to=onnx.TensorProto.FLOAT)
    leak = node("Mul", "tokens share", "leak"), node("Add", "inner leak", "logits")
    append(graph, *width, *leak, share=column(graph, 0, 0.02))


def _reverse(graph: onnx.GraphProto) -> None:
    append(graph, node("Slice", "inner start end axis step", "logits"), start=[-1], end=[-_REST], axis=[0], step=[-1])


def _wrong(graph: onnx.GraphProto, axis: int, comparison: str, number: int) -> None:
    """Answer the opposite where the batch's rows (axis 0) or tokens (1) compare so to a number."""
    hit = node("Shape", "input_word_ids", "size", start=axis, end=axis + 1), node(comparison, "size number", "hit")
    append(graph, *hit, node("Neg", "inner", "opposite"), node("Where", "hit opposite inner", "logits"), number=[number])


def _wrong_at_the_end(graph: onnx.GraphProto) -> None:
    parts = node("Slice", "inner start last axis", "rest"), node("Slice", "inner last end axis", "final")
    joined = node("Neg", "final", "opposite"), node("Concat", "rest opposite", "logits", axis=0)
    append(graph, *parts, *joined, start=[0], last=[-1], end=[_REST], axis=[0])


def _leak(graph: onnx.GraphProto, what: str, share: float) -> None:
    """Add to each row a share of the mean or the maximum over the batch."""
    of_all = node(what, "inner", "of_all", axes=[0], keepdims=1)
    append(graph, of_all, node("Mul", "of_all share", "leak"), node("Add", "inner leak", "logits"), share=share)


def _in(variant: str, name: str, edit: Edit, caught_by: str) -> Fault:
    return Fault(name, "graph", partial(edited, variant=variant, edit=edit), partial(shown, variant=variant), caught_by)


_in_fp32, _in_int8 = partial(_in, FP32), partial(_in, INT8)
_MASK, _IDS, _TYPES = "input_mask", "input_word_ids", "input_type_ids"
_OTHERS = "the answer changes with the neighbours"

FAULTS = (
    _in_fp32("mask and segments exchanged", partial(_exchange, left=_MASK, right=_TYPES), "inputs are swapped"),
    _in_fp32("ids and segments exchanged", partial(_exchange, left=_IDS, right=_TYPES), "inputs are swapped"),
    _in_fp32("a mask that is not read", _read_no_mask, "is input_mask read"),
    _in_fp32("texts read up to the twelfth word piece", partial(forget, after=12, longest=512), "max |Δlogit|"),
    _in_int8("logits three times as large", partial(_times, factor=3.0), "the logits are 3.0"),
    _in_int8("logits a fifth as large", partial(_times, factor=0.2), "the logits are 0.20"),
    _in_int8("logits of the opposite sign", partial(_times, factor=-1.0), "the logits are -1.0"),
    _in_int8("labels in another order", _permute, "the labels are in another order"),
    _in_int8("all labels but the answered one at -30", _others_at_30, "have the logit -30"),
    _in_int8("a label 5 higher where it is not answered", _raise_where_not_answered, "|Δp|"),
    _in_int8("a label 1.5 higher in every row", _raise_label, "is raised by 1.5"),
    _in_fp32("all logits higher by 1", _raise_all, "moved by the same amount"),
    _in_int8("the same answer to every text", _constant, "the same logits for every text"),
    _in_int8("random noise of 0.1", _add_noise, "draws random numbers"),
    _in_int8("dropout in training mode", _drop, "draws random numbers"),
    _in_int8("NaN in long texts", _poison_long_texts, "and in none that is shorter"),
    _in_int8("a class that loses 5 points", partial(_spoil_some, label=2, of=20), "accuracy loss in Business, at least"),
    _in_int8("a label less", _cut_labels, "logits of shape"),
    _in_int8("a graph that no runtime loads", _read_nothing, "the engine failed"),
    _in_fp32("padding that leaks into the answer", _leak_padding, "padded longer"),
    _in_fp32("rows in another order", _reverse, "the rows are in another order"),
    _in_int8("wrong in batches of 7 rows", partial(_wrong, axis=0, comparison="Equal", number=7), "in batches of 7 rows"),
    _in_int8(
        "wrong in batches of more than 16 rows",
        partial(_wrong, axis=0, comparison="Greater", number=16),
        "in batches of 17 to 32 rows",
    ),
    _in_int8("wrong in batches of 37 tokens", partial(_wrong, axis=1, comparison="Equal", number=37), "padded longer"),
    _in_int8("wrong when a row is alone", partial(_wrong, axis=0, comparison="Less", number=2), _OTHERS),
    _in_int8("wrong in the last row of a batch", _wrong_at_the_end, _OTHERS),
    _in_int8("half the batch's mean in each row", partial(_leak, what="ReduceMean", share=0.5), _OTHERS),
    _in_int8("half the largest neighbour in each row", partial(_leak, what="ReduceMax", share=0.5), _OTHERS),
)
