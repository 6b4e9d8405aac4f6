"""A Bert without padding: only the tokens that are text go through the layers, [tokens, hidden], whatever their rows'
lengths.

The operators are ONNX Runtime's and run on CUDA alone; inputs and output are the bundle's, so the gate is the same. Padding
has to end a row. Lengths are counted by the embeddings and stay on the GPU; the number of tokens, a shape, does not:
RemovePadding waits for it once a run, so no CUDA graph can hold this one. It also writes its table of offsets with one
thread, batch × sequence steps (1.23, bert_padding.cu); what that takes is in the profile of benchmarks.gpu.engines.

Only a tagger's rows are padded again: a classifier's head reads first tokens, found by where rows start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.graph_writer import MICROSOFT, GraphWriter


class Packed:
    attention = "PackedAttention"
    attributes: dict[str, Any] = {}
    counts = True

    def enter(self, graph: GraphWriter, hidden: str, lengths: str) -> tuple[str, Sequence[str]]:
        """Of RemovePadding: tokens [tokens, hidden], where each was [batch, sequence], where rows start [batch + 1]."""
        packed = graph.op("RemovePadding", "packed", hidden, lengths, outputs=4, domain=MICROSOFT)
        return packed, ("packed.1", "packed.2")

    def first_tokens(self, graph: GraphWriter, name: str, source: str, where: Sequence[str]) -> str:
        starts = graph.op("Slice", f"{name}.starts", where[1], graph.integers(0), graph.integers(-1), graph.integers(0))
        return graph.op("Gather", name, source, starts, axis=0)

    def leave(self, graph: GraphWriter, hidden: str, where: Sequence[str]) -> str:
        return graph.op("RestorePadding", "unpacked", hidden, where[0], domain=MICROSOFT)
