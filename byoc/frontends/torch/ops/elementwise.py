"""Operators that work element by element, with torch's rules of promotion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import Context, is_tensor

__all__ = ["ELEMENTWISE", "clipped", "log1p"]

R = relax.op


def _unary(function: Callable[[Any], Any]) -> Any:
    """Computed in the result's dtype: whole numbers become floats where torch makes them so."""

    def convert(c: Context, /, self: Any) -> Any:
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
    def convert(c: Context, /, self: Any) -> Any:
        return function(self) if c.meta.dtype.is_floating_point else self

    return convert


def round_decimals(c: Context, /, self: Any, decimals: int) -> Any:
    if not c.meta.dtype.is_floating_point:
        raise ValueError("rounding whole numbers to tens is not imported")
    factor = c.const(10.0 ** abs(decimals), c.dtype)
    there, back = (R.multiply, R.divide) if decimals >= 0 else (R.divide, R.multiply)
    return back(c.emit(R.round(c.emit(there(self, factor)))), factor)


def copysign(c: Context, /, self: Any, other: Any) -> Any:
    """|x| with the sign of y; a zero's sign shows in its reciprocal."""
    x, y = c.emit(R.abs(c.cast(self, c.dtype))), c.cast(other, c.dtype)
    zero = c.const(0, c.dtype)
    below = c.emit(R.less(c.emit(R.divide(c.const(1, c.dtype), y)), zero))
    return R.where(c.emit(R.logical_or(c.emit(R.less(y, zero)), below)), R.negative(x), x)


def logical_not(c: Context, /, self: Any) -> Any:
    return R.logical_not(c.cast(self, "bool"))


def isnan(c: Context, /, self: Any) -> Any:
    if "float" in str(self.ty.dtype):
        return R.isnan(self)  # not x != x, which TVM's simplifier takes for false
    return R.full(c.shape, c.const(False, "bool"), "bool")


def isinf(c: Context, /, self: Any) -> Any:
    dtype = str(self.ty.dtype)
    if "float" not in dtype:
        return R.full(c.shape, c.const(False, "bool"), "bool")
    return R.equal(c.emit(R.abs(self)), c.const(np.inf, dtype))


def reciprocal(c: Context, /, self: Any) -> Any:
    return R.divide(c.const(1, c.dtype), c.cast(self, c.dtype))


def sign(c: Context, /, self: Any) -> Any:
    zero, dtype = c.const(0, str(self.ty.dtype)), c.dtype
    up, down = c.emit(R.greater(self, zero)), c.emit(R.less(self, zero))
    return R.subtract(c.cast(up, dtype), c.cast(down, dtype))


def exp2(c: Context, /, self: Any) -> Any:
    return R.exp(c.emit(R.multiply(c.cast(self, c.dtype), c.const(math.log(2), c.dtype))))


def log2(c: Context, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(2), c.dtype))


def log10(c: Context, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(10), c.dtype))


def log1p(c: Context, /, self: Any) -> Any:
    """log(u) · x / (u - 1) with u = 1 + x, exact also near 0 (Kahan)."""
    x, one = c.cast(self, c.dtype), c.const(1, c.dtype)
    u = c.emit(R.add(x, one))
    d = c.emit(R.subtract(u, one))
    tiny = c.emit(R.equal(d, c.const(0, c.dtype)))
    top = c.emit(R.equal(u, c.const(np.inf, c.dtype)))
    whole = c.emit(R.multiply(R.log(u), R.divide(x, c.emit(R.where(tiny, one, d)))))
    return R.where(tiny, x, c.emit(R.where(top, u, whole)))


def expm1(c: Context, /, self: Any) -> Any:
    """2 · sinh(x / 2) · exp(x / 2) near 0, where exp(x) - 1 loses digits."""
    x = c.cast(self, c.dtype)
    half = c.emit(R.multiply(x, c.const(0.5, c.dtype)))
    near = c.emit(R.multiply(c.const(2, c.dtype), R.multiply(R.sinh(half), R.exp(half))))
    far = c.emit(R.subtract(R.exp(x), c.const(1, c.dtype)))
    return R.where(c.emit(R.less(R.abs(x), c.const(0.5, c.dtype))), near, far)


