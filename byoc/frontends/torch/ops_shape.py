"""Operators that move, choose, make and reduce values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from byoc.frontends.torch.context import Context
from byoc.frontends.torch.registry import TABLE, op

__all__: list[str] = []

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


def _part(c: Context, x: Any, axis: int, begin: Any, end: Any, step: int = 1) -> Any:
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
    return _part(c, self, axis, begin, stop, step)


@op("narrow.default")
def narrow(c: Context, /, self: Any, dim: int, start: Any, length: Any) -> Any:
    axis = dim % self.ty.ndim
    begin = start + c.dims(self)[axis] if isinstance(start, int) and start < 0 else start
    return _part(c, self, axis, begin, begin + length)


@op("select.int", "select_copy.int")
def select(c: Context, /, self: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    return R.squeeze(c.emit(_part(c, self, axis, begin, begin + 1)), [axis])


@op("unbind.int")
def unbind(c: Context, /, self: Any, dim: int) -> Any:
    axis = dim % self.ty.ndim
    count = c.static(c.dims(self)[axis], "the number of parts")
    parts = (c.emit(_part(c, self, axis, i, i + 1)) for i in range(count))
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
        parts.append(_part(c, self, axis, begin, end))
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
        parts = [_part(c, x, axis, cut, size), _part(c, x, axis, 0, cut)]
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
            x = c.emit(_part(c, x, axis, max(0, -before), size - max(0, -after)))
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
        parts.insert(0, c.emit(_part(c, self, axis, 0, begin)))
    if stop is not size and not (isinstance(stop, int) and stop == size):
        parts.append(c.emit(_part(c, self, axis, stop, size)))
    return parts[0] if len(parts) == 1 else R.concat(parts, axis)


@op("select_scatter.default")
def select_scatter(c: Context, /, self: Any, src: Any, dim: int, index: Any) -> Any:
    axis = dim % self.ty.ndim
    size = c.dims(self)[axis]
    begin = index + size if isinstance(index, int) and index < 0 else index
    whole = c.emit(R.expand_dims(src, axis))
    return slice_scatter(c, self, whole, axis, begin, begin + 1, 1)


# -- by index


def _from_front(c: Context, index: Any, size: Any) -> Any:
    """Indices counted from the end, as int64 from the front."""
    index = c.cast(index, "int64")
    below = c.emit(R.less(index, c.const(0, "int64")))
    return c.emit(R.where(below, c.emit(R.add(index, c.cast(size, "int64"))), index))


@op("embedding.default")
def embedding(
    c: Context, /, weight: Any, indices: Any, padding_idx: Any, scale_grad_by_freq: bool,
    sparse: bool,
) -> Any:  # fmt: skip
    return R.take(weight, indices, 0, mode="wrap")


@op("index_select.default")
def index_select(c: Context, /, self: Any, dim: int, index: Any) -> Any:
    return R.take(self, index, dim % self.ty.ndim, mode="wrap")


@op("index.Tensor", "_unsafe_index.Tensor")
def index(c: Context, /, self: Any, indices: Any) -> Any:
    """Index tensors together, broadcast: one lookup in the indexed axes taken as one.

    Where they are not neighbours, what they choose comes first (as in numpy).
    """
    used = [i for i, part in enumerate(indices) if part is not None]
    if any(str(indices[i].ty.dtype) == "bool" for i in used):
        raise ValueError("the shape of what a mask chooses depends on its values")
    dims, rank = c.dims(self), self.ty.ndim
    if len(used) == 1:
        return R.take(self, indices[used[0]], used[0], mode="wrap")
    x, axis = self, used[0]
    if used != list(range(used[0], used[-1] + 1)):
        order = used + [i for i in range(rank) if i not in used]
        x, axis = c.emit(R.permute_dims(self, order)), 0
        dims = [dims[i] for i in order]
    count = len(used)
    merged = dims[axis : axis + count]
    flat: Any = None
    for size, i in zip(merged, used, strict=True):
        place = _from_front(c, indices[i], size)
        if flat is not None:
            flat = c.emit(R.multiply(flat, c.cast(size, "int64")))
            place = c.emit(R.add(flat, place))
        flat = place
    whole = reduce(lambda a, b: a * b, merged)
    x = c.emit(R.reshape(x, [*dims[:axis], whole, *dims[axis + count :]]))
    return R.take(x, flat, axis, mode="wrap")


@op("index_put.default", "_unsafe_index_put.default")
def index_put(c: Context, /, self: Any, indices: Any, values: Any, accumulate: bool) -> Any:
    first = indices[0]
    if first is not None and str(first.ty.dtype) == "bool":
        single = all(d == 1 for d in c.dims(values))
        if len(indices) > 1 or not single or accumulate:
            raise ValueError("writing several values where a mask is true is not imported")
        extra = self.ty.ndim - first.ty.ndim
        mask = c.emit(R.reshape(first, [*c.dims(first), *[1] * extra])) if extra else first
        return R.where(mask, c.emit(R.reshape(c.cast(values, c.dtype), [])), self)
    if any(i is None for i in indices):
        raise ValueError("writing by indices to inner axes only is not imported")
    dims = c.dims(self)
    places = [_from_front(c, i, d) for i, d in zip(indices, dims, strict=False)]
    shape = _broadcast(c, places)
    places = [c.emit(R.broadcast_to(p, shape)) for p in places]
    update = c.emit(R.broadcast_to(c.cast(values, c.dtype), [*shape, *dims[len(places) :]]))
    columns = [c.emit(R.expand_dims(p, -1)) for p in places]
    where = columns[0] if len(columns) == 1 else c.emit(R.concat(columns, -1))
    return R.scatter_nd(self, where, update, "add" if accumulate else "update")


def _broadcast(c: Context, tensors: Sequence[Any]) -> list[Any]:
    shape = [c.dims(t) for t in tensors]
    if not all(isinstance(d, int) for s in shape for d in s):
        if all(len(s) == len(shape[0]) for s in shape) and len(shape) == 1:
            return shape[0]
        raise ValueError("indices of symbolic shape are not broadcast")
    return list(np.broadcast_shapes(*map(tuple, shape)))


@op("gather.default")
def gather(c: Context, /, self: Any, dim: int, index: Any, sparse_grad: bool) -> Any:
    if not self.ty.ndim:
        return self
    return R.gather_elements(self, c.cast(index, "int64"), dim % self.ty.ndim)


def _scatter(c: Context, x: Any, dim: int, index: Any, src: Any, mode: str) -> Any:
    if not x.ty.ndim:
        raise ValueError("scattering to a scalar is not imported")
    sizes = c.dims(index)
    for axis, size in enumerate(sizes):  # only the part of `src` that has indices is read
        if c.dims(src)[axis] is not size and not _equal(c.dims(src)[axis], size):
            src = c.emit(_part(c, src, axis, 0, size))
    return R.scatter_elements(x, c.cast(index, "int64"), src, dim % x.ty.ndim, mode)


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, int) and isinstance(b, int) else False


@op("scatter.src", "scatter_add.default")
def scatter(c: Context, /, self: Any, dim: int, index: Any, src: Any) -> Any:
    mode = "add" if "add" in c.node.target.__name__ else "update"
    return _scatter(c, self, dim, index, src, mode)


@op("scatter.value")
def scatter_value(c: Context, /, self: Any, dim: int, index: Any, value: Any) -> Any:
    src = c.emit(R.full(c.dims(index), c.cast(value, c.dtype), c.dtype))
    return _scatter(c, self, dim, index, src, "update")


# -- makers


def _full(c: Context, value: Any) -> Any:
    shape, known = c.shape, isinstance(value, (bool, int, float))
    if known and all(isinstance(d, int) for d in shape) and math.prod(shape) <= 1 << 16:
        return c.const(np.full(shape, value), c.dtype)
    return R.full(c.shape, c.cast(value, c.dtype), c.dtype)


@op("full.default", "full_like.default", "new_full.default", "fill.Scalar", "fill.Tensor")
def full(
    c: Context, /, self: Any = None, size: Any = None, fill_value: Any = None, value: Any = None,
    dtype: Any = None, requires_grad: Any = None,
) -> Any:  # fmt: skip
    wanted = fill_value if value is None else value
    if isinstance(wanted, relax.Expr) and not tvm.ir.is_prim_expr(wanted):
        return R.broadcast_to(c.cast(wanted, c.dtype), c.shape)
    return _full(c, wanted)


def _filled(number: int) -> Any:
    def convert(
        c: Context, /, self: Any = None, size: Any = None, dtype: Any = None,
        requires_grad: Any = None, physical_layout: Any = None, stride: Any = None,
    ) -> Any:  # fmt: skip
        return _full(c, number)

    return convert


for _name, _number in {
    "zeros": 0, "ones": 1, "zeros_like": 0, "ones_like": 1, "new_zeros": 0, "new_ones": 1,
    "zero": 0, "empty": 0, "empty_like": 0, "new_empty": 0, "empty_permuted": 0,
    "empty_strided": 0, "new_empty_strided": 0,
}.items():  # fmt: skip
    for _overload in ("default", "memory_format"):
        TABLE[f"{_name}.{_overload}"] = _filled(_number)


@op("scalar_tensor.default")
def scalar_tensor(c: Context, /, s: Any, dtype: Any) -> Any:
    return c.cast(s, c.dtype)


@op("arange.default", "arange.start", "arange.start_step")
def arange(c: Context, /, end: Any, start: Any = 0, step: Any = 1, dtype: Any = None) -> Any:
    numbers = [start, end, step]
    if all(isinstance(n, (int, float)) for n in numbers):
        kind = np.float64 if "float" in c.dtype else np.int64
        return c.const(np.arange(*numbers, dtype=kind)[: c.shape[0]], c.dtype)
    whole = c.emit(R.arange(start, end, step, "int64"))
    return c.cast(whole, c.dtype)


@op("linspace.default")
def linspace(c: Context, /, start: Any, end: Any, steps: Any, dtype: Any) -> Any:
    if not all(isinstance(n, (int, float)) for n in (start, end, steps)):
        raise ValueError("linspace between values known only at run time is not imported")
    return c.const(np.linspace(start, end, steps), c.dtype)


@op("eye.default", "eye.m")
def eye(c: Context, /, n: Any, m: Any = None, dtype: Any = None) -> Any:
    rows, columns = (c.static(d, "the size of an identity matrix") for d in c.shape)
    return c.const(np.eye(rows, columns), c.dtype)


@op("tril.default", "triu.default")
def triangle(c: Context, /, self: Any, diagonal: int) -> Any:
    function = R.tril if c.node.target.__name__.startswith("tril") else R.triu
    if c.dtype == "bool":
        whole = c.emit(function(c.emit(R.astype(self, "int8")), diagonal))
        return R.not_equal(whole, c.const(0, "int8"))
    return function(self, diagonal)


# -- reductions


def _axes(dim: Any, x: Any) -> list[int] | None:
    """None for all, as torch's None and [] mean."""
    if dim is None or dim == [] or dim == ():
        return None
    axes = [dim] if isinstance(dim, int) else list(dim)
    return [a % x.ty.ndim for a in axes] if x.ty.ndim else None


