"""A Bert without padding: only the tokens that are text go through the layers, [tokens, hidden].

The operators are ONNX Runtime's and run on CUDA alone; inputs and output are the bundle's, so the
gate is the same. Padding has to end a row. Lengths are counted by the embeddings and stay on the
GPU; the number of tokens, a shape, does not: RemovePadding waits for it once a run, so no CUDA
graph can hold this one. It also writes its table of offsets with one thread, batch × sequence steps
(1.23, bert_padding.cu); the profile of benchmarks.gpu.engines has its time.

tagger: rows are padded again; classifier: the head reads first tokens, found by the rows' starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.graph.builder import MICROSOFT, GraphWriter


class Packed:
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
