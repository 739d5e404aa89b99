"""Sums, means, extremes and their positions along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.tflite.context import TfliteContext

__all__ = ["REDUCTIONS"]

op = relax.op


def _axes(c: TfliteContext) -> tuple[list[int], bool]:
    rank = len(c.shape(0))
    o = c.options("ReducerOptions")
    axes = sorted({c.axis(a, rank) for a in c.ints(1)})
    return axes, o is not None and bool(o.KeepDims())


def _reduce(function: Callable[..., Any]) -> Converter:
    def convert(c: TfliteContext) -> Any:
        axes, keep = _axes(c)
        return function(c.real(0), axes, keepdims=keep) if axes else c.real(0)

    return convert


def _logical(function: Callable[..., Any]) -> Converter:
    """Of bools, through int8: Relax has no extremes of bools."""

    def convert(c: TfliteContext) -> Any:
        axes, keep = _axes(c)
        if not axes:
            return c.raw(0)
        return op.astype(function(op.astype(c.raw(0), "int8"), axes, keepdims=keep), "bool")

    return convert


def _position(function: Callable[..., Any]) -> Converter:
    """ARG_MAX, ARG_MIN: of the stored numbers, whose order is that of the real ones."""

    def convert(c: TfliteContext) -> Any:
        axes = c.ints(1)
        if len(axes) != 1:
            raise InexpressibleError(f"it has {len(axes)} axes")
        axis = c.axis(axes[0], len(c.shape(0)))
        return op.astype(function(c.raw(0), axis, keepdims=False), c.out().dtype)

    return convert


def cumsum(c: TfliteContext) -> Any:
    """CUMSUM; backwards it is the reversed sum of the reversed."""
    o = c.options("CumsumOptions")
    (axis,) = c.ints(1)
    axis = c.axis(axis, len(c.shape(0)))
    data, backwards = c.real(0), o is not None and o.Reverse()
    data = op.flip(data, axis) if backwards else data
    result = op.cumsum(data, axis, exclusive=bool(o is not None and o.Exclusive()))
    return op.flip(result, axis) if backwards else result


REDUCTIONS: Mapping[str, Converter] = {
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
