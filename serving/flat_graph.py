"""An ONNX model that takes rows in one piece: what Triton's ONNX Runtime backend makes of requests of unequal length.

That backend cannot pad. Of inputs with `allow_ragged_batch` it joins all rows of a batch into one, and a batch input tells their
lengths; so the few nodes that lay them out as [rows, longest] go into the graph. The model's own nodes and weights stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from train.ragged import Ragged

IDS, TYPES, MASK = "input_word_ids", "input_type_ids", "input_mask"
LENGTHS = "row_lengths"  # int32 [rows, 1]


def write(source: Path, target: Path, *, pairs: bool) -> None:
    """The model at `source`, of int32 [batch, sequence] inputs, as one of IDS int32 [tokens] and LENGTHS.

    Of pairs also of TYPES int32 [tokens]. The mask is made from the ids: [PAD] is 0. Outputs are the model's.
    """
    model = onnx.load(source)
    graph = model.graph
    wanted = [one.name for one in graph.input]
    for node in _all_nodes(graph):
        node.input[:] = [f"padded_{name}" if name in wanted else name for name in node.input]
    nodes, constants = _layout(wanted, pairs)
    own = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *own])
    graph.initializer.extend(constants)
    for name in (IDS, TYPES) if pairs else (IDS,):
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT32, ["tokens"]))
    graph.input.append(helper.make_tensor_value_info(LENGTHS, TensorProto.INT32, ["rows", 1]))
    onnx.save(model, target)


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Also those of branches and loops, which may read the model's inputs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _layout(wanted: list[str], pairs: bool) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that make padded_<input> int32 [rows, longest] of the inputs that are wanted."""
    nodes: list[Any] = []

    def op(kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=f"flat:{output}", **attributes))
        return output

    lengths = op("Cast", "flat_lengths", LENGTHS, to=TensorProto.INT64)  # [rows, 1]
    starts = op("Sub", "flat_starts", op("CumSum", "flat_ends", lengths, "flat_first_axis"), lengths)
    longest = op("ReduceMax", "flat_longest", lengths, keepdims=0)
    columns = op("Range", "flat_columns", "flat_zero", longest, "flat_one")  # [longest]
    inside = op("Less", "flat_inside", columns, lengths)  # [rows, longest]
    at = op("Where", "flat_at", inside, op("Add", "flat_from", starts, columns), "flat_zero")

    def laid_out(name: str) -> str:
        return op("Where", f"padded_{name}", inside, op("Gather", f"flat_{name}", name, at), "flat_pad")

    ids = laid_out(IDS)
    if MASK in wanted:
        op("Cast", f"padded_{MASK}", op("Cast", "flat_is_token", ids, to=TensorProto.BOOL), to=TensorProto.INT32)
    if pairs:
        laid_out(TYPES)
    elif TYPES in wanted:
        op("Sub", f"padded_{TYPES}", ids, ids)
    scalars = {"flat_zero": np.int64(0), "flat_one": np.int64(1), "flat_first_axis": np.int64(0), "flat_pad": np.int32(0)}
    return nodes, [numpy_helper.from_array(np.array(value), name) for name, value in scalars.items()]


def difference(source: Path, flat: Path, rows: Ragged) -> float:
    """Max |Δ| between the outputs of the model at `source`, fed padded, and of what `write` made of it, on the CPU."""
    padded = rows.padded()
    in_one_piece = {IDS: rows.ids, TYPES: rows.types, LENGTHS: rows.lengths.astype(np.int32)[:, None]}
    return float(np.abs(_run(source, padded) - _run(flat, in_one_piece)).max())


def _run(model: Path, feed: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, {one.name: feed[one.name] for one in session.get_inputs()})[0]
