"""A BERT classifier as plain arrays, which every graph of this project is written from.

`extract_weights` reads one out of a SavedModel; `canonical` writes it as standard ONNX and reads it
back; `fused` writes it in ONNX Runtime's operators. Kernels are [in, out], biases [out], float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Dense:
    kernel: Array  # [in, out]
    bias: Array  # [out]


@dataclass(frozen=True)
class Norm:
    gamma: Array  # [hidden]
    beta: Array  # [hidden]


@dataclass(frozen=True)
class Layer:
    query: Dense
    key: Dense
    value: Dense
    attention_output: Dense
    attention_norm: Norm
    intermediate: Dense
    output: Dense
    output_norm: Norm


@dataclass(frozen=True)
class Bert:
    """A BERT encoder with a head. classifier: on the pooled first token; tagger: on every token."""

    word_embeddings: Array  # [vocabulary, hidden]
    position_embeddings: Array  # [positions, hidden]
    type_embeddings: Array  # [types, hidden]
    embeddings_norm: Norm
    layers: tuple[Layer, ...]
    pooler: Dense | None  # tanh follows; None: a tagger, whose head reads every token
    classifier: Dense
    heads: int
    epsilon: float  # of every LayerNorm
    gelu: str  # "exact" (erf) or "approximate" (tanh)

    @property
    def output_shape(self) -> list[str | int]:
        """Shape of the logits; text names a dynamic dimension."""
        labels = int(self.classifier.bias.shape[0])
        return ["batch", labels] if self.pooler else ["batch", "sequence", labels]

    def first_token_only(self, layer: int) -> bool:
        """Return whether the head reads only the first token of this layer's output."""
        return self.pooler is not None and layer == len(self.layers) - 1

    @property
    def hidden(self) -> int:
        return int(self.word_embeddings.shape[1])
