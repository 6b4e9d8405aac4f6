"""Floating-point operations of a BERT, for one example: what its matrix products cost, forward and in a training step.

One multiply-add is two operations. Counted are the matrix products, which are nearly all of it: GELU, softmax, LayerNorm,
dropout and the optimizer take time but few operations, and embeddings are looked up, not multiplied.

Per layer, of `s` tokens, hidden size `h`, intermediate size `f` (Vaswani et al. 2017; Devlin et al. 2018):

    4 projections (query, key, value, output)   4 · 2 s h²
    2 attention products (QKᵀ, weights × V)     2 · 2 s² h
    2 feed-forward products                     2 · 2 s h f

Every product has two more when going back, one for the gradient of each of its factors; so a training step is three times a
forward pass. With f = 4h that is 72 s h² (1 + s / 6h) a layer, as in Narayanan et al. 2021, "Efficient Large-Scale Language
Model Training on GPU Clusters Using Megatron-LM", appendix (96 there, where every forward pass is computed twice).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.bert_encoder import Size


FORMULA = (
    "matrix products, 3 × forward: a layer of s tokens 8sh² + 4s²h + 4shf (Vaswani et al. 2017; "
    "Narayanan et al. 2021, appendix; more in train/flops.py)"
)


def forward(size: Size, tokens: float, labels: int, *, tagging: bool = False) -> float:
    """Operations of one forward pass for one example of so many tokens: its own for the model's work, with its padding for
    what is computed. A tagger's head answers every token and has no pooler before it."""
    head = _product(tokens, size.hidden, labels) if tagging else _pooler(size) + _product(1, size.hidden, labels)
    return size.layers * _cell(size, tokens) + head


def training(size: Size, tokens: float, labels: int, *, tagging: bool = False, fine_tune_layers: int = -1) -> float:
    """Operations of forward and backward for one example. `fine_tune_layers` −1: all; 0: none; n: the top n cells and the pooler.

    Nothing flows back below the lowest cell that is trained, and that cell's query, key and value owe their input no gradient.
    """
    head = _product(tokens, size.hidden, labels) if tagging else _product(1, size.hidden, labels)
    pooler = 0.0 if tagging else _pooler(size)
    once = forward(size, tokens, labels, tagging=tagging)
    if fine_tune_layers == 0:
        return once + head  # the gradient of the head's weights only
    trained = size.layers if fine_tune_layers < 0 else fine_tune_layers
    frozen_below = 0.0 if fine_tune_layers < 0 else 3 * _product(tokens, size.hidden, size.hidden)
    return once + 2 * (head + pooler + trained * _cell(size, tokens)) - frozen_below


def counted(graph: Any) -> float:
    """Operations of the matrix products in the graph of a ConcreteFunction whose shapes are all known, read from the graph itself.

    MatMul, BatchMatMul and Einsum, for which TensorFlow's own counter (tf.compat.v1.profiler) has no figure; of what the outputs
    need: the rest is in the graph, but TensorFlow leaves it out when it runs.
    """
    needed, pending = set(), [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while pending:
        operation = pending.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            pending += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return sum(_counted(graph.get_operation_by_name(name)) for name in needed)


def _counted(operation: Any) -> float:
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


def _pooler(size: Size) -> float:
    return _product(1, size.hidden, size.hidden)


def _product(rows: float, inner: float, columns: float) -> float:
    """[rows, inner] × [inner, columns]."""
    return 2.0 * rows * inner * columns
