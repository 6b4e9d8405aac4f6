"""Variants for ONNX Runtime on an NVIDIA GPU: fused in FP16, and without padding. The limits and the gate are the export's.

They are no rows of `export.variants`: a machine without a GPU could only skip them, in every export and every table of it.
`benchmarks.gpu.engines` makes, compares and measures them.
"""

from __future__ import annotations

import onnx

from export import fused_graph, half, packed_graph
from export.bert import Bert
from export.token_layout import Layout, PaddedByLengths, PaddedByStarts
from export.variants import VARIANTS, Variant

_LIMITS = VARIANTS["onnx_fp16"].limits
_CUDA = ("CUDAExecutionProvider",)

FUSED = Variant("ort_fp16", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _LIMITS, _CUDA)
PACKED = Variant("packed_fp16", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _LIMITS, _CUDA)
WHY_NOT_ON_CPU = "ONNX Runtime has no CPU kernel for RemovePadding and PackedAttention"
_FIRST_WITHOUT = 9.0  # the compute capability from which on ONNX Runtime has none of TensorRT's fused attention kernels


def write(variant: Variant, bert: Bert, compute_capability: str) -> onnx.ModelProto:
    """FUSED or PACKED of a Bert; `compute_capability` of the GPU it is for, "" for none."""
    if variant == PACKED:
        return packed_graph.write(half.bert(bert))
    return fused_graph.write(half.bert(bert), padded(compute_capability))


def padded(compute_capability: str) -> Layout:
    """The layout for which there is a fused attention kernel."""
    return PaddedByStarts() if float(compute_capability or 0) >= _FIRST_WITHOUT else PaddedByLengths()
