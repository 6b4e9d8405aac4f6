"""Gradients, dense or of single rows (tf.IndexedSlices): added, averaged over the ranks, their norm.

The gradient of an embedding table has only the rows of a batch. Sparse it stays small in memory, on the wire (an all-gather of
rows and their numbers) and in a lazy optimizer; dense it is one all-reduce of the whole table, which Horovod fuses with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as hvd

from train.keras2 import tf

Gradient = Any  # tf.Tensor | tf.IndexedSlices
_SMALL_TABLE = 1024  # rows: fewer than a batch has tokens, so that dense is smaller on the wire
_COMPRESSION = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}


def settled(gradients: Sequence[Gradient], variables: Sequence[tf.Variable], *, sparse_as_dense: bool) -> list[Gradient]:
    """Sparse gradients as dense ones where that is asked for, and where their table is small (token types)."""
    return [
        dense(one, table.shape[0])
        if isinstance(one, tf.IndexedSlices) and (sparse_as_dense or table.shape[0] <= _SMALL_TABLE)
        else one
        for one, table in zip(gradients, variables, strict=True)
    ]


def added(left: Gradient, right: Gradient) -> Gradient:
    """The sum of two gradients of one variable; of sparse ones the rows of both."""
    if not isinstance(left, tf.IndexedSlices):
        return left + right
    values, indices = (tf.concat(both, 0) for both in ((left.values, right.values), (left.indices, right.indices)))
    return tf.IndexedSlices(values, indices, left.dense_shape)


def averaged(gradients: Sequence[Gradient], compression: str) -> list[Gradient]:
    """The mean over all ranks, in the same tf.function as the gradients, so that Horovod overlaps and fuses the all-reduces."""
    if hvd.size() == 1:
        return list(gradients)
    method = _COMPRESSION[compression]
    reduced = []
    for number, one in enumerate(gradients):
        name = f"gradient.{number}"  # its own, so that ranks agree also where one has traced more functions
        if isinstance(one, tf.IndexedSlices):
            packed, context = method.compress(one.values)
            values = method.decompress(hvd.allgather(packed, name=f"{name}.values", ignore_name_scope=True), context)
            indices = hvd.allgather(one.indices, name=f"{name}.indices", ignore_name_scope=True)
            reduced.append(tf.IndexedSlices(values / hvd.size(), indices, one.dense_shape))
        else:
            reduced.append(hvd.allreduce(one, op=hvd.Average, compression=method, name=name, ignore_name_scope=True))
    return reduced


def summed(gradient: Gradient) -> Gradient:
    """A sparse gradient with every row once, those of one number added; a dense one as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    indices, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)


def multiplied(gradient: Gradient, factor: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


def norm(gradients: Sequence[Gradient]) -> tf.Tensor:
    """√ of the sum of all squares, float32 scalar; sparse gradients' rows must be distinct. Not finite when an element is not."""
    return tf.linalg.global_norm(gradients)


def dense(gradient: Gradient, rows: int | None = None) -> tf.Tensor:
    """A sparse gradient as the whole table of so many rows, zero in those it lacks; a dense one as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows = rows or gradient.shape[0] or gradient.dense_shape[0]  # the last when it came through another function
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, rows)
