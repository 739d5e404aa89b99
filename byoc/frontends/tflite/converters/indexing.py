"""Lookups and writes by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.tflite.call import Call, Converter, InexpressibleError, const
from byoc.frontends.tflite.converters.moves import scalar

__all__ = ["CONVERTERS"]

op = relax.op
_MOST = 1 << 20
"""Classes of one ONE_HOT."""


def gather(x: Call) -> Any:
    """GATHER: a lookup along an axis."""
    o, rank = x.options("GatherOptions"), len(x.shape(0))
    if o is not None and o.BatchDims():
        raise InexpressibleError(f"batch_dims {o.BatchDims()}")
    axis = x.axis(int(o.Axis()) if o is not None else 0, rank)
    return op.take(x.real(0), x.raw(1), axis, mode="wrap")


def embedding_lookup(x: Call) -> Any:
    """EMBEDDING_LOOKUP: (rows, table)."""
    return op.take(x.real(1), x.raw(0), 0, mode="wrap")


def gather_nd(x: Call) -> Any:
    """GATHER_ND."""
    return op.gather_nd(x.real(0), op.astype(x.raw(1), "int64"))


def one_hot(x: Call) -> Any:
    """ONE_HOT: (indices, depth, on, off)."""
    o, count = x.options("OneHotOptions"), len(x.shape(0))
    depth = int(scalar(x, 1))
    if not 0 < depth <= _MOST:
        raise InexpressibleError(f"{depth} classes")
    axis = x.axis(int(o.Axis()) if o is not None else -1, count + 1)
    steps = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(count + 1)])
    index = x.emit(op.expand_dims(op.astype(x.raw(0), "int64"), [axis]))
    return op.where(op.equal(index, const(steps, np.int64)), x.raw(2), x.raw(3))


def topk(x: Call) -> Any:
    """TOPK_V2: values and positions, the greatest first."""
    depth = int(scalar(x, 1))
    if not 1 <= depth <= x.shape(0)[-1]:
        raise InexpressibleError(f"the {depth} greatest of {x.shape(0)[-1]}")
    both = x.emit(op.topk(x.real(0), depth, -1, "both", True, x.out(1).dtype))
    return [relax.TupleGetItem(both, i) for i in range(2)]


def scatter_nd(x: Call) -> Any:
    """SCATTER_ND: (indices, updates, shape); updates of one place add up."""
    zeros = np.zeros([max(d, 0) for d in x.out().shape], x.out().dtype)
    if list(zeros.shape) != x.ints(2):
        raise InexpressibleError(f"it makes {x.ints(2)}, the file declares {zeros.shape}")
    return op.scatter_nd(const(zeros), op.astype(x.raw(0), "int64"), x.real(1), "add")


def _eye(size: int) -> Any:
    return const(np.eye(size, dtype=bool))


def matrix_diag(x: Call) -> Any:
    """MATRIX_DIAG: vectors as the diagonals of matrices."""
    data = x.real(0)
    zero = const(0, str(x.emit(data).ty.dtype))
    return op.where(_eye(x.shape(0)[-1]), op.expand_dims(data, [-1]), zero)


def matrix_set_diag(x: Call) -> Any:
    """MATRIX_SET_DIAG of square matrices."""
    rows, columns = x.shape(0)[-2:]
    if rows != columns:
        raise InexpressibleError(f"a diagonal of {rows} x {columns}")
    return op.where(_eye(rows), op.expand_dims(x.real(1), [-1]), x.real(0))


CONVERTERS: Mapping[str, Converter] = {
    "EMBEDDING_LOOKUP": embedding_lookup,
    "GATHER": gather,
    "GATHER_ND": gather_nd,
    "MATRIX_DIAG": matrix_diag,
    "MATRIX_SET_DIAG": matrix_set_diag,
    "ONE_HOT": one_hot,
    "SCATTER_ND": scatter_nd,
    "TOPK_V2": topk,
}
