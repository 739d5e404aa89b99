"""Operators that give the same values another shape, take parts, and put tensors together."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax, tirx

from byoc.frontends.torch.context import Context
from byoc.frontends.torch.registry import op

__all__ = ["sliced"]

R = relax.op

# -- the same values under another shape: torch says which


@op("view.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints",
    "unflatten.int", "view_copy.default", "view_as.default", "reshape_as.default")  # fmt: skip
def view(
    c: Context, /, self: Any, size: Any = None, shape: Any = None, start_dim: Any = None,
    end_dim: Any = None, dim: Any = None, sizes: Any = None, other: Any = None,
) -> Any:  # fmt: skip
    return R.reshape(self, c.shape)


@op("unsqueeze.default", "unsqueeze_copy.default")
def unsqueeze(c: Context, /, self: Any, dim: int) -> Any:
    return R.expand_dims(self, dim % (self.ty.ndim + 1))


@op("squeeze.default", "squeeze.dim", "squeeze.dims", "squeeze_copy.dim", "squeeze_copy.dims",
    "squeeze_copy.default")  # fmt: skip
def squeeze(c: Context, /, self: Any, dim: Any = None) -> Any:
    dims = c.dims(self)
    asked = range(len(dims)) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [a % max(len(dims), 1) for a in asked if dims and dims[a] == 1]
    return R.squeeze(self, axes) if axes else self


@op("alias.default", "clone.default", "contiguous.default", "detach.default", "lift_fresh.default",
    "lift_fresh_copy.default", "lift.default", "positive.default", "alias_copy.default",
    "detach_copy.default")  # fmt: skip
def same(c: Context, /, self: Any) -> Any:
    return self


@op("_to_copy.default", "to.dtype", "to.dtype_layout", "to.device", "to.other", "type_as.default")
def to_copy(
    c: Context, /, self: Any, dtype: Any = None, copy: Any = None, other: Any = None
) -> Any:
    return c.cast(self, c.dtype)


@op("copy.default")
def copy(c: Context, /, self: Any, src: Any) -> Any:
    return R.broadcast_to(c.cast(src, c.dtype), c.shape)


@op("permute.default", "permute_copy.default")
def permute(c: Context, /, self: Any, dims: Any) -> Any:
    return R.permute_dims(self, [d % self.ty.ndim for d in dims]) if self.ty.ndim else self


@op("transpose.int", "transpose_copy.int", "swapaxes.default")
def transpose(c: Context, /, self: Any, dim0: int, dim1: int) -> Any:
    if not self.ty.ndim:
        return self
    axes = list(range(self.ty.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return R.permute_dims(self, axes)


@op("t.default", "t_copy.default", "numpy_T.default")
def t(c: Context, /, self: Any) -> Any:
    return R.permute_dims(self) if self.ty.ndim > 1 else self


@op("expand.default", "expand_copy.default", "expand_as.default", "broadcast_to.default")
def expand(
    c: Context, /, self: Any, size: Any = None, implicit: bool = False, other: Any = None
) -> Any:
    return R.broadcast_to(self, c.shape)


@op("repeat.default", "tile.default")
def repeat(c: Context, /, self: Any, repeats: Any = None, dims: Any = None) -> Any:
    counts = [c.static(r, "a number of repeats") for r in (repeats if dims is None else dims)]
    return R.tile(self, counts) if counts else self


@op("repeat_interleave.self_int")
def repeat_interleave(
    c: Context, /, self: Any, repeats: Any, dim: Any = None, output_size: Any = None
) -> Any:
    return R.repeat(self, c.static(repeats, "a number of repeats"), dim)


@op("pixel_shuffle.default")
def pixel_shuffle(c: Context, /, self: Any, upscale_factor: int) -> Any:
    r, shape = upscale_factor, c.shape
    lead, (high, wide) = shape[:-2], c.dims(self)[-2:]
    split = c.emit(R.reshape(self, [*lead, r, r, high, wide]))
    n = len(lead)
    axes = [*range(n), n + 2, n, n + 3, n + 1]
    return R.reshape(c.emit(R.permute_dims(split, axes)), shape)


@op("pixel_unshuffle.default")
def pixel_unshuffle(c: Context, /, self: Any, downscale_factor: int) -> Any:
    r, shape = downscale_factor, c.shape
    lead = c.dims(self)[:-2]
    split = c.emit(R.reshape(self, [*lead, shape[-2], r, shape[-1], r]))
    n = len(lead)
    axes = [*range(n), n + 1, n + 3, n, n + 2]
    return R.reshape(c.emit(R.permute_dims(split, axes)), shape)


# -- parts


def sliced(c: Context, x: Any, axis: int, begin: Any, end: Any, step: int = 1) -> Any:
    """From begin up to end along an axis."""
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


@op("slice.Tensor", "slice_copy.Tensor")
def slice_(c: Context, /, self: Any, dim: int, start: Any, end: Any, step: int) -> Any:
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


@op("narrow.default")
def narrow(c: Context, /, self: Any, dim: int, start: Any, length: Any) -> Any:
    axis = dim % self.ty.ndim
    begin = start + c.dims(self)[axis] if isinstance(start, int) and start < 0 else start
    return sliced(c, self, axis, begin, begin + length)


@op("select.int", "select_copy.int")
def select(c: Context, /, self: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    return R.squeeze(c.emit(sliced(c, self, axis, begin, begin + 1)), [axis])


@op("unbind.int")
def unbind(c: Context, /, self: Any, dim: int) -> Any:
    axis = dim % self.ty.ndim
    count = c.static(c.dims(self)[axis], "the number of parts")
    parts = (c.emit(sliced(c, self, axis, i, i + 1)) for i in range(count))
    return tuple(R.squeeze(part, [axis]) for part in parts)


@op("split.Tensor", "split_with_sizes.default", "chunk.default", "tensor_split.sections",
    "split_copy.Tensor", "split_with_sizes_copy.default")  # fmt: skip
def split(
    c: Context, /, self: Any, dim: int, split_size: Any = None, split_sizes: Any = None,
    chunks: Any = None, sections: Any = None,
) -> Any:  # fmt: skip
    axis = dim % self.ty.ndim
    parts, begin = [], 0
    for part in c.meta:
        end = begin + c.symbols.size(part.shape[axis])
        parts.append(sliced(c, self, axis, begin, end))
        begin = end
    return tuple(parts) if len(parts) > 1 else (self,)


@op("flip.default")
def flip(c: Context, /, self: Any, dims: Any) -> Any:
    return reduce(lambda x, axis: c.emit(R.flip(x, axis % self.ty.ndim)), dims, self)


@op("roll.default")
def roll(c: Context, /, self: Any, shifts: Any, dims: Any) -> Any:
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


@op("as_strided.default", "as_strided_copy.default")
def as_strided(c: Context, /, self: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
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


@op("unfold.default")
def unfold(c: Context, /, self: Any, dimension: int, size: int, step: int) -> Any:
    axis = dimension % self.ty.ndim
    count = c.static(c.shape[axis], "the number of windows")
    windows = np.arange(count)[:, None] * step + np.arange(size)
    taken = c.emit(R.take(self, c.const(windows, "int64"), axis, mode="wrap"))
    order = [*range(axis + 1), *range(axis + 2, self.ty.ndim + 1), axis + 1]
    return R.permute_dims(taken, order)


@op("diagonal.default", "diagonal_copy.default")
def diagonal(c: Context, /, self: Any, offset: int, dim1: int, dim2: int) -> Any:
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


# -- together


@op("cat.default", "concat.default")
def cat(c: Context, /, tensors: Any, dim: int) -> Any:
    kept = [t for t in tensors if not (t.ty.ndim == 1 and c.dims(t) == [0])] or tensors[:1]
    cast = [c.cast(t, c.dtype) for t in kept]
    return cast[0] if len(cast) == 1 else R.concat(cast, dim % cast[0].ty.ndim)


@op("stack.default")
def stack(c: Context, /, tensors: Any, dim: int) -> Any:
    axis = dim % (tensors[0].ty.ndim + 1)
    parts = [c.emit(R.expand_dims(c.cast(t, c.dtype), axis)) for t in tensors]
    return parts[0] if len(parts) == 1 else R.concat(parts, axis)


@op("constant_pad_nd.default")
def constant_pad(c: Context, /, self: Any, pad: Any, value: Any) -> Any:
    pads = [c.static(p, "padding") for p in pad]
    x, rank = self, self.ty.ndim
    widths = [0] * (2 * rank)
    for i in range(len(pads) // 2):
        axis = rank - 1 - i
        before, after = pads[2 * i : 2 * i + 2]
        if before < 0 or after < 0:
            size = c.dims(x)[axis]
            x = c.emit(sliced(c, x, axis, max(0, -before), size - max(0, -after)))
        widths[2 * axis : 2 * axis + 2] = [max(0, before), max(0, after)]
    if not any(widths):
        return x
    if c.dtype == "bool":
        padded = c.emit(R.nn.pad(c.emit(R.astype(x, "int8")), widths, pad_value=int(bool(value))))
        return R.not_equal(padded, c.const(0, "int8"))
    return R.nn.pad(x, widths, pad_value=float(value))


@op("slice_scatter.default")
def slice_scatter(
    c: Context, /, self: Any, src: Any, dim: int, start: Any, end: Any, step: int
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


@op("select_scatter.default")
def select_scatter(c: Context, /, self: Any, src: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    whole = c.emit(R.expand_dims(src, axis))
    return slice_scatter(c, self, whole, axis, begin, begin + 1, 1)
