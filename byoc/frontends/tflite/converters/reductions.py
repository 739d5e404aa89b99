"""Sums, means, extremes and their positions along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import relax

from byoc.frontends.tflite.call import Call, Converter, InexpressibleError

__all__ = ["CONVERTERS"]

op = relax.op


def _axes(x: Call) -> tuple[list[int], bool]:
    rank = len(x.shape(0))
    o = x.options("ReducerOptions")
    axes = sorted({x.axis(a, rank) for a in x.ints(1)})
    return axes, o is not None and bool(o.KeepDims())


def _reduce(function: Callable[..., Any]) -> Converter:
    def convert(x: Call) -> Any:
        axes, keep = _axes(x)
        return function(x.real(0), axes, keepdims=keep) if axes else x.real(0)

    return convert


def _logical(function: Callable[..., Any]) -> Converter:
    """Of bools, through int8: Relax has no extremes of bools."""

    def convert(x: Call) -> Any:
        axes, keep = _axes(x)
        if not axes:
            return x.raw(0)
        return op.astype(function(op.astype(x.raw(0), "int8"), axes, keepdims=keep), "bool")

    return convert


def _position(function: Callable[..., Any]) -> Converter:
    """ARG_MAX, ARG_MIN: of the stored numbers, whose order is that of the real ones."""

    def convert(x: Call) -> Any:
        axes = x.ints(1)
        if len(axes) != 1:
            raise InexpressibleError(f"it has {len(axes)} axes")
        axis = x.axis(axes[0], len(x.shape(0)))
        return op.astype(function(x.raw(0), axis, keepdims=False), x.out().dtype)

    return convert


def cumsum(x: Call) -> Any:
    """CUMSUM; backwards it is the reversed sum of the reversed."""
    o = x.options("CumsumOptions")
    (axis,) = x.ints(1)
    axis = x.axis(axis, len(x.shape(0)))
    data, backwards = x.real(0), o is not None and o.Reverse()
    data = op.flip(data, axis) if backwards else data
    result = op.cumsum(data, axis, exclusive=bool(o is not None and o.Exclusive()))
    return op.flip(result, axis) if backwards else result


CONVERTERS: Mapping[str, Converter] = {
    "ARG_MAX": _position(op.argmax),
    "ARG_MIN": _position(op.argmin),
    "CUMSUM": cumsum,
    "MEAN": _reduce(op.mean),
    "REDUCE_ALL": _logical(op.min),
    "REDUCE_ANY": _logical(op.max),
    "REDUCE_MAX": _reduce(op.max),
    "REDUCE_MIN": _reduce(op.min),
    "REDUCE_PROD": _reduce(op.prod),
    "SUM": _reduce(op.sum),
}
