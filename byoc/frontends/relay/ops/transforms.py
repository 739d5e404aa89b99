"""Shapes: reshaping, joining and splitting, constants made from shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, axes_of, const, dtype_of, is_const
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import dims, limited, list_of, rank, static_dims, transpose
from byoc.frontends.relay.ops.layouts import relayout
from byoc.frontends.relay.syntax import known_dtype
from byoc.support.dtypes import numpy_dtype

__all__ = ["TRANSFORMS"]

op = relax.op
_PARTS = 1 << 14
"""Parts that a tensor may be split into."""


def reshape_to(have: list[Any], want: list[int], allowzero: bool = False) -> list[Any]:
    """Dimensions after `reshape` with Relay's codes: 0 copy one, -1 infer, -2 copy the rest, -3
    multiply two, -4 split one in two.
    """
    out: list[Any] = []
    source = iter(have)
    codes = iter(want)

    def take() -> Any:
        try:
            return next(source)
        except StopIteration:
            raise ValueError(f"newshape {want} does not fit the shape {have}") from None

    for code in codes:
        if code > 0 or (code == 0 and allowzero):
            out.append(code)
            next(source, None)
        elif code == 0:
            out.append(take())
        elif code == -1:
            out.append(-1)
            next(source, None)
        elif code == -2:
            out.extend(source)
        elif code == -3:
            out.append(take() * take())
        elif code == -4:
            whole = take()
            parts = [next(codes, 0), next(codes, 0)]
            if parts.count(-1) > 1 or min(parts) < -1 or 0 in parts:
                raise ValueError(f"newshape {want} splits a dimension into {parts}")
            if -1 in parts:
                parts[parts.index(-1)] = whole // -math.prod(parts)
            out.extend(parts)
        else:
            raise ValueError(f"newshape {want} holds {code}")
    if out.count(-1) > 1:
        raise ValueError(f"newshape {want} leaves several dimensions open")
    return out


def reshape(c: RelayContext, data: Any, shape: Any = None, *, newshape: Any = None,
            allowzero: Any = False, reverse: Any = False) -> Any:  # fmt: skip
    """reshape, dyn.reshape with a constant shape."""
    if reverse:
        return reverse_reshape(c, data, newshape=newshape if shape is None else shape)
    want = list_of(newshape if shape is None else shape, "newshape")
    return op.reshape(data, reshape_to(dims(data), want, bool(allowzero)))


def reverse_reshape(c: RelayContext, data: Any, *, newshape: Any) -> Any:
    """reverse_reshape: codes are read from the back."""
    want = list_of(newshape, "newshape")
    if any(code < -1 for code in want):
        raise ValueError(f"newshape {want}: only 0 and -1 are read from the back")
    return op.reshape(data, reshape_to(dims(data)[::-1], want[::-1])[::-1])


def reshape_like(c: RelayContext, data: Any, like: Any, *, lhs_begin: int = 0, lhs_end: Any = None,
                 rhs_begin: int = 0, rhs_end: Any = None) -> Any:  # fmt: skip
    """reshape_like."""
    have, other = dims(data), dims(like)
    ends = [n if e is None else e for e, n in ((lhs_end, len(have)), (rhs_end, len(other)))]
    return op.reshape(data, have[:lhs_begin] + other[rhs_begin : ends[1]] + have[ends[0] :])


def transpose_(c: RelayContext, data: Any, *, axes: Any = None) -> Any:
    """transpose."""
    count = rank(data)
    order = axes_of(axes, count) if axes else list(range(count))[::-1]
    if len(order) != count:
        raise ValueError(f"axes {axes} do not fit {count} dimensions")
    return transpose(data, order)


def expand_dims(c: RelayContext, data: Any, at: Any = None, *, axis: Any = None,
                num_newaxis: int = 1) -> Any:  # fmt: skip
    """expand_dims, dyn.expand_dims with a constant axis."""
    axis = list_of(axis if at is None else at, "axis")[0]
    count = int(num_newaxis)
    if not 0 <= count <= 16 or not -rank(data) - 1 <= axis <= rank(data):
        raise ValueError(f"axis {axis} and {count} new dimensions of {rank(data)}")
    first = axis if axis >= 0 else axis + rank(data) + 1
    return op.expand_dims(data, list(range(first, first + count))) if count else data


def squeeze(c: RelayContext, data: Any, at: Any = None, *, axis: Any = None) -> Any:
    """squeeze, dyn.squeeze with constant axes."""
    axis = axis if at is None else list_of(at, "axis")
    return op.squeeze(data, None if axis is None else axes_of(axis, rank(data)))


def concatenate(c: RelayContext, data: Any, *, axis: int = 0) -> Any:
    """concatenate."""
    (axis,) = axes_of(axis, rank(data[0]))
    return op.concat(list(data), axis) if len(data) > 1 else data[0]


def stack(c: RelayContext, data: Any, *, axis: int = 0) -> Any:
    """stack."""
    (axis,) = axes_of(axis, rank(data[0]) + 1)
    return op.concat([c.typed(op.expand_dims(part, axis)) for part in data], axis)


def split(c: RelayContext, data: Any, *, indices_or_sections: Any, axis: int = 0) -> Any:
    """split."""
    (axis,) = axes_of(axis, rank(data))
    length = dims(data)[axis]
    if indices_or_sections == 1:  # a tuple of one, which op.split would give as a tensor
        return (data,)
    if isinstance(indices_or_sections, int):
        most = min(max(length, 1), _PARTS) if isinstance(length, int) else 0
        if not 0 < indices_or_sections <= most:
            raise ValueError(f"{indices_or_sections} parts of a dimension of {length}")
        if length % indices_or_sections:
            raise ValueError(f"a dimension of {length} has no {indices_or_sections} equal parts")
        return op.split(data, indices_or_sections, axis)
    at = list_of(indices_or_sections, "indices_or_sections")
    return op.split(data, at, axis) if at else (data,)


def broadcast_to(c: RelayContext, data: Any, to: Any = None, *, shape: Any = None,
                 dtype: Any = None) -> Any:  # fmt: skip
    """broadcast_to, dyn.broadcast_to with a constant shape."""
    return op.broadcast_to(data, list_of(shape if to is None else to, "shape"))


def broadcast_to_like(c: RelayContext, data: Any, like: Any) -> Any:
    """broadcast_to_like."""
    return op.broadcast_to(data, dims(like))


def tile(c: RelayContext, data: Any, given: Any = None, *, reps: Any = None) -> Any:
    """tile, dyn.tile with constant repetitions."""
    return op.tile(data, list_of(reps if given is None else given, "reps"))


def repeat(c: RelayContext, data: Any, *, repeats: int, axis: int) -> Any:
    """repeat."""
    (axis,) = axes_of(axis, rank(data))
    return op.repeat(data, int(repeats), axis)


def arange(
    c: RelayContext,
    first: Any = None,
    last: Any = None,
    by: Any = None,
    *,
    start: Any = None,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
) -> Any:
    """arange with constant bounds."""
    parts = [
        array_of(v, "a bound").item() if is_const(v) else v
        for v in (first if first is not None else start, last if last is not None else stop,
                  by if by is not None else step)
    ]  # fmt: skip
    if not all(isinstance(p, (int, float)) for p in parts):
        raise ValueError(f"its bounds are {parts}; byoc needs three constants")
    begin, end, stride = parts
    limited([max(0, math.ceil((end - begin) / stride))])
    return const(np.arange(begin, end, stride, dtype=numpy_dtype(known_dtype(dtype) or "float32")))


def full(
    c: RelayContext, value: Any, size: Any = None, *, shape: Any = None, dtype: Any = None
) -> Any:
    """full, dyn.full with a constant shape."""
    want = list_of(shape if size is None else size, "shape")
    return op.full(want, value, known_dtype(dtype) or dtype_of(value))


def full_like(c: RelayContext, data: Any, value: Any) -> Any:
    """full_like."""
    return op.full_like(data, value, dtype_of(data))


def _filled(number: int) -> Converter:
    def convert(
        c: RelayContext, size: Any = None, *, shape: Any = None, dtype: str = "float32"
    ) -> Any:
        want = list_of(shape if size is None else size, "shape")
        kind = known_dtype(dtype) or "float32"
        return op.full(want, const(number, numpy_dtype(kind)), kind)

    return convert


def shape_of(c: RelayContext, data: Any, *, dtype: str = "int32") -> Any:
    """shape_of; a constant where the shape is known."""
    found = dims(data)
    if all(isinstance(d, int) for d in found):
        return const(np.array(found), numpy_dtype(known_dtype(dtype) or "int32"))
    return op.astype(op.shape_to_tensor(relax.ShapeExpr(found)), known_dtype(dtype) or "int32")


def ndarray_size(c: RelayContext, data: Any, *, dtype: str = "int32") -> Any:
    """ndarray_size."""
    return const(math.prod(static_dims(data)), numpy_dtype(known_dtype(dtype) or "int32"))


def layout_transform(c: RelayContext, data: Any, *, src_layout: str, dst_layout: str) -> Any:
    """layout_transform, blocks included."""
    return relayout(c, data, src_layout, dst_layout, f"from {src_layout!r} to {dst_layout!r}")


def meshgrid(c: RelayContext, data: Any, *, indexing: str = "ij") -> Any:
    """meshgrid; "xy" swaps the first two dimensions of each grid."""
    if indexing not in ("ij", "xy"):
        raise ValueError(f"indexing {indexing!r} is neither 'ij' nor 'xy'")
    grids = op.meshgrid(list(data), "ij")
    if indexing == "ij" or len(data) < 2:
        return grids
    whole, order = c.typed(grids), [1, 0, *range(2, len(data))]
    return tuple(
        op.permute_dims(c.typed(relax.TupleGetItem(whole, i)), order) for i in range(len(data))
    )


def trilu(c: RelayContext, data: Any, k: Any, *, upper: Any = True) -> Any:
    """trilu."""
    offset = int(array_of(k, "k").item())
    return op.triu(data, offset) if upper else op.tril(data, offset)


def einsum(c: RelayContext, data: Any, *, equation: str) -> Any:
    """einsum."""
    return op.einsum(list(data), str(equation).replace(" ", ""))


def collapse_sum(c: RelayContext, data: Any, like: Any) -> Any:
    """collapse_sum_like."""
    return op.collapse_sum_like(data, like)


TRANSFORMS: Mapping[str, Converter] = {
    "arange": arange,
    "broadcast_to": broadcast_to,
    "broadcast_to_like": broadcast_to_like,
    "collapse_sum_like": collapse_sum,
    "concatenate": concatenate,
    "contrib_reverse_reshape": reverse_reshape,
    "dyn.broadcast_to": broadcast_to,
    "dyn.expand_dims": expand_dims,
    "dyn.full": full,
    "dyn.ones": _filled(1),
    "dyn.reshape": reshape,
    "dyn.squeeze": squeeze,
    "dyn.tile": tile,
    "dyn.zeros": _filled(0),
    "einsum": einsum,
    "expand_dims": expand_dims,
    "full": full,
    "full_like": full_like,
    "layout_transform": layout_transform,
    "meshgrid": meshgrid,
    "ndarray_size": ndarray_size,
    "ones": _filled(1),
    "repeat": repeat,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse_reshape": reverse_reshape,
    "shape_of": shape_of,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose_,
    "trilu": trilu,
    "zeros": _filled(0),
}
"""Operator → converter."""
