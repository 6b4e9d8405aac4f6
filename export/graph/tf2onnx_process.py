"""A SavedModel's graph as ONNX, by tf2onnx, and its variables, in a process with TensorFlow.

tf2onnx copies every weight dozens of times: 15 GiB and 4 minutes for a BERT-base of 0.4. So the
weights are taken out of the graph first, stand in it as inputs while it is converted, and are put
back as initializers: the same graph, in 2 GiB.

    python -m export.graph.tf2onnx_process SAVED_MODEL TARGET      → TARGET/tf2onnx.onnx,
    TARGET/variables.npz
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.graph.builder import OPSET
from export.safety.saved_model import check_saved_model
from slipway import errors
from slipway.contract import manifest
from slipway.contract.ragged import INPUTS
from slipway.errors import ConversionError, SlipwayError

GRAPH, VARIABLES = "tf2onnx.onnx", "variables.npz"
FAILURE = "failure.json"  # the error, when the model is refused
_LARGE = 4096  # elements from which a constant is a weight, not a shape, an axis or an epsilon


def main() -> int:
    arguments = _parse()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        check_saved_model(arguments.saved_model)  # here, because reading it takes TensorFlow's protobufs
    except SlipwayError as error:
        manifest.write_json(arguments.target / FAILURE, vars(error))
        return error.exit_code
    graph, inputs, output = _frozen(arguments.saved_model, arguments.target / VARIABLES)
    weights = _take_weights(graph)
    onnx.save(_converted(graph, weights, inputs, output), arguments.target / GRAPH)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("target", type=Path, help="directory to write to")
    return parser.parse_args()


def read_variables(directory: Path) -> dict[str, NDArray[Any]]:
    """Read variable name → value, as `main` wrote them."""
    with np.load(directory / VARIABLES, allow_pickle=False) as arrays:
        return {name.replace("|", "/"): arrays[name] for name in arrays.files}


def _frozen(saved_model: Path, variables: Path) -> tuple[Any, list[str], str]:
    """Write the variables; return the GraphDef with them as constants, its inputs and its output.

    The memory of the loaded model is given back when this returns.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from slipway.tensorflow import SavedClassifier

    model = SavedClassifier(saved_model)
    np.savez(variables, **{entry.name.removesuffix(":0").replace("/", "|"): entry.numpy() for entry in model.variables})
    frozen = convert_variables_to_constants_v2(model.signature)
    return frozen.graph.as_graph_def(), [tensor.name for tensor in frozen.inputs], frozen.outputs[0].name


def _converted(graph: Any, weights: dict[str, NDArray[Any]], inputs: list[str], output: str) -> onnx.ModelProto:
    import tf2onnx

    model, _ = tf2onnx.convert.from_graph_def(
        graph,
        input_names=[*inputs, *(f"{name}:0" for name in weights)],
        output_names=[output],
        opset=OPSET,
        tensors_to_rename={name: name.removesuffix(":0") for name in inputs} | {output: "logits"},
    )
    _put_back(model.graph, weights)
    return model


def _take_weights(graph: Any) -> dict[str, NDArray[Any]]:
    """Replace every large constant of a GraphDef by a Placeholder; return node name → value."""
    import tensorflow as tf

    weights = {}
    floats = (tf.float32, tf.float16, tf.float64)  # other constants may decide how the graph is converted
    for node in graph.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is None or tensor.dtype not in floats:
            continue
        if np.prod([dim.size for dim in tensor.tensor_shape.dim]) < _LARGE:
            continue
        weights[node.name] = tf.make_ndarray(tensor)
        shape = tf.compat.v1.AttrValue(shape=tensor.tensor_shape)
        node.op = "Placeholder"
        del node.attr["value"]
        node.attr["shape"].CopyFrom(shape)
    return weights


def _put_back(graph: onnx.GraphProto, weights: dict[str, NDArray[Any]]) -> None:
    """Make the weights initializers. Raises ConversionError when strange inputs are left."""
    for entry in [value for value in graph.input if value.name.removesuffix(":0") in weights]:
        graph.initializer.append(numpy_helper.from_array(weights.pop(entry.name.removesuffix(":0")), entry.name))
        graph.input.remove(entry)
    strange = {value.name for value in graph.input} - set(INPUTS)
    if strange:
        raise ConversionError(
            "the SavedModel's graph has inputs beyond its signature",
            expected=", ".join(INPUTS),
            found=", ".join(sorted(strange)),
            where="the graph of tf2onnx",
            fix="save the model with one signature: ids, mask and type ids to logits",
        )
    for value in (*graph.input, *graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim, ("batch", "sequence"), strict=False):
            if not dim.dim_value:
                dim.dim_param = name


if __name__ == "__main__":
    errors.run(main)