def _reduction(function: Any) -> Any:
    def convert(
        c: Context, /, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None
    ) -> Any:
        x = c.cast(self, c.dtype)
        if not x.ty.ndim:
            return x
        if c.dtype != "bool":
            return function(x, _axes(dim, x), keepdims=keepdim)
        whole = c.emit(R.astype(x, "int8"))
        return c.cast(c.emit(function(whole, _axes(dim, x), keepdims=keepdim)), "bool")

    return convert


for _name, _reduce, _overloads in (
    ("sum", R.sum, ("default", "dim_IntList")), ("mean", R.mean, ("default", "dim")),
    ("prod", R.prod, ("default", "dim_int")), ("amax", R.max, ("default",)),
    ("amin", R.min, ("default",)), ("max", R.max, ("default",)), ("min", R.min, ("default",)),
):  # fmt: skip
    for _overload in _overloads:
        TABLE[f"{_name}.{_overload}"] = _reduction(_reduce)


@op("linalg_vector_norm.default")
def vector_norm(
    c: Context,
    /,
    self: Any,
    ord: Any,  # noqa: A002
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Any:
    size = c.emit(R.abs(c.cast(self, c.dtype)))
    if not size.ty.ndim:
        return size
    axes = _axes(dim, size)
    if ord in (np.inf, -np.inf):
        return (R.max if ord > 0 else R.min)(size, axes, keepdims=keepdim)
    if ord == 0:
        size = c.cast(c.emit(R.not_equal(size, c.const(0, c.dtype))), c.dtype)
    elif ord == 2:
        size = c.emit(R.multiply(size, size))
    elif ord != 1:
        size = c.emit(R.power(size, c.const(ord, c.dtype)))
    whole = c.emit(R.sum(size, axes, keepdims=keepdim))
    if ord in (0, 1):
        return whole
    return R.sqrt(whole) if ord == 2 else R.power(whole, c.const(1 / ord, c.dtype))


@op("any.default", "any.dim", "any.dims", "all.default", "all.dim", "all.dims")
def any_all(c: Context, /, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    function = R.max if c.node.target.__name__.startswith("any") else R.min
    truth = c.cast(self, "bool")
    if not self.ty.ndim:
        return c.cast(truth, c.dtype)
    whole = c.emit(function(c.emit(R.astype(truth, "int32")), _axes(dim, self), keepdims=keepdim))
    return c.cast(c.emit(R.not_equal(whole, c.const(0, "int32"))), c.dtype)


@op("argmax.default", "argmin.default")
def argmax(c: Context, /, self: Any, dim: Any, keepdim: bool) -> Any:
    function = R.argmax if c.node.target.__name__.startswith("argmax") else R.argmin
    if not self.ty.ndim:
        return c.const(0, "int64")
    return function(self, None if dim is None else dim % self.ty.ndim, keepdim)


@op("max.dim", "min.dim")
def max_dim(c: Context, /, self: Any, dim: int, keepdim: bool) -> Any:
    most = c.node.target.__name__.startswith("max")
    if not self.ty.ndim:
        return self, c.const(0, "int64")
    axis, dtype = dim % self.ty.ndim, str(self.ty.dtype)
    x = c.emit(R.astype(self, "int8")) if dtype == "bool" else self
    value = c.emit((R.max if most else R.min)(x, [axis], keepdims=keepdim))
    return c.cast(value, dtype), (R.argmax if most else R.argmin)(x, axis, keepdim)


@op("var.correction", "std.correction", "var_mean.correction")
def variance(
    c: Context, /, self: Any, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> Any:
    axes = _axes(dim, self)
    dims = c.dims(self)
    dtype = str(self.ty.dtype)
    count = math.prod(
        c.static(dims[a], "the number of values whose variance is taken")
        for a in (range(len(dims)) if axes is None else axes)
    )
    mean = c.emit(R.mean(self, axes, keepdims=True)) if dims else self
    apart = c.emit(R.subtract(self, mean))
    square = c.emit(R.multiply(apart, apart))
    result = c.emit(R.mean(square, axes, keepdims=keepdim)) if dims else square
    rest = count - (1 if correction is None else correction)
    factor = count / rest if rest > 0 else np.inf
    if factor != 1:
        result = c.emit(R.multiply(result, c.const(factor, dtype)))
    name = c.node.target.__name__
    if name.startswith("std"):
        return R.sqrt(result)
    if name.startswith("var_mean"):
        return result, R.reshape(mean, c.symbols.shape(c.meta[1].shape))
    return result


@op("cumsum.default")
def cumsum(c: Context, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    return R.cumsum(x, dim % self.ty.ndim, c.dtype) if self.ty.ndim else x


@op("cumprod.default")
def cumprod(c: Context, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    return R.cumprod(x, dim % self.ty.ndim, c.dtype) if self.ty.ndim else x


@op("topk.default")
def topk(c: Context, /, self: Any, k: Any, dim: int, largest: bool, sorted: bool) -> Any:  # noqa: A002
    count = c.static(k, "the number of values that topk takes")
    call = R.topk(self, count, dim % self.ty.ndim, "both", largest, "int64")
    both = c.builder.emit(c.builder.normalize(call))
    return relax.TupleGetItem(both, 0), relax.TupleGetItem(both, 1)


@op("sort.default", "sort.stable")
def sort(c: Context, /, self: Any, dim: int, descending: bool, stable: Any = None) -> Any:
    if not self.ty.ndim:
        return self, c.const(0, "int64")
    axis = dim % self.ty.ndim
    values = R.sort(self, axis, descending)
    return values, R.argsort(self, axis, descending, "int64")


@op("argsort.default", "argsort.stable")
def argsort(c: Context, /, self: Any, dim: int, descending: bool, stable: Any = None) -> Any:
    if not self.ty.ndim:
        return c.const(0, "int64")
    return R.argsort(self, dim % self.ty.ndim, descending, "int64")
