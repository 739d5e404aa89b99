"""Operators that work element by element, with torch's rules of promotion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.torch.context import Context, is_tensor
from byoc.frontends.torch.registry import TABLE, op

__all__: list[str] = []

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
    "tan": R.tan, "tanh": R.tanh, "bitwise_not": R.bitwise_not, "relu6": R.nn.relu6,
}  # fmt: skip
for _name, _function in _UNARY.items():
    TABLE[f"{_name}.default"] = _unary(_function)

# For whole numbers these do nothing.
_WHOLE = {"ceil": R.ceil, "floor": R.floor, "trunc": R.trunc, "round": R.round}
for _name, _function in _WHOLE.items():

    def _whole(c: Context, /, self: Any, _function: Any = _function) -> Any:
        return _function(self) if c.meta.dtype.is_floating_point else self

    TABLE[f"{_name}.default"] = _whole


@op("round.decimals")
def round_decimals(c: Context, /, self: Any, decimals: int) -> Any:
    if not c.meta.dtype.is_floating_point:
        raise ValueError("rounding whole numbers to tens is not imported")
    factor = c.const(10.0 ** abs(decimals), c.dtype)
    there, back = (R.multiply, R.divide) if decimals >= 0 else (R.divide, R.multiply)
    return back(c.emit(R.round(c.emit(there(self, factor)))), factor)


@op("copysign.Tensor", "copysign.Scalar")
def copysign(c: Context, /, self: Any, other: Any) -> Any:
    """|x| with the sign of y; a zero's sign shows in its reciprocal."""
    x, y = c.emit(R.abs(c.cast(self, c.dtype))), c.cast(other, c.dtype)
    zero = c.const(0, c.dtype)
    below = c.emit(R.less(c.emit(R.divide(c.const(1, c.dtype), y)), zero))
    return R.where(c.emit(R.logical_or(c.emit(R.less(y, zero)), below)), R.negative(x), x)


@op("logical_not.default")
def logical_not(c: Context, /, self: Any) -> Any:
    return R.logical_not(c.cast(self, "bool"))


@op("isnan.default")
def isnan(c: Context, /, self: Any) -> Any:
    if "float" in str(self.ty.dtype):
        return R.isnan(self)  # not x != x, which TVM's simplifier takes for false
    return R.full(c.shape, c.const(False, "bool"), "bool")


@op("isinf.default")
def isinf(c: Context, /, self: Any) -> Any:
    dtype = str(self.ty.dtype)
    if "float" not in dtype:
        return R.full(c.shape, c.const(False, "bool"), "bool")
    return R.equal(c.emit(R.abs(self)), c.const(np.inf, dtype))


@op("reciprocal.default")
def reciprocal(c: Context, /, self: Any) -> Any:
    return R.divide(c.const(1, c.dtype), c.cast(self, c.dtype))


@op("sign.default", "sgn.default")
def sign(c: Context, /, self: Any) -> Any:
    zero, dtype = c.const(0, str(self.ty.dtype)), c.dtype
    up, down = c.emit(R.greater(self, zero)), c.emit(R.less(self, zero))
    return R.subtract(c.cast(up, dtype), c.cast(down, dtype))


@op("exp2.default")
def exp2(c: Context, /, self: Any) -> Any:
    return R.exp(c.emit(R.multiply(c.cast(self, c.dtype), c.const(math.log(2), c.dtype))))


@op("log2.default")
def log2(c: Context, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(2), c.dtype))


@op("log10.default")
def log10(c: Context, /, self: Any) -> Any:
    return R.multiply(c.emit(R.log(c.cast(self, c.dtype))), c.const(1 / math.log(10), c.dtype))


@op("log1p.default")
def log1p(c: Context, /, self: Any) -> Any:
    """log(u) · x / (u - 1) with u = 1 + x, exact also near 0 (Kahan)."""
    x, one = c.cast(self, c.dtype), c.const(1, c.dtype)
    u = c.emit(R.add(x, one))
    d = c.emit(R.subtract(u, one))
    tiny = c.emit(R.equal(d, c.const(0, c.dtype)))
    top = c.emit(R.equal(u, c.const(np.inf, c.dtype)))
    whole = c.emit(R.multiply(R.log(u), R.divide(x, c.emit(R.where(tiny, one, d)))))
    return R.where(tiny, x, c.emit(R.where(top, u, whole)))


