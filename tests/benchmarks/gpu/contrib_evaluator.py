"""Runs a graph node by node: what ONNX Runtime has for CUDA only in numpy, by its documentation,
every other node in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from slipway.contract.ragged import Feed

Values = list[Any]


def run(model: onnx.ModelProto, feed: Feed) -> dict[str, np.ndarray]:
    """Every tensor of the graph."""
    known: dict[str, Any] = {"": None, **feed} | {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in model.graph.node:
        inputs = [known[name] for name in node.input]
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        replaced = OPERATORS.get(node.op_type)
        if node.op_type == "Attention" and inputs[3].shape[:1] == (3 * len(inputs[0]) + 2,):
            replaced = attention_by_starts
        result = replaced(inputs, attributes) if replaced else _in_onnxruntime(node, inputs, model)
        known |= dict(zip(node.output, result, strict=True))
    return known


def _in_onnxruntime(node: onnx.NodeProto, inputs: Values, model: onnx.ModelProto) -> Values:
    def value(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    given = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "one", [value(name, array) for name, array in given.items()], outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, given)


def remove_padding(inputs: Values, _: dict[str, Any]) -> Values:
    hidden, counts = inputs
    batch, sequence, size = hidden.shape
    text = np.arange(sequence) < counts[:, None]
    offsets = np.concatenate([np.flatnonzero(text), np.flatnonzero(~text)]).reshape(batch, sequence).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return [hidden.reshape(-1, size)[text.reshape(-1)], offsets, starts, counts.max(keepdims=True).astype(np.int32)]


def restore_padding(inputs: Values, _: dict[str, Any]) -> Values:
    packed, offsets = inputs
    whole = np.zeros((offsets.size, packed.shape[1]), packed.dtype)
    whole[offsets.reshape(-1)[: len(packed)]] = packed
    return [whole.reshape(*offsets.shape, -1)]


def packed_attention(inputs: Values, attributes: dict[str, Any]) -> Values:
    hidden, kernel, bias, offsets, starts = inputs
    assert starts.shape == (len(offsets) + 1,)
    assert starts[-1] == len(hidden)
    qkv = hidden @ kernel + bias
    rows = [_attended(qkv[a:b], qkv[a:b], attributes["num_heads"]) for a, b in itertools.pairwise(starts)]
    return [np.concatenate(rows)]


def attention_by_starts(inputs: Values, attributes: dict[str, Any]) -> Values:
    """The mask is [3 batch + 2]: key lengths, where queries start, where keys start."""
    hidden, kernel, bias, mask = inputs
    batch = len(hidden)
    lengths, queries, keys = np.split(mask, (batch, 2 * batch + 1))
    qkv = (hidden @ kernel + bias).reshape(-1, kernel.shape[1])
    rows = [
        _attended(qkv[queries[i] : queries[i + 1]], qkv[keys[i] : keys[i] + lengths[i]], attributes["num_heads"])
        for i in range(batch)
    ]
    return [np.stack(rows)]


def _attended(queries: np.ndarray, keys: np.ndarray, heads: int) -> np.ndarray:
    """softmax(Q Kᵀ / √d) V of one row; both are [tokens, 3 hidden]: query, key and value side by
    side.
    """

    def split(part: np.ndarray) -> np.ndarray:
        return part.reshape(len(part), heads, -1).transpose(1, 0, 2)

    size = queries.shape[1] // 3
    query, key, value = split(queries[:, :size]), split(keys[:, size : 2 * size]), split(keys[:, 2 * size :])
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(size // heads)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = weights / weights.sum(axis=-1, keepdims=True) @ value
    return mixed.transpose(1, 0, 2).reshape(len(queries), size).astype(queries.dtype)


OPERATORS: dict[str, Callable[[Values, dict[str, Any]], Values]] = {
    "RemovePadding": remove_padding,
    "RestorePadding": restore_padding,
    "PackedAttention": packed_attention,
}
