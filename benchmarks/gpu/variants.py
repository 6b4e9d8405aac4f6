"""Variants for ONNX Runtime on an NVIDIA GPU, fused in FP16 and without padding; the same gate.

They are not in `slipway.contract.variants`: a machine without a GPU could only skip them, in every
export and every table of it. `benchmarks.gpu.engines` makes, compares and measures them: which form
of the mask is faster, FUSED's lengths or STARTS' lengths and starts, depends on the GPU and on ONNX
Runtime's version.
"""

from __future__ import annotations

import onnx

from benchmarks.gpu.packed_graph import Packed
from export.graph import fused
from export.graph.bert import Bert
from export.graph.fused import Layout, PaddedByLengths, PaddedByStarts
from slipway.contract.variants import VARIANTS, Variant

_LIMITS = VARIANTS["onnx_fp16"].limits
_CUDA = ("CUDAExecutionProvider",)

FUSED = Variant("ort_fp16", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _LIMITS, _CUDA)
STARTS = Variant("ort_fp16_starts", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _LIMITS, _CUDA)
PACKED = Variant("packed_fp16", "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", _LIMITS, _CUDA)
LAYOUTS: dict[Variant, Layout] = {FUSED: PaddedByLengths(), STARTS: PaddedByStarts(), PACKED: Packed()}
WHY_NOT_ON_CPU = "ONNX Runtime has no CPU kernel for RemovePadding and PackedAttention"


def write(variant: Variant, halved: Bert) -> onnx.ModelProto:
    """Write one of LAYOUTS; `halved` is `half.bert` of the Bert, made once for all of them."""
    return fused.write(halved, LAYOUTS[variant])
