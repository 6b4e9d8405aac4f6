"""The layout of a batch's tokens while a fused graph runs, and the mask that attention gets.

ONNX Runtime picks its CUDA kernel by the form of the mask (contrib_ops/cuda/bert/attention.cc).
With the mask as it comes, which may have holes, no kernel is a fused one. With the rows' lengths it
is TensorRT's up to compute capability 8.9; from 9.0 on it is cuDNN's where ONNX Runtime takes that
one by itself, as its newest do, else none. With lengths and starts it is CUTLASS' memory-efficient
one, on every GPU. `export.packed_graph` has the layout without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from onnx import TensorProto

from export.canonical_graph import MASKED
from export.graph_writer import GraphWriter


class Layout(Protocol):
    attention: str  # the operator
    attributes: dict[str, Any]  # its attributes, besides num_heads
    # Whether the embeddings' second result, the rows' lengths [batch] int32, is computed: then
    # padding has to end a row.
    counts: bool

    def enter(self, graph: GraphWriter, hidden: str, lengths: str, /) -> tuple[str, Sequence[str]]:
        """Return the tensor that layers read, and the masks: attention's inputs after its bias."""

    def first_tokens(self, graph: GraphWriter, name: str, source: str, masks: Sequence[str], /) -> str:
        """Return the first token of every row of `source`, [batch, hidden]."""

    def leave(self, graph: GraphWriter, hidden: str, masks: Sequence[str], /) -> str:
        """Return [batch, sequence, hidden], as a tagger's head reads it."""


class Padded:
    """Tokens lie as [batch, sequence, hidden]; the mask is the one that comes in."""

    attention = "Attention"
    attributes = {"mask_filter_value": float(MASKED)}
    counts = False

    def enter(self, _graph: GraphWriter, hidden: str, _lengths: str) -> tuple[str, Sequence[str]]:
        return hidden, ("input_mask",)

    def first_tokens(self, graph: GraphWriter, name: str, source: str, _masks: Sequence[str]) -> str:
        return graph.op("Gather", name, source, graph.constant("first", np.int64(0)), axis=1)

    def leave(self, _graph: GraphWriter, hidden: str, _masks: Sequence[str]) -> str:
        return hidden


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
