"""What an ONNX file really computes in, read out of the file: the proof behind the word FP32, FP16 or INT8."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

_TYPES = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "int8",
}


def proof(path: Path) -> dict[str, Any]:
    """Share of the weights (initializers of two or more dimensions) by type, and how often each operator occurs."""
    graph = onnx.load(path, load_external_data=False).graph
    elements: Counter[str] = Counter()
    for tensor in graph.initializer:
        if len(tensor.dims) >= 2:
            elements[_TYPES.get(tensor.data_type, f"type {tensor.data_type}")] += int(np.prod(tensor.dims))
    total = elements.total()
    return {
        "weights": {name: count / total for name, count in elements.most_common()},
        "operators": dict(Counter(node.op_type for node in graph.node).most_common()),
    }