@op("expm1.default")
def expm1(c: Context, /, self: Any) -> Any:
    """2 · sinh(x / 2) · exp(x / 2) near 0, where exp(x) - 1 loses digits."""
    x = c.cast(self, c.dtype)
    half = c.emit(R.multiply(x, c.const(0.5, c.dtype)))
    near = c.emit(R.multiply(c.const(2, c.dtype), R.multiply(R.sinh(half), R.exp(half))))
    far = c.emit(R.subtract(R.exp(x), c.const(1, c.dtype)))
    return R.where(c.emit(R.less(R.abs(x), c.const(0.5, c.dtype))), near, far)


# -- activations


@op("gelu.default")
def gelu(c: Context, /, self: Any, approximate: str) -> Any:
    return R.nn.gelu(self) if approximate == "none" else R.nn.gelu_tanh(self)


@op("hardsigmoid.default")
def hardsigmoid(c: Context, /, self: Any) -> Any:
    sixth = R.multiply(self, c.const(1 / 6, c.dtype))
    return R.clip(c.emit(R.add(sixth, c.const(0.5, c.dtype))), 0, 1)


@op("hardswish.default")
def hardswish(c: Context, /, self: Any) -> Any:
    return R.multiply(self, c.emit(hardsigmoid(c, self)))


@op("hardtanh.default")
def hardtanh(c: Context, /, self: Any, min_val: Any, max_val: Any) -> Any:
    return _clip(c, self, min_val, max_val)


@op("leaky_relu.default")
def leaky_relu(c: Context, /, self: Any, negative_slope: float) -> Any:
    return R.nn.leakyrelu(self, float(negative_slope))


@op("elu.default")
def elu(c: Context, /, self: Any, alpha: float, scale: float, input_scale: float) -> Any:
    zero = c.const(0, c.dtype)
    low = c.emit(R.minimum(self, zero))
    low = c.emit(R.multiply(low, c.const(input_scale, c.dtype)))
    low = c.emit(R.subtract(R.exp(low), c.const(1, c.dtype)))
    low = c.emit(R.multiply(low, c.const(alpha * scale, c.dtype)))
    high = c.emit(R.multiply(c.emit(R.maximum(self, zero)), c.const(scale, c.dtype)))
    return R.add(high, low)


@op("celu.default")
def celu(c: Context, /, self: Any, alpha: float) -> Any:
    return elu(c, self, alpha, 1.0, 1.0 / alpha)


@op("selu.default")
def selu(c: Context, /, self: Any) -> Any:
    return elu(c, self, 1.6732632423543772, 1.0507009873554805, 1.0)


@op("softplus.default")
def softplus(c: Context, /, self: Any, beta: float, threshold: float) -> Any:
    """max(y, 0) + log(1 + exp(-|y|)), y = beta · x, divided by beta; x above the threshold."""
    y = c.emit(R.multiply(self, c.const(beta, c.dtype)))
    tail = c.emit(R.exp(R.negative(R.abs(y))))
    soft = c.emit(R.add(R.maximum(y, c.const(0, c.dtype)), c.emit(log1p(c, tail))))
    soft = c.emit(R.multiply(soft, c.const(1 / beta, c.dtype)))
    return R.where(c.emit(R.greater(y, c.const(threshold, c.dtype))), self, soft)


@op("log_sigmoid.default", "log_sigmoid_forward.default")
def log_sigmoid(c: Context, /, self: Any) -> Any:
    dtype = str(self.ty.dtype)
    tail = c.emit(R.exp(R.negative(R.abs(self))))
    result = c.emit(R.subtract(R.minimum(self, c.const(0, dtype)), c.emit(log1p(c, tail))))
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


@op("mish.default")
def mish(c: Context, /, self: Any) -> Any:
    return R.multiply(self, R.tanh(c.emit(softplus(c, self, 1.0, 20.0))))


