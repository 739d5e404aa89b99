"""Element by element: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import axes_of, const, dtype_of, is_const, scalar_like
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import dims, rank
from byoc.frontends.relay.syntax import known_dtype

__all__ = ["ELEMENTWISE"]

op = relax.op


def _unary(function: Any) -> Converter:
    return lambda c, data: function(data)


def _binary(function: Any, commutes: bool = False) -> Converter:
    def convert(c: RelayContext, lhs: Any, rhs: Any) -> Any:
        if commutes and is_const(lhs) and not is_const(rhs) and rank(lhs) <= rank(rhs):
            lhs, rhs = rhs, lhs  # normal form: the constant is the second argument
        return function(lhs, rhs)

    return convert


def clip(c: RelayContext, data: Any, *, a_min: float, a_max: float) -> Any:
    """clip."""
    if np.dtype(dtype_of(data)).kind not in "iu":
        return op.clip(data, float(a_min), float(a_max))
    limits = np.iinfo(dtype_of(data))
    if a_min > limits.min:
        data = op.maximum(data, scalar_like(min(int(a_min), limits.max), data))
    if a_max < limits.max:
        data = op.minimum(c.typed(data), scalar_like(max(int(a_max), limits.min), data))
    return data


def cast(c: RelayContext, data: Any, *, dtype: str) -> Any:
    """cast."""
    to = known_dtype(dtype)
    if to is None:
        raise ValueError(f"byoc has no dtype {dtype!r}")
    if dtype_of(data) == to:
        return data
    return op.not_equal(data, scalar_like(0, data)) if to == "bool" else op.astype(data, to)


def cast_like(c: RelayContext, data: Any, like: Any) -> Any:
    """cast_like."""
    return cast(c, data, dtype=dtype_of(like))


def leaky_relu(c: RelayContext, data: Any, *, alpha: float = 0.25) -> Any:
    """nn.leaky_relu."""
    return op.nn.leakyrelu(data, float(alpha))


def prelu(c: RelayContext, data: Any, alpha: Any, *, axis: int = 1) -> Any:
    """nn.prelu."""
    (axis,) = axes_of(axis, rank(data))
    return op.nn.prelu(data, alpha, axis)


def softmax(c: RelayContext, data: Any, *, axis: int = -1) -> Any:
    """nn.softmax, nn.fast_softmax."""
    axes_of(axis, rank(data))
    return op.nn.softmax(data, int(axis))


def log_softmax(c: RelayContext, data: Any, *, axis: int = -1) -> Any:
    """nn.log_softmax."""
    axes_of(axis, rank(data))
    return op.nn.log_softmax(data, int(axis))


def dropout(c: RelayContext, data: Any, *, rate: float = 0.5) -> Any:
    """nn.dropout at inference: the data, and a mask of ones."""
    return data, op.ones_like(data)


def bias_add(c: RelayContext, data: Any, bias: Any, *, axis: int = 1) -> Any:
    """nn.bias_add; a constant of broadcast shape where it is one."""
    (axis,) = axes_of(axis, rank(data))
    shape = [-1] + [1] * (rank(data) - 1 - axis)
    if rank(bias) != 1:
        raise ValueError(f"its bias has {rank(bias)} dimensions, not 1")
    length = dims(data)[axis]
    if isinstance(length, int) and dims(bias) != [length]:
        raise ValueError(f"a bias of shape {dims(bias)} for {length} channels")
    if len(shape) > 1:
        bias = c.typed(op.reshape(bias, [1] * axis + shape))
    return op.add(data, bias)


def power(c: RelayContext, lhs: Any, rhs: Any) -> Any:
    """power; whole numbers go through float64, as TVM has no such power."""
    dtype = dtype_of(lhs)
    if np.dtype(dtype).kind not in "iu":
        return op.power(lhs, rhs)
    return op.astype(op.power(op.astype(lhs, "float64"), op.astype(rhs, "float64")), dtype)


def where(c: RelayContext, condition: Any, x: Any, y: Any) -> Any:
    """where."""
    if dtype_of(condition) != "bool":
        condition = op.not_equal(condition, scalar_like(0, condition))
    return op.where(condition, x, y)


def trunc_divide(c: RelayContext, lhs: Any, rhs: Any) -> Any:
    """trunc_divide; of whole numbers it is `divide`."""
    divided = op.divide(lhs, rhs)
    return divided if np.dtype(dtype_of(lhs)).kind in "iu" else op.trunc(divided)


def trunc_mod(c: RelayContext, lhs: Any, rhs: Any) -> Any:
    """trunc_mod, mod: the sign of the first argument."""
    return op.subtract(lhs, op.multiply(c.typed(trunc_divide(c, lhs, rhs)), rhs))


def isinf(c: RelayContext, data: Any) -> Any:
    """isinf."""
    return op.isinf(data)


def fixed_point_multiply(c: RelayContext, data: Any, *, multiplier: int, shift: int) -> Any:
    """fixed_point_multiply: round(data · multiplier · 2^(shift-31)), halves upwards."""
    wide = c.typed(op.multiply(op.astype(data, "int64"), const(multiplier, np.int64)))
    right = 31 - int(shift)
    if not 1 <= right <= 62:
        raise ValueError(f"a shift of {shift} is none that byoc reads")
    half = const(1 << (right - 1), np.int64)
    moved = op.right_shift(c.typed(op.add(wide, half)), const(right, np.int64))
    return op.astype(moved, dtype_of(data))


def round_(c: RelayContext, data: Any) -> Any:
    """round: halves away from zero, where Relax rounds them to even."""
    if np.dtype(dtype_of(data)).kind in "iub":
        return data
    whole = c.typed(op.trunc(data))
    far = op.greater_equal(op.abs(op.subtract(data, whole)), scalar_like(0.5, data))
    return op.where(far, op.add(whole, op.sign(data)), whole)


def _elsewhere(c: RelayContext, data: Any, **where: Any) -> Any:
    """What TVM's planning of devices leaves behind: the value itself, byoc places anew."""
    return data


