"""Parts of tensors: slices, gathers, scatters, masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, axes_of, const, dtype_of, is_int, scalar_like
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import limited, list_of, rank, static_dims, transpose, unless
from byoc.frontends.relay.syntax import known_dtype
from byoc.segment import Array

__all__ = ["INDEXING"]

op = relax.op


def _ends(begin: list[int], end: list[Any], mode: str) -> list[Any]:
    if mode == "end":
        return end
    if mode != "size":
        raise ValueError(f"slice_mode {mode!r} is neither 'end' nor 'size'")
    return [None if e is None or e < 0 else b + e for b, e in zip(begin, end, strict=True)]


def strided_slice(
    c: RelayContext,
    data: Any,
    first: Any = None,
    last: Any = None,
    step: Any = None,
    *,
    begin: Any = None,
    end: Any = None,
    strides: Any = None,
    slice_mode: str = "end",
    axes: Any = None,
) -> Any:
    """strided_slice, dyn.strided_slice with constant bounds."""
    starts = list_of(begin if first is None else first, "begin")
    ends = list_of(unless(end, []) if last is None else last, "end")
    steps = list_of(unless(strides, [1]) if step is None else step, "strides")
    count = len(starts)
    over = axes_of(axes, rank(data)) if axes else list(range(count))
    if len(over) != count or count > rank(data) or len(steps) not in (1, count):
        raise ValueError(f"begin {starts} and strides {steps} for {len(over)} axes")
    ends = _ends(starts, ends + [None] * (count - len(ends)), slice_mode)
    steps = [1] * count if slice_mode == "size" else steps * (count if len(steps) == 1 else 1)
    if 0 in steps:
        raise ValueError("a stride of 0")
    limit = np.iinfo(np.int64)
    starts = [(0 if t > 0 else limit.max) if s is None else s
              for s, t in zip(starts, steps, strict=True)]  # fmt: skip
    ends = [(limit.max if t > 0 else limit.min) if e is None else e
            for e, t in zip(ends, steps, strict=True)]  # fmt: skip
    return op.strided_slice(data, over, starts, ends, steps)


def slice_like(c: RelayContext, data: Any, like: Any, *, axes: Any = None) -> Any:
    """slice_like."""
    over = axes_of(axes, rank(data)) if axes else list(range(min(rank(data), rank(like))))
    ends = [static_dims(like)[a] for a in over]
    return op.strided_slice(data, over, [0] * len(over), ends)


def take(c: RelayContext, data: Any, indices: Any, *, batch_dims: int = 0, axis: Any = None,
         mode: str = "clip") -> Any:  # fmt: skip
    """take."""
    if batch_dims:
        return _take_in_batches(c, data, indices, int(batch_dims), axis, mode)
    if mode not in ("clip", "wrap", "fast"):
        raise ValueError(f"mode {mode!r} is not one of clip, wrap, fast")
    if axis is None:
        data, axis = c.typed(op.reshape(data, [-1])), 0
    (axis,) = axes_of(axis, rank(data))
    length = data.ty.shape.values[axis]
    if mode == "wrap" and is_int(length):  # round and round, not only negative ones from the end
        size = const(int(length), dtype_of(indices))
        return op.take(data, c.typed(op.floor_mod(indices, size)), axis)
    return op.take(data, indices, axis, mode)


def _take_in_batches(
    c: RelayContext, data: Any, indices: Any, batch_dims: int, axis: Any, mode: str
) -> Any:
    """take, for each of the first `batch_dims` dimensions' elements on its own."""
    (at,) = axes_of(batch_dims if axis is None else axis, rank(data))
    if at != batch_dims or not 0 < batch_dims < min(rank(data), rank(indices) + 1):
        raise ValueError(f"batch_dims={batch_dims} is read with axis={batch_dims}, found {axis}")
    (length,) = static_dims(data)[at : at + 1]
    if mode == "wrap":
        indices = op.floor_mod(indices, scalar_like(length, indices))
    elif mode == "clip":
        low = c.typed(op.maximum(indices, scalar_like(0, indices)))
        indices = op.minimum(low, scalar_like(length - 1, low))
    last = c.typed(op.expand_dims(op.astype(c.typed(indices), "int64"), -1))
    return op.gather_nd(data, last, batch_dims)


def adv_index(c: RelayContext, data: Any) -> Any:
    """adv_index: one tensor of indices for each of the first dimensions, as numpy reads them."""
    data, *indices = data
    if not 0 < len(indices) <= rank(data):
        raise ValueError(f"{len(indices)} tensors of indices for {rank(data)} dimensions")
    shape = list(np.broadcast_shapes(*(tuple(static_dims(i)) for i in indices)))
    parts = [
        c.typed(op.expand_dims(op.broadcast_to(op.astype(i, "int64"), shape), -1)) for i in indices
    ]
    return op.gather_nd(data, c.typed(op.concat(parts, -1)), 0)


