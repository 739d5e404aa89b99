"""Reductions, and what orders or counts along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import axes_of, dtype_of, is_const, scalar_like
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import dims, narrow, rank, wide
from byoc.frontends.relay.syntax import known_dtype

__all__ = ["REDUCTIONS"]

op = relax.op


def _axes(data: Any, axis: Any, exclude: Any) -> list[int]:
    """The axes that are reduced: given ones, or all but these."""
    count = rank(data)
    if axis is None or axis == []:
        if exclude and axis is not None:
            return list(range(count))
        return list(range(count)) if not exclude else []
    given = axes_of(axis, count)
    return [a for a in range(count) if a not in given] if exclude else given


def _reduction(function: Any) -> Converter:
    def convert(
        c: RelayContext, data: Any, *, axis: Any = None, keepdims: Any = False, exclude: Any = False
    ) -> Any:
        axes = _axes(data, axis, exclude)
        return function(data, axes, bool(keepdims)) if axes else data

    return convert


def mean(
    c: RelayContext, data: Any, *, axis: Any = None, keepdims: Any = False, exclude: Any = False
) -> Any:
    """mean; of whole numbers, what a division of whole numbers leaves."""
    axes = _axes(data, axis, exclude)
    return narrow(c, op.mean(wide(c, data), axes, bool(keepdims)), data) if axes else data


def _logical(function: Any) -> Converter:
    """all, any: of numbers 0 and 1."""

    def convert(
        c: RelayContext, data: Any, *, axis: Any = None, keepdims: Any = False, exclude: Any = False
    ) -> Any:
        axes = _axes(data, axis, exclude)
        if dtype_of(data) != "bool":
            raise ValueError(f"it takes bool, found {dtype_of(data)}")
        return op.astype(function(op.astype(data, "int8"), axes, bool(keepdims)), "bool")

    return convert


def variance(
    c: RelayContext,
    data: Any,
    mean: Any,
    *,
    axis: Any = None,
    keepdims: Any = False,
    exclude: Any = False,
    unbiased: Any = False,
) -> Any:
    """variance around a mean that is given."""
    axes = _axes(data, axis, exclude)
    spread = op.mean(op.square(op.subtract(data, mean)), axes, bool(keepdims))
    if not unbiased:
        return spread
    count = int(np.prod([int(dims(data)[a]) for a in axes]))
    return op.multiply(spread, scalar_like(count / (count - 1), data))


def _arg(function: Any) -> Converter:
    def convert(
        c: RelayContext,
        data: Any,
        *,
        axis: Any = None,
        keepdims: Any = False,
        exclude: Any = False,
        select_last_index: Any = False,
    ) -> Any:
        axes = _axes(data, axis, exclude)
        count, kept = rank(data), bool(keepdims)
        whole = len(axes) == count and count > 1
        if whole:
            data, axes = c.typed(op.reshape(data, [-1])), [0]
        if len(axes) != 1:
            raise ValueError(f"it takes one axis or all, found {axes}")
        if select_last_index:  # the first one of what is turned round
            length = dims(data)[axes[0]]
            if not isinstance(length, int):
                raise ValueError(f"select_last_index needs a known length, found {length}")
            first = c.typed(function(c.typed(op.flip(data, axes[0])), axes[0], kept and not whole))
            found = op.subtract(scalar_like(length - 1, first), first)
        else:
            found = function(data, axes[0], kept and not whole)
        found = op.astype(found, "int32")
        return op.reshape(c.typed(found), [1] * count) if whole and kept else found

    return convert


def _scan(function: Any) -> Converter:
    def convert(
        c: RelayContext, data: Any, *, axis: Any = None, dtype: Any = None, exclusive: Any = False
    ) -> Any:
        to = known_dtype(dtype) or dtype_of(data)
        if dtype_of(data) != to:
            data = c.typed(op.astype(data, to))
        if axis is None:
            data, axis = c.typed(op.reshape(data, [-1])), 0
        (at,) = axes_of(axis, rank(data))
        return function(data, at, to, bool(exclusive))

    return convert


def topk(
    c: RelayContext,
    data: Any,
    k_value: Any = None,
    *,
    k: Any = None,
    axis: int = -1,
    ret_type: str = "both",
    is_ascend: Any = False,
    dtype: str = "int32",
) -> Any:
    """topk, dyn.topk with a constant k."""
    if k_value is not None:
        if not is_const(k_value):
            raise ValueError("k is computed by the model; byoc needs it as a constant")
        k = k_value.value.numpy().item()
    (axis,) = axes_of(axis, rank(data))
    count = 1 if k is None else int(k)
    length = dims(data)[axis]
    count = length if count < 1 else count
    if not isinstance(count, int) or (isinstance(length, int) and count > length):
        raise ValueError(f"k = {count} of {length}")
    return op.topk(data, count, axis, str(ret_type), not is_ascend, str(dtype))


def argsort(
    c: RelayContext, data: Any, *, axis: int = -1, is_ascend: Any = True, dtype: str = "int32"
) -> Any:
    """argsort."""
    (axis,) = axes_of(axis, rank(data))
    return op.argsort(data, axis, not is_ascend, known_dtype(dtype) or "int32")


def sort(c: RelayContext, data: Any, *, axis: int = -1, is_ascend: Any = True) -> Any:
    """sort."""
    (axis,) = axes_of(axis, rank(data))
    return op.sort(data, axis, not is_ascend)


REDUCTIONS: Mapping[str, Converter] = {
    "all": _logical(op.min),
    "any": _logical(op.max),
    "argmax": _arg(op.argmax),
    "argmin": _arg(op.argmin),
    "argsort": argsort,
    "cumprod": _scan(op.cumprod),
    "cumsum": _scan(op.cumsum),
    "dyn.topk": topk,
    "max": _reduction(op.max),
    "mean": mean,
    "min": _reduction(op.min),
    "prod": _reduction(op.prod),
    "sort": sort,
    "sum": _reduction(op.sum),
    "topk": topk,
    "variance": variance,
}
"""Operator → converter."""
