"""A few lines that make writing an ONNX graph read like the formula it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from slipway.contract.ragged import INPUTS

OPSET = 17
MICROSOFT = "com.microsoft"


class GraphWriter:
    """Collects nodes and initializers; `op` returns the name of the node's first output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Any) -> str:
        """Add an initializer. Raises ValueError when a name comes again with another value."""
        tensor = numpy_helper.from_array(np.array(value, order="C"), name)
        if self._initializers.setdefault(name, tensor) != tensor:
            raise ValueError(f"initializer {name} would have two values")
        return name

    def integers(self, *values: int) -> str:
        """Add an int64 vector, as Reshape, Slice and Squeeze take their shapes and axes."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind: str, name: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        names = [name if number == 0 else f"{name}.{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}:{name}", domain=domain, **attributes))
        return names[0]

    def model(self, output: str, shape: list[str | int], facts: dict[str, str]) -> onnx.ModelProto:
        """Return the model: the bundle's inputs, `output` as float32, `facts` as metadata_props."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "sequence"]) for name in INPUTS]
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "bert_classifier", inputs, [result], list(self._initializers.values()))
        domains = {node.domain for node in self._nodes}
        opsets = [helper.make_opsetid("", OPSET)] + [helper.make_opsetid(name, 1) for name in domains if name]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="slipway", ir_version=8)
        helper.set_model_props(model, facts)
        return model
