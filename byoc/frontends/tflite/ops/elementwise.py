"""Functions of one or two values, activations, comparisons, casts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.schema import DTYPES

__all__ = ["ELEMENTWISE"]

op = relax.op


def _unary(function: Callable[[Any], Any]) -> Converter:
    return lambda c: function(c.real(0))


def _binary(function: Callable[[Any, Any], Any], options: str = "") -> Converter:
    """options: the class of options that hold a fused activation."""

    def convert(c: TfliteContext) -> Any:
        result = function(c.real(0), c.real(1))
        o = c.options(options) if options else None
        return result if o is None else c.activation(result, o.FusedActivationFunction())

    return convert


def divide(c: TfliteContext) -> Any:
    """DIV; of integers it truncates."""
    o = c.options("DivOptions")
    a, b = c.real(0), c.real(1)
    if "int" in str(c.emit(a).ty.dtype):
        wide = op.divide(op.astype(a, "float64"), op.astype(b, "float64"))
        result = op.astype(op.trunc(wide), str(c.emit(a).ty.dtype))
    else:
        result = op.divide(a, b)
    return result if o is None else c.activation(result, o.FusedActivationFunction())


def clipped(low: float, high: float) -> Converter:
    """min(max(x, low), high)."""
    return lambda c: op.clip(c.real(0), low, high)


def leaky_relu(c: TfliteContext) -> Any:
    """LEAKY_RELU."""
    return op.nn.leakyrelu(c.real(0), float(c.needed("LeakyReluOptions").Alpha()))


def prelu(c: TfliteContext) -> Any:
    """PRELU: max(x, 0) + a · min(x, 0)."""
    data, slope = c.real(0), c.real(1)
    zero = const(0, np.float32)
    return op.add(op.nn.relu(data), op.multiply(slope, op.minimum(data, zero)))


def elu(c: TfliteContext) -> Any:
    """ELU with alpha 1."""
    data, one = c.real(0), const(1, np.float32)
    below = op.subtract(op.exp(op.minimum(data, const(0, np.float32))), one)
    return op.add(op.nn.relu(data), below)


def gelu(c: TfliteContext) -> Any:
    """GELU."""
    o = c.options("GeluOptions")
    approximate = o is not None and o.Approximate()
    return (op.nn.gelu_tanh if approximate else op.nn.gelu)(c.real(0))


def hard_swish(c: TfliteContext) -> Any:
    """HARD_SWISH: x · clip(x / 6 + 1/2, 0, 1)."""
    data = c.real(0)
    line = op.add(op.multiply(data, const(1 / 6, np.float32)), const(0.5, np.float32))
    return op.multiply(data, op.clip(line, 0, 1))


def softmax(c: TfliteContext) -> Any:
    """SOFTMAX over the last dimension, of beta · x."""
    o = c.options("SoftmaxOptions")
    data = c.real(0)
    if o is not None and o.Beta() != 1:
        data = op.multiply(data, const(o.Beta(), np.float32))
    return op.nn.softmax(data, -1)


def l2_normalization(c: TfliteContext) -> Any:
    """L2_NORMALIZATION over the last dimension; a length below 1e-6 counts as that."""
    data = c.real(0)
    length = op.sqrt(op.sum(op.square(data), [-1], keepdims=True))
    result = op.divide(data, op.maximum(length, const(1e-6, np.float32)))
    o = c.options("L2NormOptions")
    return result if o is None else c.activation(result, o.FusedActivationFunction())


def add_n(c: TfliteContext) -> Any:
    """ADD_N."""
    result = c.real(0)
    for i in range(1, len(c)):
        result = op.add(result, c.real(i))
    return result


def squared_difference(c: TfliteContext) -> Any:
    """SQUARED_DIFFERENCE."""
    difference = c.emit(op.subtract(c.real(0), c.real(1)))
    return op.multiply(difference, difference)


def square(c: TfliteContext) -> Any:
    """SQUARE."""
    data = c.real(0)
    return op.multiply(data, data)


def cast(c: TfliteContext) -> Any:
    """CAST, of the stored numbers."""
    target = c.out().dtype
    if target not in DTYPES.values() or c.out().quantisation is not None:
        raise InexpressibleError(f"a cast to {c.out()}")
    return op.astype(c.raw(0), target)


def real(c: TfliteContext) -> Any:
    """QUANTIZE and DEQUANTIZE: what is quantised around them says it all; float16 widens."""
    value, out = c.real(0), c.out()
    if out.quantisation is None and c.tensor(0).quantisation is None:
        return op.astype(value, out.dtype)
    return value


def select(c: TfliteContext) -> Any:
    """SELECT, SELECT_V2; a vector of conditions chooses whole rows in the former."""
    condition = c.raw(0)
    rank, shape = len(c.out().shape), c.shape(0)
    if c.operator.name == "SELECT" and len(shape) == 1 and rank > 1:
        condition = op.reshape(condition, [*shape, *([1] * (rank - 1))])
    return op.where(condition, c.real(1), c.real(2))


def floor_mod(c: TfliteContext) -> Any:
    """FLOOR_MOD: the sign of the divisor."""
    a, b = c.real(0), c.real(1)
    return op.subtract(a, op.multiply(op.floor_divide(a, b), b))


ELEMENTWISE: Mapping[str, Converter] = {
    **{
        name: _unary(function)
        for name, function in {
            "ABS": op.abs,
            "CEIL": op.ceil,
            "COS": op.cos,
            "EXP": op.exp,
            "FLOOR": op.floor,
            "LOG": op.log,
            "LOGICAL_NOT": op.logical_not,
            "LOGISTIC": op.sigmoid,
            "LOG_SOFTMAX": lambda data: op.nn.log_softmax(data, -1),
            "NEG": op.negative,
            "RELU": op.nn.relu,
            "ROUND": op.round,
            "RSQRT": op.rsqrt,
            "SIGN": op.sign,
            "SIN": op.sin,
            "SQRT": op.sqrt,
            "TANH": op.tanh,
        }.items()
    },
    **{
        name: _binary(function)
        for name, function in {
            "ATAN2": op.atan2,
            "BITWISE_XOR": op.bitwise_xor,
            "EQUAL": op.equal,
            "FLOOR_DIV": op.floor_divide,
            "GREATER": op.greater,
            "GREATER_EQUAL": op.greater_equal,
            "LESS": op.less,
            "LESS_EQUAL": op.less_equal,
            "LOGICAL_AND": op.logical_and,
            "LOGICAL_OR": op.logical_or,
            "MAXIMUM": op.maximum,
            "MINIMUM": op.minimum,
            "NOT_EQUAL": op.not_equal,
            "POW": op.power,
            "RIGHT_SHIFT": op.right_shift,
        }.items()
    },
    "ADD": _binary(op.add, "AddOptions"),
    "ADD_N": add_n,
    "CAST": cast,
    "DEQUANTIZE": real,
    "DIV": divide,
    "ELU": elu,
    "FLOOR_MOD": floor_mod,
    "GELU": gelu,
    "HARD_SWISH": hard_swish,
    "L2_NORMALIZATION": l2_normalization,
    "LEAKY_RELU": leaky_relu,
    "MUL": _binary(op.multiply, "MulOptions"),
    "PRELU": prelu,
    "QUANTIZE": real,
    "RELU6": clipped(0, 6),
    "RELU_0_TO_1": clipped(0, 1),
    "RELU_N1_TO_1": clipped(-1, 1),
    "SELECT": select,
    "SELECT_V2": select,
    "SOFTMAX": softmax,
    "SQUARE": square,
    "SQUARED_DIFFERENCE": squared_difference,
    "SUB": _binary(op.subtract, "SubOptions"),
}