def gather(c: RelayContext, data: Any, indices: Any, *, axis: int) -> Any:
    """gather."""
    (axis,) = axes_of(axis, rank(data))
    return op.gather_elements(data, indices, axis)


def _index_last(indices: Any) -> Any:
    """Relay keeps an index's parts in the first dimension, Relax in the last."""
    return transpose(indices, [*range(1, rank(indices)), 0])


def gather_nd(c: RelayContext, data: Any, indices: Any, *, batch_dims: int = 0,
              index_rank: Any = None) -> Any:  # fmt: skip
    """gather_nd."""
    last = c.typed(_index_last(indices))
    if dtype_of(last) != "int64":
        last = c.typed(op.astype(last, "int64"))
    return op.gather_nd(data, last, int(batch_dims))


def scatter_nd(
    c: RelayContext, data: Any, indices: Any, updates: Any, *, mode: str = "update"
) -> Any:
    """scatter_nd."""
    return op.scatter_nd(data, c.typed(_index_last(indices)), updates, str(mode))


def scatter_elements(c: RelayContext, data: Any, indices: Any, updates: Any, *, axis: int = 0,
                     reduction: str = "update") -> Any:  # fmt: skip
    """scatter_elements, scatter."""
    (axis,) = axes_of(axis, rank(data))
    return op.scatter_elements(data, indices, updates, axis, str(reduction))


def scatter_add(c: RelayContext, data: Any, indices: Any, updates: Any, *, axis: int = 0) -> Any:
    """scatter_add."""
    return scatter_elements(c, data, indices, updates, axis=axis, reduction="add")


def reverse(c: RelayContext, data: Any, *, axis: int) -> Any:
    """reverse."""
    (axis,) = axes_of(axis, rank(data))
    return op.flip(data, axis)


def reverse_sequence(c: RelayContext, data: Any, lengths: Any, *, seq_axis: int = 1,
                     batch_axis: int = 0) -> Any:  # fmt: skip
    """reverse_sequence."""
    axes_of([seq_axis, batch_axis], rank(data))
    return op.reverse_sequence(data, lengths, int(seq_axis), int(batch_axis))


def one_hot(
    c: RelayContext,
    indices: Any,
    on: Any,
    off: Any,
    count: Any = None,
    *,
    depth: int = 1,
    axis: int = -1,
    dtype: Any = None,
) -> Any:
    """one_hot, dyn.one_hot with a constant depth: a comparison with 0, 1, ..."""
    length = list_of(depth if count is None else count, "depth")[0]
    (axis,) = axes_of(axis, rank(indices) + 1)
    shape = [1] * (rank(indices) + 1)
    shape[axis] = length
    limited(shape)
    steps = const(np.arange(length).reshape(shape), dtype_of(indices))
    hit = op.equal(c.typed(op.expand_dims(indices, axis)), steps)
    chosen = c.typed(op.where(hit, on, off))
    to = known_dtype(dtype) or dtype_of(on)
    return chosen if dtype_of(chosen) == to else op.astype(chosen, to)


def sequence_mask(c: RelayContext, data: Any, lengths: Any, *, mask_value: float = 0.0,
                  axis: int = 0) -> Any:  # fmt: skip
    """sequence_mask: what lies behind each sequence's length becomes mask_value."""
    if axis not in (0, 1):
        raise ValueError(f"axis {axis} is neither 0 nor 1")
    count = rank(data)
    steps = [1] * count
    steps[axis] = static_dims(data)[axis]
    ends = [1] * count
    ends[1 - axis] = -1
    at = const(np.arange(steps[axis]).reshape(steps), dtype_of(lengths))
    inside = op.less(at, c.typed(op.reshape(lengths, ends)))
    return op.where(inside, data, scalar_like(mask_value, data))


def unravel_index(c: RelayContext, indices: Any, shape: Any) -> Any:
    """unravel_index of constants."""
    flat: Array = array_of(indices, "indices")
    sizes = list_of(shape, "shape")
    return const(np.array(np.unravel_index(flat, sizes)), dtype_of(indices))


INDEXING: Mapping[str, Converter] = {
    "adv_index": adv_index,
    "dyn.one_hot": one_hot,
    "dyn.strided_slice": strided_slice,
    "gather": gather,
    "gather_nd": gather_nd,
    "one_hot": one_hot,
    "reverse": reverse,
    "reverse_sequence": reverse_sequence,
    "scatter": scatter_elements,
    "scatter_add": scatter_add,
    "scatter_elements": scatter_elements,
    "scatter_nd": scatter_nd,
    "sequence_mask": sequence_mask,
    "slice_like": slice_like,
    "strided_slice": strided_slice,
    "take": take,
    "unravel_index": unravel_index,
}
"""Operator → converter."""
