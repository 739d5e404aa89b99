"""Arithmetic of two values or more, with torch's rules of promotion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext, is_tensor

__all__ = ["ARITHMETIC"]

R = relax.op


def _scaled(c: TorchContext, x: Any, alpha: Any) -> Any:
    x = c.cast(x, c.dtype)
    return x if alpha == 1 else c.emit(R.multiply(x, _factor(c, alpha, x)))


def _factor(c: TorchContext, value: Any, x: Any) -> Any:
    """A number to multiply x by. Zero is a vector: TVM takes x · 0 for 0, also where x is NaN."""
    if isinstance(value, (int, float)) and value == 0 and "float" in c.dtype and x.ty.ndim:
        return c.const(np.zeros(1), c.dtype)
    return c.cast(value, c.dtype)


def add(c: TorchContext, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.dtype == "bool":
        added = c.cast(other, "bool") if alpha else c.const(False, "bool")
        return R.logical_or(c.cast(self, "bool"), added)
    return R.add(c.cast(self, c.dtype), _scaled(c, other, alpha))


def sub(c: TorchContext, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(self, c.dtype), _scaled(c, other, alpha))


def rsub(c: TorchContext, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(other, c.dtype), _scaled(c, self, alpha))


def mul(c: TorchContext, /, self: Any, other: Any) -> Any:
    if c.dtype == "bool":
        return R.logical_and(c.cast(self, "bool"), c.cast(other, "bool"))
    x = c.cast(self, c.dtype)
    return R.multiply(x, _factor(c, other, x))


def div(c: TorchContext, /, self: Any, other: Any) -> Any:
    return R.divide(c.cast(self, c.dtype), c.cast(other, c.dtype))


def div_mode(c: TorchContext, /, self: Any, other: Any, rounding_mode: str | None = "floor") -> Any:
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


def _floor_quotient(c: TorchContext, a: Any, b: Any, quotient: Any) -> Any:
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


def _remainder_of_trunc(c: TorchContext, a: Any, b: Any) -> Any:
    """C's fmod."""
    return R.mod(a, b)


def remainder(c: TorchContext, /, self: Any, other: Any) -> Any:
    """Of floats the exact remainder of C, and once more the divisor where the signs differ."""
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    if "int" in c.dtype:
        return R.floor_mod(a, b)
    zero, rest = c.const(0, c.dtype), c.emit(_remainder_of_trunc(c, a, b))
    apart = c.emit(R.logical_xor(R.less(rest, zero), R.less(b, zero)))
    apart = c.emit(R.logical_and(apart, R.not_equal(rest, zero)))
    return R.where(apart, c.emit(R.add(rest, b)), rest)


def fmod(c: TorchContext, /, self: Any, other: Any) -> Any:
    return _remainder_of_trunc(c, c.cast(self, c.dtype), c.cast(other, c.dtype))


def power(c: TorchContext, /, self: Any, exponent: Any) -> Any:
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


def addcmul(c: TorchContext, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    product = c.emit(mul(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, product, value))


def addcdiv(c: TorchContext, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    quotient = c.emit(div(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, quotient, value))


def lerp(c: TorchContext, /, self: Any, end: Any, weight: Any) -> Any:
    step = c.emit(R.multiply(c.cast(weight, c.dtype), c.emit(R.subtract(end, self))))
    return R.add(self, step)


def atan2(c: TorchContext, /, self: Any, other: Any) -> Any:
    return R.atan2(c.cast(self, c.dtype), c.cast(other, c.dtype))


ARITHMETIC: Mapping[str, Converter] = {
    "add.Scalar": add,
    "add.Tensor": add,
    "addcdiv.default": addcdiv,
    "addcmul.default": addcmul,
    "atan2.default": atan2,
    "div.Scalar": div,
    "div.Scalar_mode": div_mode,
    "div.Tensor": div,
    "div.Tensor_mode": div_mode,
    "floor_divide.Scalar": div_mode,
    "floor_divide.default": div_mode,
    "fmod.Scalar": fmod,
    "fmod.Tensor": fmod,
    "lerp.Scalar": lerp,
    "lerp.Tensor": lerp,
    "mul.Scalar": mul,
    "mul.Tensor": mul,
    "pow.Scalar": power,
    "pow.Tensor_Scalar": power,
    "pow.Tensor_Tensor": power,
    "remainder.Scalar": remainder,
    "remainder.Scalar_Tensor": remainder,
    "remainder.Tensor": remainder,
    "rsub.Scalar": rsub,
    "rsub.Tensor": rsub,
    "sub.Scalar": sub,
    "sub.Tensor": sub,
}
"""ATen operator, as "name.overload" → converter."""
