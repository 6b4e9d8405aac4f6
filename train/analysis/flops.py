"""Floating-point operations of a BERT for one example, in a forward pass and in a training step.

One multiply-add is two operations. Only matrix products are counted, which are nearly all: GELU,
softmax, LayerNorm, dropout and the optimizer take time but few operations, and embeddings are
looked up, not multiplied.

Per layer, of `s` tokens, hidden size `h`, intermediate size `f` (Vaswani et al. 2017; Devlin et al.
2018):

    4 projections (query, key, value, output)   4 · 2 s h²
    2 attention products (QKᵀ, weights × V)     2 · 2 s² h
    2 feed-forward products                     2 · 2 s h f

The backward pass has two products for each, one for the gradient of each factor; so a training step
is three times a forward pass. With f = 4h that is 72 s h² (1 + s / 6h) a layer, as in Narayanan et
al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM",
appendix (96 there, where every forward pass is computed twice).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.encoder.bert import Size

FORMULA = (
    "matrix products, 3 × forward: a layer of s tokens 8sh² + 4s²h + 4shf (Vaswani et al. 2017; "
    "Narayanan et al. 2021, appendix; more in train/analysis/flops.py)"
)


def forward(size: Size, tokens: float, labels: int, *, tagging: bool = False) -> float:
    """Return the operations of one forward pass for one example of so many `tokens`.

    Without its padding they are the model's work, with it what is computed. Tagger: the head
    answers every token and has no pooler before it.
    """
    return size.layers * _cell(size, tokens) + sum(_pooler_and_head(size, tokens, labels, tagging))


def training(size: Size, tokens: float, labels: int, *, tagging: bool = False, fine_tune_layers: int = -1) -> float:
    """Return the operations of forward and backward pass for one example.

    `fine_tune_layers` −1: all; 0: none; n: the top n cells and the pooler. No gradient flows below
    the lowest cell that is trained, so none is computed for the input of its query, key and value.
    """
    pooler, head = _pooler_and_head(size, tokens, labels, tagging)
    once = forward(size, tokens, labels, tagging=tagging)
    if fine_tune_layers == 0:
        return once + head  # the gradient of the head's weights only
    trained = size.layers if fine_tune_layers < 0 else fine_tune_layers
    frozen_below = 0.0 if fine_tune_layers < 0 else 3 * _product(tokens, size.hidden, size.hidden)
    return once + 2 * (head + pooler + trained * _cell(size, tokens)) - frozen_below


def counted(graph: Any) -> float:
    """Return the operations of the matrix products in a ConcreteFunction's graph of known shapes.

    Counts MatMul, BatchMatMul and Einsum (which tf.compat.v1.profiler cannot count) as far as the
    outputs need them: TensorFlow does not run the rest of a graph.
    """
    needed, pending = set(), [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while pending:
        operation = pending.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            pending += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return sum(_multiplied(graph.get_operation_by_name(name)) for name in needed)


def _multiplied(operation: Any) -> float:
    kind = operation.type
    if kind == "Einsum":
        indices = re.split(",|->", operation.get_attr("equation").decode())[:-1]
        sizes = {
            letter: n
            for term, factor in zip(indices, operation.inputs, strict=True)
            for letter, n in zip(term, map(int, factor.shape), strict=True)
        }
        return 2.0 * math.prod(sizes.values()) if len(indices) == 2 else 0.0
    if kind == "MatMul" or kind.startswith("BatchMatMul"):
        inner = int(operation.inputs[0].shape[-2 if operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x") else -1])
        return 2.0 * inner * math.prod(map(int, operation.outputs[0].shape))
    return 0.0


def _cell(size: Size, tokens: float) -> float:
    projections = 4 * _product(tokens, size.hidden, size.hidden)
    attention = 2 * _product(tokens, tokens, size.hidden)
    return projections + attention + 2 * _product(tokens, size.hidden, size.intermediate)


def _pooler_and_head(size: Size, tokens: float, labels: int, tagging: bool) -> tuple[float, float]:
    if tagging:
        return 0.0, _product(tokens, size.hidden, labels)
    return _product(1, size.hidden, size.hidden), _product(1, size.hidden, labels)


def _product(rows: float, inner: float, columns: float) -> float:
    """Return the operations of [rows, inner] × [inner, columns]."""
    return 2.0 * rows * inner * columns
