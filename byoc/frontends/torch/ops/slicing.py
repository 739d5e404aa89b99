"""Parts of tensors, and tensors with a part replaced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax, tirx

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["SLICING", "sliced"]

R = relax.op


def sliced(c: TorchContext, x: Any, axis: int, begin: Any, end: Any, step: int = 1) -> Any:
    """Take every `step`-th element from begin up to end along an axis.

    Args:
        c: The operator.
        x: The tensor.
        axis: The axis.
        begin: First position, included.
        end: Last position, not included.
        step: Distance of the elements taken.
    """
    return R.strided_slice(x, [axis], [begin], [end], [step])


def _bound(value: Any, size: Any) -> Any:
    """A bound of a slice as Python clamps it."""
    if isinstance(value, int) and isinstance(size, int):
        return min(max(value + size if value < 0 else value, 0), size)
    if isinstance(value, int) and value < 0:
        return tirx.max(value + size, 0)
    if isinstance(value, int) and value == 0:
        return 0
    return tirx.min(value, size)


def slice_(c: TorchContext, /, self: Any, dim: int, start: Any, end: Any, step: int) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = 0 if start is None else _bound(start, size)
    whole = end is None or (isinstance(end, int) and end >= 2**62)
    stop = size if whole else _bound(end, size)
    if isinstance(begin, int) and begin == 0 and stop is size and step == 1:
        return self
    if isinstance(begin, int) and isinstance(stop, int):
        stop = max(begin, stop)
    return sliced(c, self, axis, begin, stop, step)


def narrow(c: TorchContext, /, self: Any, dim: int, start: Any, length: Any) -> Any:
    axis = dim % self.ty.ndim
    begin = start + c.dims(self)[axis] if isinstance(start, int) and start < 0 else start
    return sliced(c, self, axis, begin, begin + length)


def select(c: TorchContext, /, self: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    return R.squeeze(c.emit(sliced(c, self, axis, begin, begin + 1)), [axis])


def unbind(c: TorchContext, /, self: Any, dim: int) -> Any:
    axis = dim % self.ty.ndim
    count = c.static(c.dims(self)[axis], "the number of parts")
    parts = (c.emit(sliced(c, self, axis, i, i + 1)) for i in range(count))
    return tuple(R.squeeze(part, [axis]) for part in parts)


def split(
    c: TorchContext, /, self: Any, dim: int, split_size: Any = None, split_sizes: Any = None,
    chunks: Any = None, sections: Any = None,
) -> Any:  # fmt: skip
    axis = dim % self.ty.ndim
    parts, begin = [], 0
    for part in c.meta:
        end = begin + c.sizes.size(part.shape[axis])
        parts.append(sliced(c, self, axis, begin, end))
        begin = end
    return tuple(parts) if len(parts) > 1 else (self,)


def flip(c: TorchContext, /, self: Any, dims: Any) -> Any:
    return reduce(lambda x, axis: c.emit(R.flip(x, axis % self.ty.ndim)), dims, self)


def roll(c: TorchContext, /, self: Any, shifts: Any, dims: Any) -> Any:
    if not dims:
        flat = c.emit(R.reshape(self, [math.prod(c.dims(self))]))
        return R.reshape(c.emit(roll(c, flat, shifts, [0])), c.shape)
    x = self
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % self.ty.ndim
        size = c.dims(x)[axis]
        if isinstance(size, int) and (size == 0 or shift % size == 0):
            continue
        cut = size - (shift % size if isinstance(size, int) else shift)
        parts = [sliced(c, x, axis, cut, size), sliced(c, x, axis, 0, cut)]
        x = c.emit(R.concat([c.emit(p) for p in parts], axis))
    return x


def as_strided(
    c: TorchContext, /, self: Any, size: Any, stride: Any, storage_offset: Any = None
) -> Any:
    """Any view of dense memory, as a lookup in it."""
    fake = c.node.args[0].meta["val"]
    if not fake.is_contiguous():
        raise ValueError("a view by strides of memory that is not dense")
    sizes = [c.static(s, "the size of a view by strides") for s in c.shape]
    places = np.full((), int(storage_offset or 0), np.int64)
    for length, step in zip(sizes, stride, strict=True):
        places = places[..., None] + np.arange(length) * c.static(step, "a stride")
    flat = c.emit(R.reshape(self, [math.prod(c.dims(self))]))
    return R.take(flat, c.const(places, "int64"), 0, mode="wrap")


def unfold(c: TorchContext, /, self: Any, dimension: int, size: int, step: int) -> Any:
    axis = dimension % self.ty.ndim
    count = c.static(c.shape[axis], "the number of windows")
    windows = np.arange(count)[:, None] * step + np.arange(size)
    taken = c.emit(R.take(self, c.const(windows, "int64"), axis, mode="wrap"))
    order = [*range(axis + 1), *range(axis + 2, self.ty.ndim + 1), axis + 1]
    return R.permute_dims(taken, order)


def diagonal(c: TorchContext, /, self: Any, offset: int, dim1: int, dim2: int) -> Any:
    rank = self.ty.ndim
    a, b = dim1 % rank, dim2 % rank
    rest = [i for i in range(rank) if i not in (a, b)]
    count = c.static(c.shape[-1], "the length of a diagonal")
    dims = c.dims(self)
    wide = c.static(dims[b], "the size of a matrix with a diagonal")
    flat = c.emit(R.permute_dims(self, [*rest, a, b]))
    flat = c.emit(R.reshape(flat, [*(dims[i] for i in rest), dims[a] * wide]))
    first = max(0, -offset) * wide + max(0, offset)
    places = first + np.arange(count) * (wide + 1)
    return R.take(flat, c.const(places, "int64"), len(rest), mode="wrap")


def slice_scatter(
    c: TorchContext, /, self: Any, src: Any, dim: int, start: Any, end: Any, step: int
) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = 0 if start is None else _bound(start, size)
    stop = size if end is None or (isinstance(end, int) and end >= 2**62) else _bound(end, size)
    if step != 1:
        raise ValueError("writing to every n-th place of a tensor is not imported")
    parts = [c.cast(src, c.dtype)]
    if not (isinstance(begin, int) and begin == 0):
        parts.insert(0, c.emit(sliced(c, self, axis, 0, begin)))
    if stop is not size and not (isinstance(stop, int) and stop == size):
        parts.append(c.emit(sliced(c, self, axis, stop, size)))
    return parts[0] if len(parts) == 1 else R.concat(parts, axis)


def select_scatter(c: TorchContext, /, self: Any, src: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    whole = c.emit(R.expand_dims(src, axis))
    return slice_scatter(c, self, whole, axis, begin, begin + 1, 1)


SLICING: Mapping[str, Converter] = {
    "as_strided.default": as_strided,
    "as_strided_copy.default": as_strided,
    "chunk.default": split,
    "diagonal.default": diagonal,
    "diagonal_copy.default": diagonal,
    "flip.default": flip,
    "narrow.default": narrow,
    "roll.default": roll,
    "select.int": select,
    "select_copy.int": select,
    "select_scatter.default": select_scatter,
    "slice.Tensor": slice_,
    "slice_copy.Tensor": slice_,
    "slice_scatter.default": slice_scatter,
    "split.Tensor": split,
    "split_copy.Tensor": split,
    "split_with_sizes.default": split,
    "split_with_sizes_copy.default": split,
    "tensor_split.sections": split,
    "unbind.int": unbind,
    "unfold.default": unfold,
}
"""ATen operator, as "name.overload" → converter."""
