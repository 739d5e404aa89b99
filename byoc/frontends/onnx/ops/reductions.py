"""ONNX's reductions, each as what happens before a sum, a maximum, … and what happens after::

    ReduceL2(x, axes) = √ Σ_axes x²        before: x²    over: axes    after: √

Before and after happen whatever the axes are. So with ``noop_with_empty_axes=1`` and no axes, where
nothing is reduced, ReduceL2 is √x², not x.

Axes are an attribute at first and an input from opset 13 (ReduceSum) or 18 (the others) on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from ml_dtypes import finfo
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import axes_of, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of

__all__ = ["REDUCTIONS"]

op = relax.op

_Axes = Sequence[int] | None
"""What is reduced: None for every axis, an empty list for none."""

_Reduction = Callable[[OnnxContext, Any, _Axes, bool], Any]
"""(context, data, axes, keepdims) → the whole reduction, what is before and after included."""

_HALVES = {"float16": "float32", "bfloat16": "float32"}

_NO_MEAN = "it takes the mean of no elements, which ONNX leaves undefined"


def _reduction(name: str, reduce: _Reduction) -> Converter:
    """The converter of one reduction, of every version."""
    moved = 13 if name == "ReduceSum" else 18

    def convert(c: OnnxContext) -> Any:
        given = c.attrs.get("axes") if c.opset < moved else array_of(c[1], "axes")
        axes: _Axes = None
        if given is not None and len(given):
            axes = axes_of([int(a) for a in given], c[0].ty.ndim)
        elif c.opset >= moved and c.attrs.get("noop_with_empty_axes", 0):
            axes = []
        return reduce(c, c[0], axes, bool(c.attrs.get("keepdims", 1)))

    return convert


def _over(function: Callable[..., Any], data: Any, axes: _Axes, keep: bool) -> Any:
    """A sum, maximum, …; the data themselves over no axes."""
    return data if axes is not None and not axes else function(data, axes, keep)


def _plain(function: Callable[..., Any]) -> _Reduction:
    return lambda c, data, axes, keep: _over(function, data, axes, keep)


def _extreme(function: Callable[..., Any]) -> _Reduction:
    """ReduceMax and ReduceMin; of booleans (20) in int8."""

    def reduce(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
        if dtype_of(data) != "bool":
            return _over(function, data, axes, keep)
        if any(is_int(d) and int(d) == 0 for d in data.ty.shape.values):
            raise ValueError("it reduces nothing to a truth value")
        wide = c.typed(op.astype(data, "int8"))
        return op.greater(c.typed(_over(function, wide, axes, keep)), relax.const(0, "int8"))

    return reduce


def _mean(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    """Whole numbers: their sum, divided towards zero."""
    shape = getattr(data.ty, "shape", None)
    dims = None if shape is None else [shape.values[a] for a in _each(data, axes)]
    if dims is not None and any(is_int(d) and int(d) == 0 for d in dims):
        raise RefusedError(_NO_MEAN)
    if _is_float(data) or (axes is not None and not axes):
        return _over(op.mean, data, axes, keep)
    if dims is None or not all(map(is_int, dims)):
        raise ValueError(f"how many elements of {dtype_of(data)} it takes the mean of is not known")
    count = prod(int(d) for d in dims)
    total = c.typed(op.sum(data, axes, keep))
    if dtype_of(data).startswith("uint"):
        return op.floor_divide(total, scalar_like(count, data))
    zero, by = scalar_like(0, data), scalar_like(count, data)
    up = op.negative(op.floor_divide(op.negative(total), by))
    return op.where(op.less(total, zero), up, op.floor_divide(total, by))


def _through(wide: Mapping[str, str], reduce: _Reduction) -> _Reduction:
    """The reduction of a dtype's elements in another one, before and after included; then cut."""

    def convert(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
        dtype = dtype_of(data)
        to = wide.get(dtype, dtype if _is_float(data) else wide.get("int", dtype))
        if to == dtype:
            return reduce(c, data, axes, keep)
        return op.astype(c.typed(reduce(c, c.typed(op.astype(data, to)), axes, keep)), dtype)

    return convert


def _in_floats(reduce: _Reduction) -> _Reduction:
    """Roots and logarithms of whole numbers in float64; halves in float32, as `_of_halves`."""
    return _through({**_HALVES, "int": "float64"}, reduce)


def _of_halves(reduce: _Reduction) -> _Reduction:
    """Squares and sums of halves in float32: 256² is beyond float16, its root is not."""
    return _through(_HALVES, reduce)


def _l1(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    return _over(op.sum, op.abs(data), axes, keep)


def _l2(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    return op.sqrt(_sum_square(c, data, axes, keep))


def _sum_square(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    return _over(op.sum, op.multiply(data, data), axes, keep)


def _log_sum(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    return op.log(_over(op.sum, data, axes, keep))


def _log_sum_exp(c: OnnxContext, data: Any, axes: _Axes, keep: bool) -> Any:
    """log Σ eˣ = m + log Σ e^(x - m) with the largest x as m, so that nothing overflows.

    Of infinities, m is the largest finite number: the difference of two infinities is no number.
    """
    if axes is not None and not axes:
        return data
    end = float(finfo(dtype_of(data)).max)
    largest = op.clip(c.typed(op.max(data, axes, True)), -end, end)
    total = op.sum(op.exp(op.subtract(data, largest)), axes, True)
    result = op.add(op.log(total), largest)
    return result if keep else op.squeeze(result, axes)


def _each(data: Any, axes: _Axes) -> Sequence[int]:
    return range(data.ty.ndim) if axes is None else axes


def _is_float(data: Any) -> bool:
    return "float" in dtype_of(data)


_ALL: Mapping[str, _Reduction] = {
    "ReduceL1": _l1,
    "ReduceL2": _in_floats(_l2),
    "ReduceLogSum": _in_floats(_log_sum),
    "ReduceLogSumExp": _in_floats(_log_sum_exp),
    "ReduceMax": _extreme(op.max),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(op.min),
    "ReduceProd": _plain(op.prod),
    "ReduceSum": _plain(op.sum),
    "ReduceSumSquare": _of_halves(_sum_square),
}

REDUCTIONS: Mapping[tuple[str, str], Converter] = {
    ("", name): _reduction(name, reduce) for name, reduce in _ALL.items()
}
"""(domain, operator) → converter."""
