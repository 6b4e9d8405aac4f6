"""The precision an ONNX file really computes in: the proof behind the word FP32, FP16 or INT8.

The type a weight is multiplied in counts, not how it is stored: an FP16 kernel behind a cast to
FP32 is FP32.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from slipway.contract.parity.comparison import Precision

_TYPES = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "int8",
}
# Operator → which of its inputs is the kernel.
_KERNEL = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "Conv", "Attention", "PackedAttention", "QAttention"), 1),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), 1),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), 3),
}
_SAME_TYPE = {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat"}


def proof(path: Path) -> Precision:
    """Return the share of each type in the multiplications with weights, counted by elements.

    A graph that multiplies no weights is described by the types of its tables.
    """
    graph = onnx.load(path, load_external_data=False).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    elements: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _KERNEL and len(node.input) > _KERNEL[node.op_type]:
            kind, size = _source(node.input[_KERNEL[node.op_type]], initializers, makers)
            elements[kind] += size
    of = "the multiplications"
    if not elements.total():
        of = "the weights"
        for tensor in graph.initializer:
            elements[_type(tensor.data_type)] += int(np.prod(tensor.dims)) if len(tensor.dims) >= 2 else 0
    total = elements.total() or 1
    shares = {name: count / total for name, count in elements.most_common() if count}
    return Precision(of, shares, dict(Counter(node.op_type for node in graph.node).most_common()))


def _source(name: str, initializers: dict[str, onnx.TensorProto], makers: dict[str, onnx.NodeProto]) -> tuple[str, int]:
    """Return the type a kernel arrives in and its elements; 0 when it comes from the input."""
    changed = ""
    while name not in initializers:
        node = makers.get(name)
        if node is None:
            return "", 0
        if node.op_type == "Cast":
            changed = changed or _type(next(entry.i for entry in node.attribute if entry.name == "to"))
        elif node.op_type == "DequantizeLinear":
            changed = changed or "fp32"
        elif node.op_type not in _SAME_TYPE:
            return "", 0
        name = node.input[0]
    return changed or _type(initializers[name].data_type), int(np.prod(initializers[name].dims))


def _type(number: int) -> str:
    return _TYPES.get(number, f"type {number}")