def _same(c: RelayContext, data: Any) -> Any:
    return data


_UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "cos",
    "cosh", "erf", "exp", "floor", "isfinite", "isnan", "log", "logical_not", "negative",
    "ones_like", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
    "trunc", "zeros_like",
)  # fmt: skip

_BINARY = (
    "add", "bitwise_and", "bitwise_or", "bitwise_xor", "divide", "equal", "floor_divide",
    "floor_mod", "greater", "greater_equal", "left_shift", "less", "less_equal", "logical_and",
    "logical_or", "logical_xor", "maximum", "minimum", "multiply", "not_equal", "right_shift",
    "subtract",
)  # fmt: skip

ELEMENTWISE: Mapping[str, Converter] = {
    **{name: _unary(getattr(op, name)) for name in _UNARY},
    **{name: _binary(getattr(op, name), commutes=name in ("add", "multiply")) for name in _BINARY},
    "annotation.cast_hint": lambda c, data, *, dtype="": data,
    "annotation.checkpoint": _same,
    "annotation.compiler_begin": _elsewhere,
    "annotation.compiler_end": _elsewhere,
    "annotation.stop_fusion": _same,
    "atan2": lambda c, lhs, rhs: op.atan2(lhs, rhs),
    "cast": cast,
    "cast_like": cast_like,
    "clip": clip,
    "copy": _same,
    "device_copy": _elsewhere,
    "fast_erf": _unary(op.erf),
    "fast_exp": _unary(op.exp),
    "fast_tanh": _unary(op.tanh),
    "fixed_point_multiply": fixed_point_multiply,
    "isinf": isinf,
    "on_device": _elsewhere,
    "log10": lambda c, data: op.multiply(op.log(data), scalar_like(1 / np.log(10), data)),
    "log2": lambda c, data: op.multiply(op.log(data), scalar_like(1 / np.log(2), data)),
    "mod": trunc_mod,
    "nn.bias_add": bias_add,
    "nn.dropout": dropout,
    "nn.fast_softmax": softmax,
    "nn.leaky_relu": leaky_relu,
    "nn.log_softmax": log_softmax,
    "nn.prelu": prelu,
    "nn.relu": _unary(op.nn.relu),
    "nn.softmax": softmax,
    "power": power,
    "round": round_,
    "trunc_divide": trunc_divide,
    "trunc_mod": trunc_mod,
    "where": where,
}
"""Operator → converter."""
