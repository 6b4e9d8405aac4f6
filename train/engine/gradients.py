"""Gradients, dense or sparse (tf.IndexedSlices): their sum, their mean over the ranks, their norm.

The gradient of an embedding table has only the rows of a batch. Kept sparse it is small in memory,
on the wire (an all-gather of rows and their numbers) and in a lazy optimizer; made dense it is one
all-reduce of the whole table, which Horovod fuses with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as hvd

from slipway.tensorflow import tf

Gradient = Any  # tf.Tensor | tf.IndexedSlices
_SMALL_TABLE = 1024  # rows: fewer than a batch has tokens, so that dense is smaller on the wire
_COMPRESSION = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}


def densified(gradients: Sequence[Gradient], variables: Sequence[tf.Variable], *, sparse_as_dense: bool) -> list[Gradient]:
    """Return the gradients, sparse ones made dense if `sparse_as_dense` or their table is small."""
    return [
        dense(gradient, table.shape[0])
        if isinstance(gradient, tf.IndexedSlices) and (sparse_as_dense or table.shape[0] <= _SMALL_TABLE)
        else gradient
        for gradient, table in zip(gradients, variables, strict=True)
    ]


def added(left: Gradient, right: Gradient) -> Gradient:
    """Return the sum of two gradients of one variable; of sparse ones the rows of both."""
    if not isinstance(left, tf.IndexedSlices):
        return left + right
    values, indices = (tf.concat(both, 0) for both in ((left.values, right.values), (left.indices, right.indices)))
    return tf.IndexedSlices(values, indices, left.dense_shape)


def averaged(gradients: Sequence[Gradient], compression: str) -> list[Gradient]:
    """Return the mean over all ranks, in the tf.function of the gradients: they overlap."""
    if hvd.size() == 1:
        return list(gradients)
    method = _COMPRESSION[compression]
    means = []
    for number, gradient in enumerate(gradients):
        name = f"gradient.{number}"  # given here, so that ranks agree also where one has traced more functions
        if isinstance(gradient, tf.IndexedSlices):
            packed, context = method.compress(gradient.values)
            values = method.decompress(hvd.allgather(packed, name=f"{name}.values", ignore_name_scope=True), context)
            indices = hvd.allgather(gradient.indices, name=f"{name}.indices", ignore_name_scope=True)
            means.append(tf.IndexedSlices(values / hvd.size(), indices, gradient.dense_shape))
        else:
            means.append(hvd.allreduce(gradient, op=hvd.Average, compression=method, name=name, ignore_name_scope=True))
    return means


def summed(gradient: Gradient) -> Gradient:
    """Return a sparse gradient with the rows of the same number added; a dense one as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    indices, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)


def multiplied(gradient: Gradient, factor: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


def dense(gradient: Gradient, rows: int | None = None) -> tf.Tensor:
    """Return a sparse gradient as the table of `rows` rows; a dense one as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows = rows or gradient.shape[0] or gradient.dense_shape[0]  # the last when it came through another function
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, rows)
