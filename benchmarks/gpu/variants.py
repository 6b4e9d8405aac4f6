"""Variants for ONNX Runtime on an NVIDIA GPU, fused in FP16 and without padding; the same gate.

They are not in `slipway.contract.variants`: a machine without a GPU could only skip them, in every
export and every table of it. `benchmarks.gpu.engines` makes, compares and measures them.

ONNX Runtime picks its CUDA kernel by the form of the mask (contrib_ops/cuda/bert/attention.cc).
With the mask as it comes, which may have holes, no kernel is a fused one. With the rows' lengths
(FUSED) it is TensorRT's up to compute capability 8.9; from 9.0 on it is cuDNN's where ONNX Runtime
takes that one by itself, as its newest do, else none. With lengths and starts (STARTS) it is
CUTLASS' memory-efficient one, on every GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.graph import fused
from export.graph.bert import Bert
from export.graph.builder import MICROSOFT, GraphWriter
from export.graph.fused import Layout, Padded
from slipway.contract.variants import VARIANTS, Variant


class PaddedByLengths(Padded):
    """The mask is [batch], each row's tokens."""

    counts = True

    def enter(self, _graph: GraphWriter, hidden: str, lengths: str) -> tuple[str, Sequence[str]]:
        return hidden, (lengths,)


class PaddedByStarts(Padded):
    """The mask is [3 batch + 2]: each row's tokens, then twice all rows' starts and the last end.

    In floats, exact to 2^24 tokens, since CUDA's Pad takes no integers. Written without shape
    arithmetic, whose copies from the CPU a CUDA graph cannot hold; and in parts of one size, which
    Concat joins without a table of sizes in the CPU's memory.
    """

    counts = True

    def enter(self, graph: GraphWriter, hidden: str, lengths: str) -> tuple[str, Sequence[str]]:
        mask = graph.op("Cast", "starts.mask", "input_mask", to=TensorProto.FLOAT)
        ones = graph.op("Max", "starts.ones", mask, graph.constant("one.float", np.float32(1)))
        width = graph.op("ReduceSum", "starts.width", ones, graph.integers(1), keepdims=0)
        ends = graph.op("CumSum", "starts.ends", width, graph.integers(0))
        counted = graph.op("Cast", "starts.lengths", lengths, to=TensorProto.FLOAT)
        starts, padded = (graph.op("Pad", f"{name}.padded", name, graph.integers(1, 0)) for name in (ends, counted))
        joined = graph.op("Concat", "starts.joined", padded, starts, starts, axis=0)  # a zero too many in front
        whole = graph.op("Slice", "starts.float", joined, graph.integers(1), graph.integers(2**31), graph.integers(0))
        return hidden, (graph.op("Cast", "starts", whole, to=TensorProto.INT32),)


class Packed:
    """Only the tokens that are text go through the layers, [tokens, hidden]. CUDA alone has it.

    Inputs and output are the bundle's, so the gate is the same. Padding has to end a row. Lengths
    are counted by the embeddings and stay on the GPU; the number of tokens, a shape, does not:
    RemovePadding waits for it once a run, so no CUDA graph can hold this one. It also writes its
    table of offsets with one thread, batch × sequence steps (1.23, bert_padding.cu).

    tagger: rows are padded again; classifier: the head reads first tokens, by the rows' starts.
    """

    attention = "PackedAttention"
    attributes: dict[str, Any] = {}
    counts = True

    def enter(self, graph: GraphWriter, hidden: str, lengths: str) -> tuple[str, Sequence[str]]:
        """Return tokens [tokens, hidden]; places [batch, sequence], row starts [batch + 1]."""
        packed = graph.op("RemovePadding", "packed", hidden, lengths, outputs=4, domain=MICROSOFT)
        return packed, ("packed.1", "packed.2")

    def first_tokens(self, graph: GraphWriter, name: str, source: str, masks: Sequence[str]) -> str:
        starts = graph.op("Slice", f"{name}.starts", masks[1], graph.integers(0), graph.integers(-1), graph.integers(0))
        return graph.op("Gather", name, source, starts, axis=0)

    def leave(self, graph: GraphWriter, hidden: str, masks: Sequence[str]) -> str:
        return graph.op("RestorePadding", "unpacked", hidden, masks[0], domain=MICROSOFT)


def _fp16(name: str) -> Variant:
    cuda = ("CUDAExecutionProvider",)
    return Variant(name, "onnx_fp32", "model.onnx", "onnx", "fp16", "onnxruntime", VARIANTS["onnx_fp16"].limits, cuda)


FUSED = _fp16("ort_fp16")
STARTS = _fp16("ort_fp16_starts")
PACKED = _fp16("packed_fp16")
LAYOUTS: dict[Variant, Layout] = {FUSED: PaddedByLengths(), STARTS: PaddedByStarts(), PACKED: Packed()}
WHY_NOT_ON_CPU = "ONNX Runtime has no CPU kernel for RemovePadding and PackedAttention"


def write(variant: Variant, halved: Bert) -> onnx.ModelProto:
    """Write one of LAYOUTS; `halved` is `fp16.bert` of the Bert, made once for all of them."""
    return fused.write(halved, LAYOUTS[variant])
