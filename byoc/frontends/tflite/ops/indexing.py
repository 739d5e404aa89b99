"""Lookups and writes by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.ops.data_movement import scalar

__all__ = ["INDEXING"]

op = relax.op
_MOST = 1 << 20
"""Classes of one ONE_HOT."""


def gather(c: TfliteContext) -> Any:
    """GATHER: a lookup along an axis."""
    o, rank = c.options("GatherOptions"), len(c.shape(0))
    if o is not None and o.BatchDims():
        raise InexpressibleError(f"batch_dims {o.BatchDims()}")
    axis = c.axis(int(o.Axis()) if o is not None else 0, rank)
    return op.take(c.real(0), c.raw(1), axis)


def embedding_lookup(c: TfliteContext) -> Any:
    """EMBEDDING_LOOKUP: (rows, table)."""
    return op.take(c.real(1), c.raw(0), 0)


def gather_nd(c: TfliteContext) -> Any:
    """GATHER_ND."""
    return op.gather_nd(c.real(0), op.astype(c.raw(1), "int64"))


def one_hot(c: TfliteContext) -> Any:
    """ONE_HOT: (indices, depth, on, off)."""
    o, count = c.options("OneHotOptions"), len(c.shape(0))
    depth = int(scalar(c, 1))
    if not 0 < depth <= _MOST:
        raise InexpressibleError(f"{depth} classes")
    axis = c.axis(int(o.Axis()) if o is not None else -1, count + 1)
    steps = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(count + 1)])
    index = c.emit(op.expand_dims(op.astype(c.raw(0), "int64"), [axis]))
    return op.where(op.equal(index, const(steps, np.int64)), c.raw(2), c.raw(3))


def topk(c: TfliteContext) -> Any:
    """TOPK_V2: values and positions, the greatest first."""
    depth = int(scalar(c, 1))
    if not 1 <= depth <= c.shape(0)[-1]:
        raise InexpressibleError(f"the {depth} greatest of {c.shape(0)[-1]}")
    both = c.emit(op.topk(c.real(0), depth, -1, "both", True, c.out(1).dtype))
    return [relax.TupleGetItem(both, i) for i in range(2)]


def scatter_nd(c: TfliteContext) -> Any:
    """SCATTER_ND: (indices, updates, shape); updates of one place add up."""
    zeros = np.zeros([max(d, 0) for d in c.out().shape], c.out().dtype)
    if list(zeros.shape) != c.ints(2):
        raise InexpressibleError(f"it makes {c.ints(2)}, the file declares {zeros.shape}")
    return op.scatter_nd(const(zeros), op.astype(c.raw(0), "int64"), c.real(1), "add")


def _eye(size: int) -> Any:
    return const(np.eye(size, dtype=bool))


def matrix_diag(c: TfliteContext) -> Any:
    """MATRIX_DIAG: vectors as the diagonals of matrices."""
    data = c.real(0)
    zero = const(0, str(c.emit(data).ty.dtype))
    return op.where(_eye(c.shape(0)[-1]), op.expand_dims(data, [-1]), zero)


def matrix_set_diag(c: TfliteContext) -> Any:
    """MATRIX_SET_DIAG of square matrices."""
    rows, columns = c.shape(0)[-2:]
    if rows != columns:
        raise InexpressibleError(f"a diagonal of {rows} x {columns}")
    return op.where(_eye(rows), op.expand_dims(c.real(1), [-1]), c.real(0))


INDEXING: Mapping[str, Converter] = {
    "EMBEDDING_LOOKUP": embedding_lookup,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "MATRIX_DIAG": matrix_diag,
    "MATRIX_SET_DIAG": matrix_set_diag,
    "ONE_HOT": one_hot,
    "SCATTER_ND": scatter_nd,
    "TOPK_V2": topk,
}
