"""What a Bert computes on a batch, in multiplications and additions of matrices; nothing else counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.bert import Bert

Lengths = NDArray[np.int64]


@dataclass(frozen=True)
class Flops:
    """By ONNX operator: projections to query, key and value belong to Attention, and what follows it to MatMul and Gemm."""

    attention: float
    matmul: float

    @property
    def total(self) -> float:
        return self.attention + self.matmul


def flops(bert: Bert, lengths: Lengths, *, first_token_only: bool = True, first_query_only: bool = False) -> Flops:
    """`lengths` [rows] are the tokens computed of each row: padding included where it is computed.

    `first_token_only`: as our graphs, whose last layer computes the first token of each row alone after its attention.
    `first_query_only`: and asks for that token alone in its attention too, as the canonical graph does.
    """
    hidden, fed = bert.hidden, int(bert.layers[0].intermediate.bias.shape[0])
    rows, tokens, pairs = len(lengths), float(lengths.sum()), float(np.square(lengths).sum())
    layers = len(bert.layers)
    after = 2 * hidden**2 + 4 * hidden * fed  # output projection and the two feed-forward products, for a token
    short = int(first_token_only and bert.pooler is not None)
    attention = layers * (6 * hidden**2 * tokens + 4 * hidden * pairs)
    if first_query_only and bert.pooler is not None:
        attention -= 2 * hidden**2 * (tokens - rows) + 4 * hidden * (pairs - tokens)
    matmul = after * (tokens * (layers - short) + rows * short)
    labels = 2 * hidden * int(bert.classifier.bias.shape[0])
    head = rows * (2 * hidden**2 + labels) if bert.pooler else tokens * labels
    return Flops(attention, matmul + head)
