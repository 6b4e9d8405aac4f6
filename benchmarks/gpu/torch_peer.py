"""The peer a user has on the same machine: the same weights in PyTorch, compiled or not.

FP16 on a GPU, FP32 on a CPU. It computes as transformers' BERT does: every layer on all tokens, and
no mask where nothing is padded, so that PyTorch may take its flash attention. The layer is compiled
once for all of them, for any shape, and once more for a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]
from torch.nn import functional  # type: ignore[import-not-found, unused-ignore]

from export.graph.bert import Bert, Dense, Layer, Norm
from slipway.contract.ragged import Feed


class TorchBert:
    def __init__(self, bert: Bert, kind: str, *, compiled: bool) -> None:
        self.kind = kind
        self._type = torch.float16 if kind == "cuda" else torch.float32
        self._heads, self._epsilon, self._gelu = bert.heads, bert.epsilon, {"exact": "none", "approximate": "tanh"}[bert.gelu]
        tables = (bert.word_embeddings, bert.position_embeddings, bert.type_embeddings)
        self._words, self._positions, self._types = (self._tensor(table) for table in tables)
        self._norm = self._pair(bert.embeddings_norm)
        self._layers = [self._weights(layer) for layer in bert.layers]
        self._pooler = self._pair(bert.pooler) if bert.pooler else None
        self._classifier = self._pair(bert.classifier)
        torch._dynamo.reset()  # else the previous model's sizes count as dynamic ones
        self._layer = torch.compile(_layer) if compiled else _layer

    def prepare(self, feed: Feed) -> Callable[[], Any]:
        """Copy this batch to the device; return a run of it, which waits for the logits."""
        ids, mask, types = (
            torch.from_numpy(feed[name]).to(self.kind) for name in ("input_word_ids", "input_mask", "input_type_ids")
        )
        seen = None if feed["input_mask"].all() else mask.bool()[:, None, None, :]

        def run() -> Any:
            with torch.inference_mode():
                logits = self._logits(ids, types, seen)
            if self.kind == "cuda":
                torch.cuda.synchronize()
            return logits

        return run

    def _logits(self, ids: Any, types: Any, seen: Any) -> Any:
        hidden = functional.embedding(ids, self._words) + self._positions[: ids.shape[1]] + functional.embedding(types, self._types)
        hidden = functional.layer_norm(hidden, hidden.shape[-1:], *self._norm, self._epsilon)
        for dimension in (0, 1):  # batch and tokens change, the weights' sizes do not
            torch._dynamo.maybe_mark_dynamic(hidden, dimension)
        for layer in self._layers:
            hidden = self._layer(hidden, seen, self._heads, self._epsilon, self._gelu, *layer)
        if self._pooler:
            hidden = torch.tanh(functional.linear(hidden[:, 0], *self._pooler))
        return functional.linear(hidden, *self._classifier)

    def _weights(self, layer: Layer) -> list[Any]:
        parts = (layer.query, layer.key, layer.value)
        merged = Dense(np.concatenate([part.kernel for part in parts], axis=1), np.concatenate([part.bias for part in parts]))
        order = (merged, layer.attention_output, layer.attention_norm, layer.intermediate, layer.output, layer.output_norm)
        return [tensor for part in order for tensor in self._pair(part)]

    def _pair(self, part: Dense | Norm) -> Sequence[Any]:
        """Return (weight [out, in], bias), or (gamma, beta)."""
        if isinstance(part, Norm):
            return self._tensor(part.gamma), self._tensor(part.beta)
        return self._tensor(part.kernel.T), self._tensor(part.bias)

    def _tensor(self, array: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.kind, self._type)


def matmul_tflops(size: int, repeats: int = 20) -> float:
    """Return the TFLOP/s of PyTorch's fastest FP16 product of square matrices, in three pairs."""
    pairs = [[torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in "ab"] for _ in range(3)]
    milliseconds: list[float] = []
    for number in range(3 + repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mm(*pairs[number % 3])
        end.record()
        torch.cuda.synchronize()
        milliseconds.append(start.elapsed_time(end))
    return 2 * size**3 / (min(milliseconds[3:]) / 1e3) / 1e12


def _layer(
    hidden: Any, seen: Any, heads: int, epsilon: float, gelu: str,
    qkv: Any, qkv_bias: Any, out: Any, out_bias: Any, gamma: Any, beta: Any,
    up: Any, up_bias: Any, down: Any, down_bias: Any, last_gamma: Any, last_beta: Any,
) -> Any:  # fmt: skip
    batch, tokens, size = hidden.shape
    projected = functional.linear(hidden, qkv, qkv_bias).view(batch, tokens, 3, heads, size // heads)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    attended = functional.linear(mixed.transpose(1, 2).reshape(batch, tokens, size), out, out_bias)
    hidden = functional.layer_norm(attended + hidden, (size,), gamma, beta, epsilon)
    fed = functional.gelu(functional.linear(hidden, up, up_bias), approximate=gelu)
    return functional.layer_norm(functional.linear(fed, down, down_bias) + hidden, (size,), last_gamma, last_beta, epsilon)
