"""An ONNX model that takes all rows in one piece, for Triton's ONNX Runtime backend.

That backend joins the rows of ragged inputs into one, and a batch input tells their lengths. A few
nodes in front lay them out as [rows, longest]; the model's own nodes and weights stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slipway.contract.ragged import Feed, Ragged

IDS, TYPES, MASK = "input_word_ids", "input_type_ids", "input_mask"
LENGTHS = "row_lengths"  # int32 [rows, 1]


def write(source: Path, target: Path, *, pairs: bool) -> None:
    """Convert the model at `source`, of int32 [batch, sequence] inputs.

    The new inputs are IDS int32 [tokens] and LENGTHS, for pairs also TYPES int32 [tokens]. The mask
    is made from the ids: [PAD] is 0. The outputs stay, and so do the files that its weights lie in:
    they have to lie beside `target` too.
    """
    model = onnx.load(source, load_external_data=False)
    graph = model.graph
    inputs = [value.name for value in graph.input]
    for node in _all_nodes(graph):
        node.input[:] = [f"padded_{name}" if name in inputs else name for name in node.input]
    nodes, constants = _layout(inputs, pairs)
    own = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *own])
    graph.initializer.extend(constants)
    for name in (IDS, TYPES) if pairs else (IDS,):
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT32, ["tokens"]))
    graph.input.append(helper.make_tensor_value_info(LENGTHS, TensorProto.INT32, ["rows", 1]))
    onnx.save(model, target)


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Yield every node, also those of branches and loops: they may read the model's inputs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _layout(inputs: list[str], pairs: bool) -> tuple[list[Any], list[Any]]:
    """Return nodes and constants that make padded_<input> int32 [rows, longest] of these inputs."""
    nodes: list[Any] = []

    def op(kind: str, output: str, *sources: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, sources, [output], name=f"flat:{output}", **attributes))
        return output

    lengths = op("Cast", "flat_lengths", LENGTHS, to=TensorProto.INT64)  # [rows, 1]
    starts = op("Sub", "flat_starts", op("CumSum", "flat_ends", lengths, "flat_first_axis"), lengths)
    longest = op("ReduceMax", "flat_longest", lengths, keepdims=0)
    columns = op("Range", "flat_columns", "flat_zero", longest, "flat_one")  # [longest]
    inside = op("Less", "flat_inside", columns, lengths)  # [rows, longest]
    places = op("Where", "flat_at", inside, op("Add", "flat_from", starts, columns), "flat_zero")

    def laid_out(name: str) -> str:
        return op("Where", f"padded_{name}", inside, op("Gather", f"flat_{name}", name, places), "flat_pad")

    ids = laid_out(IDS)
    if MASK in inputs:
        op("Cast", f"padded_{MASK}", op("Cast", "flat_is_token", ids, to=TensorProto.BOOL), to=TensorProto.INT32)
    if pairs:
        laid_out(TYPES)
    elif TYPES in inputs:
        op("Sub", f"padded_{TYPES}", ids, ids)
    scalars = {"flat_zero": np.int64(0), "flat_one": np.int64(1), "flat_first_axis": np.int64(0), "flat_pad": np.int32(0)}
    return nodes, [numpy_helper.from_array(np.array(value), name) for name, value in scalars.items()]


def difference(source: Path, flat: Path, rows: Ragged) -> float:
    """Return max |Δ| on the CPU between the model at `source` and what `write` made of it."""
    in_one_piece = {IDS: rows.ids, TYPES: rows.types, LENGTHS: rows.lengths.astype(np.int32)[:, None]}
    return float(np.abs(_run(source, rows.padded()) - _run(flat, in_one_piece)).max())


def _run(model: Path, feed: Feed) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})
    return outputs[0]