def clipped(c: Context, x: Any, low: Any, high: Any) -> Any:
    """The values between two bounds, each a number, a tensor or None for no bound."""
    x = c.cast(x, c.dtype)
    numbers = all(v is None or isinstance(v, (int, float)) for v in (low, high))
    if numbers and "float" in c.dtype and None not in (low, high) and low <= high:
        return R.clip(x, low, high)
    if low is not None:
        x = c.emit(_extreme(c, R.maximum, x, c.cast(low, c.dtype)))
    if high is not None:
        x = _extreme(c, R.minimum, x, c.cast(high, c.dtype))
    return x


def _extreme(c: Context, function: Any, a: Any, b: Any) -> Any:
    if c.dtype == "bool":
        function = R.logical_or if function is R.maximum else R.logical_and
    return function(a, b)


def extreme_of_numbers(c: Context, /, self: Any, other: Any) -> Any:
    """The number, where the other one is none."""
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    function = R.maximum if c.node.target.__name__.startswith("fmax") else R.minimum
    both = c.emit(_extreme(c, function, a, b))
    if "float" not in c.dtype:
        return both
    known = c.emit(R.where(c.emit(R.isnan(b)), a, both))
    return R.where(c.emit(R.isnan(a)), b, known)


def clamp(c: Context, /, self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    return clipped(c, self, min, max)


def maximum(c: Context, /, self: Any, other: Any) -> Any:
    return _extreme(c, R.maximum, c.cast(self, c.dtype), c.cast(other, c.dtype))


def minimum(c: Context, /, self: Any, other: Any) -> Any:
    return _extreme(c, R.minimum, c.cast(self, c.dtype), c.cast(other, c.dtype))


# -- arithmetic


def _scaled(c: Context, x: Any, alpha: Any) -> Any:
    x = c.cast(x, c.dtype)
    return x if alpha == 1 else c.emit(R.multiply(x, _factor(c, alpha, x)))


def _factor(c: Context, value: Any, x: Any) -> Any:
    """A number to multiply x by. Zero is a vector: TVM takes x · 0 for 0, also where x is NaN."""
    if isinstance(value, (int, float)) and value == 0 and "float" in c.dtype and x.ty.ndim:
        return c.const(np.zeros(1), c.dtype)
    return c.cast(value, c.dtype)


def add(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.dtype == "bool":
        added = c.cast(other, "bool") if alpha else c.const(False, "bool")
        return R.logical_or(c.cast(self, "bool"), added)
    return R.add(c.cast(self, c.dtype), _scaled(c, other, alpha))


def sub(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(self, c.dtype), _scaled(c, other, alpha))


def rsub(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(other, c.dtype), _scaled(c, self, alpha))


def mul(c: Context, /, self: Any, other: Any) -> Any:
    if c.dtype == "bool":
        return R.logical_and(c.cast(self, "bool"), c.cast(other, "bool"))
    x = c.cast(self, c.dtype)
    return R.multiply(x, _factor(c, other, x))


def div(c: Context, /, self: Any, other: Any) -> Any:
    return R.divide(c.cast(self, c.dtype), c.cast(other, c.dtype))


def div_mode(c: Context, /, self: Any, other: Any, rounding_mode: str | None = "floor") -> Any:
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    if rounding_mode is None:
        return R.divide(a, b)
    if "int" not in c.dtype:
        quotient = c.emit(R.divide(a, b))
        if rounding_mode == "trunc":
            return R.trunc(quotient)
        return _floor_quotient(c, a, b, quotient)
    down = c.emit(R.floor_divide(a, b))
    if rounding_mode == "floor" or c.dtype.startswith("u"):
        return down
    rest = c.emit(R.subtract(a, R.multiply(down, b)))
    zero = c.const(0, c.dtype)
    inexact = c.emit(R.not_equal(rest, zero))
    negative = c.emit(R.logical_xor(R.less(a, zero), R.less(b, zero)))
    return R.add(down, c.cast(c.emit(R.logical_and(inexact, negative)), c.dtype))


def _floor_quotient(c: Context, a: Any, b: Any, quotient: Any) -> Any:
    """floor(a / b) as Python's ``//`` has it: from the exact remainder, not the quotient."""
    zero, one = c.const(0, c.dtype), c.const(1, c.dtype)
    rest = c.emit(_remainder_of_trunc(c, a, b))
    whole = c.emit(R.divide(R.subtract(a, rest), b))
    apart = c.emit(R.logical_and(R.not_equal(rest, zero), R.logical_xor(
        R.less(rest, zero), R.less(b, zero))))  # fmt: skip
    whole = c.emit(R.where(apart, c.emit(R.subtract(whole, one)), whole))
    near = c.emit(R.floor(R.add(whole, c.const(0.5, c.dtype))))
    infinite = c.emit(R.equal(b, zero))
    return R.where(infinite, quotient, near)


def _remainder_of_trunc(c: Context, a: Any, b: Any) -> Any:
    """C's fmod."""
    return R.mod(a, b)


def remainder(c: Context, /, self: Any, other: Any) -> Any:
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    return R.floor_mod(a, b)


def fmod(c: Context, /, self: Any, other: Any) -> Any:
    return _remainder_of_trunc(c, c.cast(self, c.dtype), c.cast(other, c.dtype))


def power(c: Context, /, self: Any, exponent: Any) -> Any:
    if isinstance(exponent, (int, float)) and is_tensor(self):
        x = c.cast(self, c.dtype)
        if exponent == 1:
            return x
        if exponent == 2:
            return R.multiply(x, x)
        if exponent == 3:
            return R.multiply(x, c.emit(R.multiply(x, x)))
        if "float" in c.dtype and exponent == 0.5:
            return R.sqrt(x)
        if "float" in c.dtype and exponent == -0.5:
            return R.rsqrt(x)
        if "float" in c.dtype and exponent == -1:
            return R.divide(c.const(1, c.dtype), x)
    if "float" not in c.dtype:
        raise ValueError(f"whole numbers ({c.dtype}) to a power have no counterpart in TVM")
    return R.power(c.cast(self, c.dtype), c.cast(exponent, c.dtype))


def addcmul(c: Context, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    product = c.emit(mul(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, product, value))


def addcdiv(c: Context, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    quotient = c.emit(div(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, quotient, value))


def lerp(c: Context, /, self: Any, end: Any, weight: Any) -> Any:
    step = c.emit(R.multiply(c.cast(weight, c.dtype), c.emit(R.subtract(end, self))))
    return R.add(self, step)


def atan2(c: Context, /, self: Any, other: Any) -> Any:
    return R.atan2(c.cast(self, c.dtype), c.cast(other, c.dtype))


# -- comparisons and logic


def _compare(function: Any) -> Any:
    def convert(c: Context, /, self: Any, other: Any) -> Any:
        dtype = c.result_type("self", "other")
        if dtype == "bool":
            dtype = "int8"
        return function(c.cast(self, dtype), c.cast(other, dtype))

    return convert


_COMPARISONS = {
    "eq": R.equal, "ne": R.not_equal, "lt": R.less, "le": R.less_equal, "gt": R.greater,
    "ge": R.greater_equal,
}  # fmt: skip


def _logical(function: Any) -> Any:
    def convert(c: Context, /, self: Any, other: Any) -> Any:
        return function(c.cast(self, "bool"), c.cast(other, "bool"))

    return convert


_LOGICAL = {
    "logical_and": R.logical_and, "logical_or": R.logical_or, "logical_xor": R.logical_xor,
}  # fmt: skip


def _bitwise(on_bool: Any, function: Any) -> Any:
    def convert(c: Context, /, self: Any, other: Any) -> Any:
        use = on_bool if c.dtype == "bool" else function
        return use(c.cast(self, c.dtype), c.cast(other, c.dtype))

    return convert


_BITWISE = {
    "and": (R.logical_and, R.bitwise_and), "or": (R.logical_or, R.bitwise_or),
    "xor": (R.logical_xor, R.bitwise_xor),
}  # fmt: skip
"""Operator → (of bools, of whole numbers)."""


def bitwise_not(c: Context, /, self: Any) -> Any:
    return R.logical_not(self) if c.dtype == "bool" else R.bitwise_not(self)


def where(c: Context, /, condition: Any, self: Any, other: Any) -> Any:
    return R.where(c.cast(condition, "bool"), c.cast(self, c.dtype), c.cast(other, c.dtype))


def masked_fill(c: Context, /, self: Any, mask: Any, value: Any) -> Any:
    return R.where(c.cast(mask, "bool"), c.cast(value, c.dtype), self)


ELEMENTWISE: Mapping[str, Converter] = {
    **{f"{name}.default": _unary(function) for name, function in _UNARY.items()},
    **{f"{name}.default": _of_fractions(function) for name, function in _WHOLE.items()},
    **{
        f"{name}.{overload}": _compare(function)
        for name, function in _COMPARISONS.items()
        for overload in ("Tensor", "Scalar")
    },
    **{f"{name}.default": _logical(function) for name, function in _LOGICAL.items()},
    **{
        f"{name}.{overload}": _bitwise(*functions)
        for kind, functions in _BITWISE.items()
        for name in (f"bitwise_{kind}", f"__{kind}__")
        for overload in ("Tensor", "Scalar", "Scalar_Tensor")
    },
    "add.Scalar": add,
    "add.Tensor": add,
    "addcdiv.default": addcdiv,
    "addcmul.default": addcmul,
    "atan2.default": atan2,
    "bitwise_not.default": bitwise_not,
    "clamp.Tensor": clamp,
    "clamp.default": clamp,
    "clamp_max.Tensor": clamp,
    "clamp_max.default": clamp,
    "clamp_min.Tensor": clamp,
    "clamp_min.default": clamp,
    "copysign.Scalar": copysign,
    "copysign.Tensor": copysign,
    "div.Scalar": div,
    "div.Scalar_mode": div_mode,
    "div.Tensor": div,
    "div.Tensor_mode": div_mode,
    "exp2.default": exp2,
    "expm1.default": expm1,
    "floor_divide.Scalar": div_mode,
    "floor_divide.default": div_mode,
    "fmax.default": extreme_of_numbers,
    "fmin.default": extreme_of_numbers,
    "fmod.Scalar": fmod,
    "fmod.Tensor": fmod,
    "isinf.default": isinf,
    "isnan.default": isnan,
    "lerp.Scalar": lerp,
    "lerp.Tensor": lerp,
    "log10.default": log10,
    "log1p.default": log1p,
    "log2.default": log2,
    "logical_not.default": logical_not,
    "masked_fill.Scalar": masked_fill,
    "masked_fill.Tensor": masked_fill,
    "max.other": maximum,
    "maximum.default": maximum,
    "min.other": minimum,
    "minimum.default": minimum,
    "mul.Scalar": mul,
    "mul.Tensor": mul,
    "pow.Scalar": power,
    "pow.Tensor_Scalar": power,
    "pow.Tensor_Tensor": power,
    "reciprocal.default": reciprocal,
    "remainder.Scalar": remainder,
    "remainder.Scalar_Tensor": remainder,
    "remainder.Tensor": remainder,
    "round.decimals": round_decimals,
    "rsub.Scalar": rsub,
    "rsub.Tensor": rsub,
    "sgn.default": sign,
    "sign.default": sign,
    "sub.Scalar": sub,
    "sub.Tensor": sub,
    "where.Scalar": where,
    "where.ScalarOther": where,
    "where.ScalarSelf": where,
    "where.self": where,
}
"""ATen operator, as "name.overload" → converter."""
