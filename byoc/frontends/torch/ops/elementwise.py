"""Functions of one value, and bounds, with torch's rules of promotion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["ELEMENTWISE", "clipped"]

R = relax.op


def _unary(function: Callable[[Any], Any]) -> Any:
    """Computed in the result's dtype: whole numbers become floats where torch makes them so."""

    def convert(c: TorchContext, /, self: Any) -> Any:
        return function(c.cast(self, c.dtype))

    return convert


_UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": R.abs, "acos": R.acos, "acosh": R.acosh, "asin": R.asin, "asinh": R.asinh,
    "atan": R.atan, "atanh": R.atanh, "cos": R.cos, "cosh": R.cosh, "erf": R.erf, "exp": R.exp,
    "log": R.log, "neg": R.negative, "relu": R.nn.relu, "rsqrt": R.rsqrt, "sigmoid": R.sigmoid,
    "silu": R.nn.silu, "sin": R.sin, "sinh": R.sinh, "sqrt": R.sqrt, "square": R.square,
    "tan": R.tan, "tanh": R.tanh, "relu6": R.nn.relu6,
}  # fmt: skip
_WHOLE = {"ceil": R.ceil, "floor": R.floor, "trunc": R.trunc, "round": R.round}
"""For whole numbers these do nothing."""


def _of_fractions(function: Callable[[Any], Any]) -> Converter:
    def convert(c: TorchContext, /, self: Any) -> Any:
        return function(self) if c.meta.dtype.is_floating_point else self

    return convert


def round_decimals(c: TorchContext, /, self: Any, decimals: int) -> Any:
    if not c.meta.dtype.is_floating_point:
        raise ValueError("rounding whole numbers to tens is not imported")
    factor = c.const(10.0 ** abs(decimals), c.dtype)
    there, back = (R.multiply, R.divide) if decimals >= 0 else (R.divide, R.multiply)
    return back(c.emit(R.round(c.emit(there(self, factor)))), factor)


def copysign(c: TorchContext, /, self: Any, other: Any) -> Any:
    """|x| with the sign of y; a zero's sign shows in its reciprocal."""
    x, y = c.emit(R.abs(c.cast(self, c.dtype))), c.cast(other, c.dtype)
    zero = c.const(0, c.dtype)
    below = c.emit(R.less(c.emit(R.divide(c.const(1, c.dtype), y)), zero))
    return R.where(c.emit(R.logical_or(c.emit(R.less(y, zero)), below)), R.negative(x), x)


def logical_not(c: TorchContext, /, self: Any) -> Any:
    return R.logical_not(c.cast(self, "bool"))


def isnan(c: TorchContext, /, self: Any) -> Any:
    if "float" in str(self.ty.dtype):
        return R.isnan(self)  # not x != x, which TVM's simplifier takes for false
    return R.full(c.shape, c.const(False, "bool"), "bool")


def isinf(c: TorchContext, /, self: Any) -> Any:
    dtype = str(self.ty.dtype)
    if "float" not in dtype:
        return R.full(c.shape, c.const(False, "bool"), "bool")
    return R.equal(c.emit(R.abs(self)), c.const(np.inf, dtype))


def reciprocal(c: TorchContext, /, self: Any) -> Any:
    return R.divide(c.const(1, c.dtype), c.cast(self, c.dtype))


def sign(c: TorchContext, /, self: Any) -> Any:
    zero, dtype = c.const(0, str(self.ty.dtype)), c.dtype
    up, down = c.emit(R.greater(self, zero)), c.emit(R.less(self, zero))
    return R.subtract(c.cast(up, dtype), c.cast(down, dtype))


def exp2(c: TorchContext, /, self: Any) -> Any:
    return R.exp(c.emit(R.multiply(c.cast(self, c.dtype), c.const(math.log(2), c.dtype))))


def log2(c: TorchContext, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(2), c.dtype))


def log10(c: TorchContext, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(10), c.dtype))


