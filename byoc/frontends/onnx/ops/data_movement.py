"""Operators that move data: join, gather, slice, expand, tile, reshape."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import broadcast_dim, hold, number, product, proved_equal
from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.normalise.values import same_dims
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import integers_of, text_of
from byoc.ir.arrays import to_numpy

__all__ = ["DATA_MOVEMENT"]


def gather(c: OnnxContext) -> Any:
    """Gather 1, 11, 13. One constant index is a slice; else negative indices count from the end,
    which is `take` in mode "wrap".
    """
    data, indices = c[0], c[1]
    if isinstance(data, relax.ShapeExpr) and isinstance(indices, GenericConst):
        at = to_numpy(indices.value)
        if at.ndim < 2 and all(-len(data) <= i < len(data) for i in at.reshape(-1)):
            dims = [data[int(i) % len(data)] for i in at.reshape(-1)]
            return relax.ShapeExpr(dims) if at.ndim else dims[0]
    tensors = all(isinstance(v.ty, relax.TensorType) for v in (data, indices))
    if not tensors or (isinstance(data, GenericConst) and isinstance(indices, GenericConst)):
        return c.stock("Gather")
    axis = c.axis(0)
    if isinstance(indices, GenericConst) and data.ty.shape is not None:
        length, array = data.ty.shape[axis], to_numpy(indices.value)
        low, high = (array.min(), array.max()) if array.size else (0, -1)
        if is_int(length) and not (-int(length) <= low and high < int(length)):
            raise RefusedError(f"it reads elements {low} to {high} of {int(length)}")
        if array.size == 1 and is_int(length) and -int(length) <= array.item() < int(length):
            at = array.item() % int(length)
            part = relax.op.strided_slice(data, [axis], [at], [at + 1])
            dims = list(data.ty.shape.values)
            return relax.op.reshape(part, [*dims[:axis], *array.shape, *dims[axis + 1 :]])
    return relax.op.take(data, indices, axis, mode="wrap")


def concat(c: OnnxContext) -> Any:
    """Concat 1 to 13; shapes of which parts are computed become tensors."""
    parts = [v for v in c.inputs if v is not None]
    if any(isinstance(v, relax.Var) and isinstance(v.ty, relax.TensorType) for v in parts):
        parts = [_as_tensor(c, v) for v in parts]
    return c.reading(parts).stock("Concat")


def _as_tensor(c: OnnxContext, value: Any) -> Any:
    if isinstance(value, relax.ShapeExpr) or isinstance(value.ty, relax.ShapeType):
        return c.emit(relax.op.shape_to_tensor(value))
    return value


def one_hot(c: OnnxContext) -> Any:
    """OneHot 9, 11: TVM makes 64-bit numbers of the two values, whatever their type."""
    result = c.typed(c.stock("OneHot"))
    wanted = dtype_of(c[2])
    return result if dtype_of(result) == wanted else relax.op.astype(result, wanted)


def scatter_elements(c: OnnxContext) -> Any:
    """Scatter 9, ScatterElements 11 to 18.

    Where indices span a part of the other dimensions, TVM 0.27 takes the places of others from the
    flattened indices and writes elsewhere: there every place is spelled out.
    """
    axis = c.axis(0)
    shapes = [v.ty.shape for v in c.inputs[:2]]
    if any(s is None for s in shapes):
        raise ValueError("the number of dimensions of its operands is not known")
    data, indices = (tuple(_dims(s)) for s in shapes)
    if not same_dims(_without(data, axis), _without(indices, axis)):
        return _scatter_places(c, axis)
    return c.reading(c.inputs, opset=max(c.opset, 11)).stock("ScatterElements")


def _scatter_places(c: OnnxContext, axis: int) -> Any:
    """ScatterElements as ScatterND: its index, and where each index stands."""
    data, indices = (v.ty.shape.values for v in c.inputs[:2])
    if not all(map(is_int, indices)):
        raise ValueError(f"indices of shape {list(indices)} span part of {list(data)}")
    dims = [int(d) for d in indices]
    at = c[1] if dtype_of(c[1]) == "int64" else relax.op.astype(c[1], "int64")
    at = c.typed(at) if isinstance(at, GenericConst) else c.emit(at)
    places = [const(grid.astype(np.int64)) for grid in np.indices(dims)]
    places[axis] = _from_front(c, at, data[axis])
    columns = [relax.op.expand_dims(place, -1) for place in places]
    reduction = text_of(c.attrs.get("reduction"), "none")
    kind = "update" if reduction == "none" else reduction
    where = c.emit(relax.op.concat(columns, -1))
    return relax.op.scatter_nd(c[0], where, c[2], kind)


def _from_front(c: OnnxContext, at: Any, length: Any) -> Any:
    """Indices with those that count from the end counted from the front."""
    if isinstance(at, GenericConst) and is_int(length):
        array = to_numpy(at.value)
        return const(np.where(array < 0, array + int(length), array).astype(np.int64))
    if not is_int(length):
        raise ValueError(f"it counts indices from the end of {length} elements")
    ahead = relax.op.add(at, const(int(length), np.int64))
    return c.emit(relax.op.where(relax.op.less(at, const(0, np.int64)), ahead, at))


def _dims(shape: Any) -> list[Any]:
    return [int(d) if is_int(d) else d for d in shape.values]


def _without(dims: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return dims[:axis] + dims[axis + 1 :]


def expand(c: OnnxContext) -> Any:
    """Expand 8, 13: both shapes are broadcast, a 1 in the wanted one keeps a dimension."""
    data = c[0]
    if data.ty.shape is None:
        return c.stock("Expand")
    have, want = list(data.ty.shape.values), integers_of(c, c[1], "shape")
    rank = max(len(have), len(want))
    have, want = [1] * (rank - len(have)) + have, [1] * (rank - len(want)) + want
    dims = []
    for h, w in zip(have, want, strict=True):
        if is_int(h) and is_int(w):
            dims.append(h if int(w) == 1 else w)
            continue
        dims.append(broadcast_dim([h, w]))
        if not is_int(w) and not (is_int(h) and int(h) == 1) and not proved_equal(h, w):
            data = hold(c.builder, data, tirx.any(h == 1, w == 1, w == h))
    return relax.op.broadcast_to(data, dims)


def tile(c: OnnxContext) -> Any:
    """Tile 6, 13; repeats that the model computes are axes of their own, repeated::

    [h, w] ─▶ [1, h, 1, w] ─▶ [r, h, s, w] ─▶ [r · h, s · w]
    """
    repeats = integers_of(c, c[1], "repeats")
    if all(map(is_int, repeats)):
        return relax.op.tile(c[0], [int(r) for r in repeats])
    data, dims = c[0], list(c[0].ty.shape.values)
    if len(dims) != len(repeats):
        raise RefusedError(f"it has {len(repeats)} repeats for {len(dims)} dimensions")
    for count in repeats:
        if not is_int(count):
            data = hold(c.builder, data, count >= 0)
    apart: list[Any] = [part for dim in dims for part in (1, dim)]
    wide = [number(part) for pair in zip(repeats, dims, strict=True) for part in pair]
    data = c.emit(relax.op.reshape(data, relax.ShapeExpr(apart)))
    data = c.emit(relax.op.broadcast_to(data, relax.ShapeExpr(wide)))
    return relax.op.reshape(
        data, relax.ShapeExpr([number(r) * d for r, d in zip(repeats, dims, strict=True)])
    )


def reshape(c: OnnxContext) -> Any:
    """Reshape 1 (attribute); 5 to 24 (input) are TVM's, but for tensors without elements and for
    lengths that the model computes, which may turn out to be 0 or -1.
    """
    if c.opset < 5:
        c = c.reading([c[0], const(c.attrs["shape"], np.int64)])
    zeros = bool(c.attrs.get("allowzero", 0))
    empty = _empty_shape(c[0], c[1], zeros)
    if empty is not None:
        return const(np.zeros(empty, dtype_of(c[0])))
    if isinstance(c[1], relax.Var) and isinstance(c[1].ty, relax.TensorType):
        return relax.op.reshape(c[0], relax.ShapeExpr(_computed_shape(c, zeros)))
    return c.reading(c.inputs, opset=13).stock("Reshape")


def _computed_shape(c: OnnxContext, zeros: bool) -> list[Any]:
    """The dimensions of a reshape by computed numbers: 0 keeps one, -1 is what is left."""
    op = relax.op
    want = integers_of(c, c[1], "shape")
    if not any(not is_int(d) and d in c.builder.computed for d in want):
        return [number(d) for d in want]
    shape = getattr(c[0].ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        raise ValueError("the number of dimensions of its data is not known")
    have = [*shape.values, *[-2] * len(want)][: len(want)]  # -2: there is none to keep
    asked = c.emit(op.shape_to_tensor(relax.ShapeExpr([number(d) for d in want])))
    if not zeros:
        kept = c.emit(op.shape_to_tensor(relax.ShapeExpr([number(d) for d in have])))
        asked = c.emit(op.where(op.equal(asked, const(0, np.int64)), kept, asked))
    open_ = c.emit(op.equal(asked, const(-1, np.int64)))
    rest = op.prod(op.where(open_, const(1, np.int64), asked), keepdims=True)
    total = op.shape_to_tensor(relax.ShapeExpr([product(list(shape.values))]))
    left = op.floor_divide(total, op.maximum(rest, const(1, np.int64)))
    return integers_of(c, c.emit(op.where(open_, left, asked)), "shape")


def _empty_shape(data: Any, shape: Any, zeros: bool) -> list[int] | None:
    """The shape of a result without elements; None for others. zeros: a 0 is a 0."""
    if not isinstance(shape, GenericConst) or not isinstance(data.ty, relax.TensorType):
        return None
    if data.ty.shape is None or not all(map(is_int, data.ty.shape.values)):
        return None
    have, want = _dims(data.ty.shape), to_numpy(shape.value).tolist()
    if 0 not in have:
        return None
    want = [have[i] if d == 0 and not zeros else d for i, d in enumerate(want)]
    rest = [d for d in want if d != -1]
    if len(rest) == len(want) and 0 in want:
        return want
    if len(rest) + 1 == len(want) and 0 not in rest:
        return [0 if d == -1 else d for d in want]
    raise RefusedError(f"it reshapes {have}, which has no elements, to {want}")


def flatten(c: OnnxContext) -> Any:
    """Flatten 1 to 24."""
    shape, rank = c[0].ty.shape, c[0].ty.ndim
    if shape is None:
        raise ValueError("its input has no known shape")
    axis = int(c.attrs.get("axis", 1))
    axis += rank if axis < 0 else 0
    if not 0 <= axis <= rank:
        raise ValueError(f"axis {axis} does not fit {rank} dimensions")
    dims = list(shape.values)
    return relax.op.reshape(
        c[0], [functools.reduce(lambda a, b: a * b, part, 1) for part in (dims[:axis], dims[axis:])]
    )


DATA_MOVEMENT: Mapping[tuple[str, str], Converter] = {
    ("", "Concat"): concat,
    ("", "Expand"): expand,
    ("", "Flatten"): flatten,
    ("", "Gather"): gather,
    ("", "OneHot"): one_hot,
    ("", "Reshape"): reshape,
    ("", "Scatter"): scatter_elements,
    ("", "ScatterElements"): scatter_elements,
    ("", "Tile"): tile,
}
"""(domain, operator) → converter."""