@op("prelu.default", "_prelu_kernel.default")
def prelu(c: Context, /, self: Any, weight: Any) -> Any:
    rank = self.ty.ndim
    if weight.ty.ndim == 1:
        shape = [1] * rank
        if rank > 1:
            shape[1] = c.dims(weight)[0]
        weight = c.emit(R.reshape(weight, shape if rank else [1]))
    zero = c.const(0, c.dtype)
    low = c.emit(R.multiply(weight, c.emit(R.minimum(self, zero))))
    return R.add(c.emit(R.maximum(self, zero)), low)


@op("_softmax.default")
def softmax(c: Context, /, self: Any, dim: int, half_to_float: bool) -> Any:
    return _along(c, R.nn.softmax, c.cast(self, c.dtype), dim)


def _along(c: Context, function: Any, x: Any, dim: int) -> Any:
    """A function along an axis; scalars have one of length 1."""
    if x.ty.ndim:
        return function(x, dim)
    return R.reshape(c.emit(function(c.emit(R.reshape(x, [1])), 0)), [])


@op("softmax.int", "_safe_softmax.default")
def softmax_int(c: Context, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    result = _along(c, R.nn.softmax, x, dim)
    if c.node.target.__name__.startswith("softmax"):
        return result
    hidden = c.emit(R.equal(x, c.const(-np.inf, c.dtype)))
    all_hidden = c.emit(R.min(c.emit(R.astype(hidden, "int32")), [dim], keepdims=True))
    none = c.emit(R.not_equal(all_hidden, c.const(0, "int32")))
    return R.where(none, c.const(0, c.dtype), c.emit(result))


@op("_log_softmax.default")
def log_softmax(c: Context, /, self: Any, dim: int, half_to_float: bool) -> Any:
    return _along(c, R.nn.log_softmax, c.cast(self, c.dtype), dim)


@op("log_softmax.int")
def log_softmax_int(c: Context, /, self: Any, dim: int, dtype: Any) -> Any:
    return _along(c, R.nn.log_softmax, c.cast(self, c.dtype), dim)


@op("native_dropout.default", "dropout.default")
def dropout(c: Context, /, input: Any, p: float, train: Any) -> Any:  # noqa: A002
    if train and p:
        raise ValueError("dropout in training mode is random; call .eval() on the model")
    if isinstance(c.meta, (tuple, list)):
        return input, R.full(c.dims(input), c.const(True, "bool"), "bool")
    return input


# -- bounds


def _clip(c: Context, x: Any, low: Any, high: Any) -> Any:
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


@op("fmax.default", "fmin.default")
def extreme_of_numbers(c: Context, /, self: Any, other: Any) -> Any:
    """The number, where the other one is none."""
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    function = R.maximum if c.node.target.__name__.startswith("fmax") else R.minimum
    both = c.emit(_extreme(c, function, a, b))
    if "float" not in c.dtype:
        return both
    known = c.emit(R.where(c.emit(R.isnan(b)), a, both))
    return R.where(c.emit(R.isnan(a)), b, known)


@op("clamp.default", "clamp.Tensor", "clamp_min.default", "clamp_min.Tensor", "clamp_max.default",
    "clamp_max.Tensor")  # fmt: skip
def clamp(c: Context, /, self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    return _clip(c, self, min, max)


@op("maximum.default", "max.other")
def maximum(c: Context, /, self: Any, other: Any) -> Any:
    return _extreme(c, R.maximum, c.cast(self, c.dtype), c.cast(other, c.dtype))


@op("minimum.default", "min.other")
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


@op("add.Tensor", "add.Scalar")
def add(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.dtype == "bool":
        added = c.cast(other, "bool") if alpha else c.const(False, "bool")
        return R.logical_or(c.cast(self, "bool"), added)
    return R.add(c.cast(self, c.dtype), _scaled(c, other, alpha))


@op("sub.Tensor", "sub.Scalar")
def sub(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(self, c.dtype), _scaled(c, other, alpha))


@op("rsub.Tensor", "rsub.Scalar")
def rsub(c: Context, /, self: Any, other: Any, alpha: Any = 1) -> Any:
    return R.subtract(c.cast(other, c.dtype), _scaled(c, self, alpha))


@op("mul.Tensor", "mul.Scalar")
def mul(c: Context, /, self: Any, other: Any) -> Any:
    if c.dtype == "bool":
        return R.logical_and(c.cast(self, "bool"), c.cast(other, "bool"))
    x = c.cast(self, c.dtype)
    return R.multiply(x, _factor(c, other, x))


@op("div.Tensor", "div.Scalar")
def div(c: Context, /, self: Any, other: Any) -> Any:
    return R.divide(c.cast(self, c.dtype), c.cast(other, c.dtype))


@op("div.Tensor_mode", "div.Scalar_mode", "floor_divide.default", "floor_divide.Scalar")
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


@op("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
def remainder(c: Context, /, self: Any, other: Any) -> Any:
    a, b = c.cast(self, c.dtype), c.cast(other, c.dtype)
    return R.floor_mod(a, b)


@op("fmod.Tensor", "fmod.Scalar")
def fmod(c: Context, /, self: Any, other: Any) -> Any:
    return _remainder_of_trunc(c, c.cast(self, c.dtype), c.cast(other, c.dtype))


@op("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")
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


@op("addcmul.default")
def addcmul(c: Context, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    product = c.emit(mul(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, product, value))


@op("addcdiv.default")
def addcdiv(c: Context, /, self: Any, tensor1: Any, tensor2: Any, value: Any) -> Any:
    quotient = c.emit(div(c, tensor1, tensor2))
    return R.add(c.cast(self, c.dtype), _scaled(c, quotient, value))


@op("lerp.Scalar", "lerp.Tensor")
def lerp(c: Context, /, self: Any, end: Any, weight: Any) -> Any:
    step = c.emit(R.multiply(c.cast(weight, c.dtype), c.emit(R.subtract(end, self))))
    return R.add(self, step)


@op("atan2.default")
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


for _name, _compared in {
    "eq": R.equal, "ne": R.not_equal, "lt": R.less, "le": R.less_equal, "gt": R.greater,
    "ge": R.greater_equal,
}.items():  # fmt: skip
    TABLE[f"{_name}.Tensor"] = TABLE[f"{_name}.Scalar"] = _compare(_compared)


def _logical(function: Any) -> Any:
    def convert(c: Context, /, self: Any, other: Any) -> Any:
        return function(c.cast(self, "bool"), c.cast(other, "bool"))

    return convert


for _name, _logic in {
    "logical_and": R.logical_and, "logical_or": R.logical_or, "logical_xor": R.logical_xor,
}.items():  # fmt: skip
    TABLE[f"{_name}.default"] = _logical(_logic)


def _bitwise(on_bool: Any, function: Any) -> Any:
    def convert(c: Context, /, self: Any, other: Any) -> Any:
        use = on_bool if c.dtype == "bool" else function
        return use(c.cast(self, c.dtype), c.cast(other, c.dtype))

    return convert


for _name, _pair in {
    "and": (R.logical_and, R.bitwise_and), "or": (R.logical_or, R.bitwise_or),
    "xor": (R.logical_xor, R.bitwise_xor),
}.items():  # fmt: skip
    for _spelled in (f"bitwise_{_name}", f"__{_name}__"):
        for _overload in ("Tensor", "Scalar", "Scalar_Tensor"):
            TABLE[f"{_spelled}.{_overload}"] = _bitwise(*_pair)


@op("bitwise_not.bool")
def bitwise_not(c: Context, /, self: Any) -> Any:
    return R.logical_not(self) if c.dtype == "bool" else R.bitwise_not(self)


TABLE["bitwise_not.default"] = TABLE.pop("bitwise_not.bool")


@op("where.self", "where.Scalar", "where.ScalarSelf", "where.ScalarOther")
def where(c: Context, /, condition: Any, self: Any, other: Any) -> Any:
    return R.where(c.cast(condition, "bool"), c.cast(self, c.dtype), c.cast(other, c.dtype))


@op("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(c: Context, /, self: Any, mask: Any, value: Any) -> Any:
    return R.where(c.cast(mask, "bool"), c.cast(value, c.dtype), self)