def log1p(c: TorchContext, /, self: Any) -> Any:
    """log(u) · x / (u - 1) with u = 1 + x, exact also near 0 (Kahan)."""
    x, one = c.cast(self, c.dtype), c.const(1, c.dtype)
    u = c.emit(R.add(x, one))
    d = c.emit(R.subtract(u, one))
    tiny = c.emit(R.equal(d, c.const(0, c.dtype)))
    top = c.emit(R.equal(u, c.const(np.inf, c.dtype)))
    whole = c.emit(R.multiply(R.log(u), R.divide(x, c.emit(R.where(tiny, one, d)))))
    return R.where(tiny, x, c.emit(R.where(top, u, whole)))


def expm1(c: TorchContext, /, self: Any) -> Any:
    """2 · sinh(x / 2) · exp(x / 2) near 0, where exp(x) - 1 loses digits."""
    x = c.cast(self, c.dtype)
    half = c.emit(R.multiply(x, c.const(0.5, c.dtype)))
    near = c.emit(R.multiply(c.const(2, c.dtype), R.multiply(R.sinh(half), R.exp(half))))
    far = c.emit(R.subtract(R.exp(x), c.const(1, c.dtype)))
    return R.where(c.emit(R.less(R.abs(x), c.const(0.5, c.dtype))), near, far)


def clipped(c: TorchContext, x: Any, low: Any, high: Any) -> Any:
    """Return the values of a tensor between two bounds.

    Args:
        c: The operator.
        x: The tensor; it becomes one of the operator's dtype.
        low: Least value, a number or a tensor; None for no bound.
        high: Largest value, likewise.
    """
    x = c.cast(x, c.dtype)
    numbers = all(v is None or isinstance(v, (int, float)) for v in (low, high))
    if numbers and "float" in c.dtype and None not in (low, high) and low <= high:
        return R.clip(x, low, high)
    if low is not None:
        x = c.emit(_extreme(c, R.maximum, x, c.cast(low, c.dtype)))
    if high is not None:
        x = _extreme(c, R.minimum, x, c.cast(high, c.dtype))
    return x


def _extreme(c: TorchContext, function: Any, a: Any, b: Any) -> Any:
    if c.dtype == "bool":
        function = R.logical_or if function is R.maximum else R.logical_and
    return function(a, b)


def extreme_of_numbers(c: TorchContext, /, self: Any, other: Any) -> Any:
    """The number, where the other one is none."""
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    function = R.maximum if c.node.target.__name__.startswith("fmax") else R.minimum
    both = c.emit(_extreme(c, function, a, b))
    if "float" not in c.dtype:
        return both
    known = c.emit(R.where(c.emit(R.isnan(b)), a, both))
    return R.where(c.emit(R.isnan(a)), b, known)


def clamp(c: TorchContext, /, self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    return clipped(c, self, min, max)


def maximum(c: TorchContext, /, self: Any, other: Any) -> Any:
    return _extreme(c, R.maximum, c.cast(self, c.dtype), c.cast(other, c.dtype))


def minimum(c: TorchContext, /, self: Any, other: Any) -> Any:
    return _extreme(c, R.minimum, c.cast(self, c.dtype), c.cast(other, c.dtype))


ELEMENTWISE: Mapping[str, Converter] = {
    **{f"{name}.default": _unary(function) for name, function in _UNARY.items()},
    **{f"{name}.default": _of_fractions(function) for name, function in _WHOLE.items()},
    "clamp.Tensor": clamp,
    "clamp.default": clamp,
    "clamp_max.Tensor": clamp,
    "clamp_max.default": clamp,
    "clamp_min.Tensor": clamp,
    "clamp_min.default": clamp,
    "copysign.Scalar": copysign,
    "copysign.Tensor": copysign,
    "exp2.default": exp2,
    "expm1.default": expm1,
    "fmax.default": extreme_of_numbers,
    "fmin.default": extreme_of_numbers,
    "isinf.default": isinf,
    "isnan.default": isnan,
    "log10.default": log10,
    "log1p.default": log1p,
    "log2.default": log2,
    "logical_not.default": logical_not,
    "max.other": maximum,
    "maximum.default": maximum,
    "min.other": minimum,
    "minimum.default": minimum,
    "reciprocal.default": reciprocal,
    "round.decimals": round_decimals,
    "sgn.default": sign,
    "sign.default": sign,
}
"""ATen operator, as "name.overload" → converter."""
