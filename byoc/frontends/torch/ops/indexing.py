"""Look-ups and writes by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext
from byoc.frontends.torch.ops.slicing import sliced

__all__ = ["INDEXING"]

R = relax.op


def _from_front(c: TorchContext, index: Any, size: Any) -> Any:
    """Indices counted from the end, as int64 from the front."""
    index = c.cast(index, "int64")
    below = c.emit(R.less(index, c.const(0, "int64")))
    return c.emit(R.where(below, c.emit(R.add(index, c.cast(size, "int64"))), index))


def embedding(
    c: TorchContext, /, weight: Any, indices: Any, padding_idx: Any, scale_grad_by_freq: bool,
    sparse: bool,
) -> Any:  # fmt: skip
    return R.take(weight, indices, 0)  # no index counts from the end here


def index_select(c: TorchContext, /, self: Any, dim: int, index: Any) -> Any:
    return R.take(self, index, dim % self.ty.ndim)


def index(c: TorchContext, /, self: Any, indices: Any) -> Any:
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


def index_put(c: TorchContext, /, self: Any, indices: Any, values: Any, accumulate: bool) -> Any:
    first = indices[0]
    if first is not None and str(first.ty.dtype) == "bool":
        single = all(d == 1 for d in c.dims(values))
        if len(indices) > 1 or not single or accumulate:
            raise ValueError("writing several values where a mask is true is not imported")
        extra = self.ty.ndim - first.ty.ndim
        mask = c.emit(R.reshape(first, [*c.dims(first), *[1] * extra])) if extra else first
        return R.where(mask, c.emit(R.reshape(c.cast(values, c.dtype), [])), self)
    if any(i is None for i in indices):
        return _put_inside(c, self, indices, values, accumulate)
    dims = c.dims(self)
    places = [_from_front(c, i, d) for i, d in zip(indices, dims, strict=False)]
    shape = _broadcast(c, places)
    places = [c.emit(R.broadcast_to(p, shape)) for p in places]
    update = c.emit(R.broadcast_to(c.cast(values, c.dtype), [*shape, *dims[len(places) :]]))
    columns = [c.emit(R.expand_dims(p, -1)) for p in places]
    where = columns[0] if len(columns) == 1 else c.emit(R.concat(columns, -1))
    return R.scatter_nd(self, where, update, "add" if accumulate else "update")


def _put_inside(c: TorchContext, x: Any, indices: Any, values: Any, accumulate: bool) -> Any:
    """Writing to inner axes: they come first, and go back.

    What is indexed has the shape of the indices in place of the axes where those are neighbours,
    else in front (as in numpy).
    """
    used = [i for i, part in enumerate(indices) if part is not None]
    if any(str(indices[i].ty.dtype) == "bool" for i in used):
        raise ValueError("writing to inner axes where a mask is true is not imported")
    rank, dims = x.ty.ndim, c.dims(x)
    rest = [i for i in range(rank) if i not in used]
    shape = _broadcast(c, [indices[i] for i in used])
    beside = used == list(range(used[0], used[-1] + 1))
    before = used[0] if beside else 0
    whole = [*(dims[i] for i in rest[:before]), *shape, *(dims[i] for i in rest[before:])]
    update = c.emit(R.broadcast_to(c.cast(values, c.dtype), whole))
    if before:
        count = len(shape)
        order = [*range(before, before + count), *range(before), *range(before + count, len(whole))]
        update = c.emit(R.permute_dims(update, order))
    order = used + rest
    moved = c.emit(R.permute_dims(x, order))
    done = index_put(c, moved, [indices[i] for i in used], update, accumulate)
    return R.permute_dims(c.emit(done), [order.index(i) for i in range(rank)])


def _broadcast(c: TorchContext, tensors: Sequence[Any]) -> list[Any]:
    shape = [c.dims(t) for t in tensors]
    if not all(isinstance(d, int) for s in shape for d in s):
        if all(len(s) == len(shape[0]) for s in shape) and len(shape) == 1:
            return shape[0]
        raise ValueError("indices of symbolic shape are not broadcast")
    return list(np.broadcast_shapes(*map(tuple, shape)))


def gather(c: TorchContext, /, self: Any, dim: int, index: Any, sparse_grad: bool) -> Any:
    if not self.ty.ndim:
        return self
    return R.gather_elements(self, c.cast(index, "int64"), dim % self.ty.ndim)


def _scatter(c: TorchContext, x: Any, dim: int, index: Any, src: Any, mode: str) -> Any:
    if not x.ty.ndim:
        raise ValueError("scattering to a scalar is not imported")
    sizes = c.dims(index)
    for axis, size in enumerate(sizes):  # only the part of `src` that has indices is read
        if c.dims(src)[axis] is not size and not _equal(c.dims(src)[axis], size):
            src = c.emit(sliced(c, src, axis, 0, size))
    return R.scatter_elements(x, c.cast(index, "int64"), src, dim % x.ty.ndim, mode)


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, int) and isinstance(b, int) else False


def scatter(c: TorchContext, /, self: Any, dim: int, index: Any, src: Any) -> Any:
    mode = "add" if "add" in c.node.target.__name__ else "update"
    return _scatter(c, self, dim, index, src, mode)


def scatter_reduce(
    c: TorchContext, /, self: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool
) -> Any:
    modes = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
    if not include_self or reduce not in modes:
        raise ValueError(f"scatter_reduce {reduce!r} with include_self={include_self}")
    return _scatter(c, self, dim, index, src, modes[reduce])


def scatter_value(c: TorchContext, /, self: Any, dim: int, index: Any, value: Any) -> Any:
    src = c.emit(R.full(c.dims(index), c.cast(value, c.dtype), c.dtype))
    return _scatter(c, self, dim, index, src, "update")


INDEXING: Mapping[str, Converter] = {
    "_unsafe_index.Tensor": index,
    "_unsafe_index_put.default": index_put,
    "embedding.default": embedding,
    "gather.default": gather,
    "index.Tensor": index,
    "index_put.default": index_put,
    "index_select.default": index_select,
    "scatter.src": scatter,
    "scatter.value": scatter_value,
    "scatter_add.default": scatter,
    "scatter_reduce.two": scatter_reduce,
}
"""ATen operator, as "name.overload" → converter."""
