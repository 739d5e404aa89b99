"""The QNN dialect, in the form that patterns know: dequantize, op, quantize.

    qnn.conv2d(x, w, zx, zw, sx, sw)   an QnnAccumulator: real = conv(dequantize(x), dequantize(w)),
        │                              standing for the int32 tensor real / (sx · sw)
    nn.bias_add(…, b)                  real + b · sx · sw
        │
    qnn.requantize(…, so, zo)          quantize(real, so, zo)

An accumulator, and what `requantize` leaves in int32 until it is clipped and cast, are no Relax
values: they exist while the reader walks. Whoever asks for their integers gets exact ones
(convolutions of integers), or rounds in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, axes_of, const, dtype_of, is_const
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.elementwise import bias_add
from byoc.frontends.relay.ops.helpers import dims, rank
from byoc.frontends.relay.ops.neural import NEURAL, batch_matmul, dense_weight
from byoc.frontends.relay.syntax import known_dtype
from byoc.segment import Array

__all__ = ["AWARE", "QNN", "Lazy", "QnnAccumulator", "Rounded"]

op = relax.op


@dataclass(frozen=True)
class QnnAccumulator:
    """int32 sums of products of quantised numbers.

    Attributes:
        real: What they stand for, a float32 tensor.
        scale: Of one unit, one for all or one for each index of `axis`.
        axis: The dimension along which scales run.
        exact: Makes the int32 tensor.
    """

    real: Any
    scale: Array
    axis: int
    exact: Callable[[], Any]


@dataclass(frozen=True)
class Rounded:
    """`requantize` to a wide integer: quantize(real, scale, zero), clipped to [low, high]."""

    real: Any
    scale: Any
    zero: int
    axis: int
    low: int
    high: int
    dtype: str


Lazy: TypeAlias = "QnnAccumulator | Rounded"


# -- Relax


def _scalars(value: Any, what: str) -> Array:
    """A scale or zero point as an array of no or one dimension."""
    array = array_of(value, what)
    if array.ndim > 1:
        raise ValueError(f"{what} has shape {array.shape}; byoc takes one, or one per channel")
    return array.reshape(()) if array.size == 1 else array


def _zeros(zero: Any, dtype: str) -> Any:
    array = _scalars(zero, "a zero point")
    limits = np.iinfo(dtype)
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
        raise ValueError(f"the zero point {array.tolist()} does not fit {dtype}")
    return const(array, dtype)


def _axis(data: Any, axis: int, scale: Any, zero: Any) -> int:
    """The axis; irrelevant, and often -1, where there is one scale."""
    single = all(array_of(v, "a scale").size == 1 for v in (scale, zero))
    return rank(data) - 1 if single else axes_of(axis, rank(data))[0]


def dequantize_(c: RelayContext, data: Any, scale: Any, zero: Any, axis: int) -> Any:
    """real = (data - zero) · scale."""
    if dtype_of(data) not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise ValueError(f"its data is {dtype_of(data)}, no quantised number")
    wide = "int32" if dtype_of(data) == "int32" else dtype_of(data)
    at = _axis(data, axis, scale, zero)
    return c.typed(op.dequantize(
        data, const(_scalars(scale, "a scale"), np.float32), _zeros(zero, wide), at
    ))  # fmt: skip


def quantize_(c: RelayContext, data: Any, scale: Any, zero: Any, axis: int, dtype: str) -> Any:
    """round(data / scale) + zero, saturated."""
    at = _axis(data, axis, scale, zero)
    return c.typed(op.quantize(
        data, const(_scalars(scale, "a scale"), np.float32), _zeros(zero, dtype), at, dtype
    ))  # fmt: skip


_NARROW = ("int8", "uint8", "int16", "uint16")


def _rounded(c: RelayContext, real: Any, scale: Any, zero: Any, axis: int, dtype: str) -> Any:
    """Quantise to any integer: at once where Relax can, else later."""
    if dtype in _NARROW:
        return quantize_(c, real, scale, zero, axis, dtype)
    limits = np.iinfo(dtype)
    zeros = _scalars(zero, "a zero point")
    if zeros.ndim:
        raise ValueError(f"zero points per channel and a result of {dtype}")
    return Rounded(real, scale, int(zeros), axis, limits.min, limits.max, dtype)


def settle(c: RelayContext, value: Any) -> Any:
    """The integers of a lazy value as a Relax tensor; anything else as it is."""
    if isinstance(value, QnnAccumulator):
        return c.typed(value.exact())
    if isinstance(value, Rounded):
        scale = _scalars(value.scale, "a scale")
        units = c.typed(
            op.round(c.typed(op.divide(value.real, _along(scale, value.real, value.axis))))
        )
        moved = c.typed(op.add(units, const(value.zero, np.float32)))
        inside = c.typed(op.clip(moved, float(value.low), float(min(value.high, 2**31 - 128))))
        return c.typed(op.astype(inside, value.dtype))
    return value


def _along(values: Array, data: Any, axis: int, dtype: Any = np.float32) -> Any:
    """A constant that broadcasts along one axis of `data`."""
    if values.ndim == 0:
        return const(values, dtype)
    shape = [1] * rank(data)
    shape[axes_of(axis, rank(data))[0]] = values.size
    return const(values.reshape(shape), dtype)


# -- operators


def quantize(c: RelayContext, data: Any, scale: Any, zero: Any, *, axis: int = -1,
             out_dtype: str = "int8") -> Any:  # fmt: skip
    """qnn.quantize."""
    to = known_dtype(out_dtype)
    if to is None or np.dtype(to).kind not in "iu":
        raise ValueError(f"out_dtype {out_dtype!r} is no integer")
    return _rounded(c, data, scale, zero, axis, to)


def dequantize(c: RelayContext, data: Any, scale: Any, zero: Any, *, axis: int = -1,
               out_dtype: str = "float32") -> Any:  # fmt: skip
    """qnn.dequantize."""
    if isinstance(data, QnnAccumulator) and _stands(data, scale, zero):
        return data.real
    result = dequantize_(c, settle(c, data), scale, zero, axis)
    to = known_dtype(out_dtype) or "float32"
    return result if to == "float32" else op.astype(result, to)


def _stands(data: QnnAccumulator, scale: Any, zero: Any) -> bool:
    """True when (scale, zero) is what the accumulator's integers mean."""
    given = _scalars(scale, "a scale")
    if _scalars(zero, "a zero point").any() or given.size not in (1, data.scale.size):
        return False
    return bool(np.allclose(given, data.scale, rtol=1e-5, atol=0))


def requantize(
    c: RelayContext,
    data: Any,
    in_scale: Any,
    in_zero: Any,
    out_scale: Any,
    out_zero: Any,
    *,
    axis: int = -1,
    rounding: str = "None",
    compute_dtype: str = "None",
    out_dtype: str = "int8",
) -> Any:
    """qnn.requantize; halves are rounded to even, whatever `rounding` says."""
    to = known_dtype(out_dtype)
    if to is None or np.dtype(to).kind not in "iu":
        raise ValueError(f"out_dtype {out_dtype!r} is no integer")
    if isinstance(data, QnnAccumulator) and _stands(data, in_scale, in_zero):
        real = data.real
    else:
        real = dequantize_(c, settle(c, data), in_scale, in_zero, axis)
    return _rounded(c, real, out_scale, out_zero, axis, to)


def _integers(c: RelayContext, data: Any, zero: Any, axis: int = 0) -> Any:
    """int32(data) - zero."""
    wide = c.typed(op.astype(data, "int32"))
    zeros = _scalars(zero, "a zero point")
    if not zeros.any():
        return wide
    return c.typed(op.subtract(wide, _along(zeros, data, axis, np.int32)))


def _product(name: str, kernel: str, data: str) -> Converter:
    """qnn.conv2d, qnn.conv2d_transpose: the float operator on real numbers."""
    float_op = NEURAL[name]

    def convert(c: RelayContext, x: Any, weight: Any, x_zero: Any, w_zero: Any, x_scale: Any,
                w_scale: Any, *, data_layout: str = data, kernel_layout: str = kernel,
                out_dtype: str = "int32", **attrs: Any) -> Any:  # fmt: skip
        attrs |= {"data_layout": data_layout, "kernel_layout": kernel_layout}
        out = kernel_layout.index("O")
        real = c.typed(float_op(
            c,
            dequantize_(c, x, x_scale, x_zero, -1),
            dequantize_(c, weight, w_scale, w_zero, out),
            **attrs,
        ))  # fmt: skip
        scale = _scalars(x_scale, "a scale") * _scalars(w_scale, "a scale")

        def exact() -> Any:
            wide = (_integers(c, x, x_zero), _integers(c, weight, w_zero, out))
            return float_op(c, *wide, **attrs)

        return QnnAccumulator(real, scale, data_layout.index("C"), exact)

    return convert


def dense(
    c: RelayContext,
    x: Any,
    weight: Any,
    x_zero: Any,
    w_zero: Any,
    x_scale: Any,
    w_scale: Any,
    *,
    units: Any = None,
    out_dtype: str = "int32",
) -> Any:
    """qnn.dense."""
    flat = c.typed(dense_weight(weight, units))
    real = op.matmul(dequantize_(c, x, x_scale, x_zero, -1),
                     dequantize_(c, flat, w_scale, w_zero, 1))  # fmt: skip
    scale = _scalars(x_scale, "a scale") * _scalars(w_scale, "a scale")

    def exact() -> Any:
        return op.matmul(_integers(c, x, x_zero), _integers(c, flat, w_zero, 1), "int32")

    return QnnAccumulator(c.typed(real), scale, rank(x) - 1, exact)


def matmul(c: RelayContext, x: Any, y: Any, x_zero: Any, y_zero: Any, x_scale: Any, y_scale: Any,
           *, transpose_a: Any = False, transpose_b: Any = True,
           out_dtype: str = "int32") -> Any:  # fmt: skip
    """qnn.batch_matmul."""
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    real = batch_matmul(c, dequantize_(c, x, x_scale, x_zero, -1),
                        dequantize_(c, y, y_scale, y_zero, -1), **flags)  # fmt: skip
    scale = _scalars(x_scale, "a scale") * _scalars(y_scale, "a scale")

    def exact() -> Any:
        return batch_matmul(c, _integers(c, x, x_zero), _integers(c, y, y_zero), **flags)

    return QnnAccumulator(c.typed(real), scale, 0, exact)


def _binary(function: Any) -> Converter:
    """qnn.add, subtract, mul."""

    def convert(c: RelayContext, lhs: Any, rhs: Any, ls: Any, lz: Any, rs: Any, rz: Any, scale: Any,
                zero: Any, *, lhs_axis: int = -1, rhs_axis: int = -1) -> Any:  # fmt: skip
        real = function(
            dequantize_(c, lhs, ls, lz, lhs_axis), dequantize_(c, rhs, rs, rz, rhs_axis)
        )
        return quantize_(c, c.typed(real), scale, zero, -1, dtype_of(lhs))

    return convert


def _unary(function: Any) -> Converter:
    """qnn.sigmoid and its like."""

    def convert(
        c: RelayContext, x: Any, scale: Any, zero: Any, out_scale: Any, out_zero: Any
    ) -> Any:
        real = c.typed(function(dequantize_(c, x, scale, zero, -1)))
        return quantize_(c, real, out_scale, out_zero, -1, dtype_of(x))

    return convert


def leaky_relu(c: RelayContext, x: Any, scale: Any, zero: Any, out_scale: Any, out_zero: Any, *,
               alpha: float) -> Any:  # fmt: skip
    """qnn.leaky_relu."""
    real = c.typed(op.nn.leakyrelu(dequantize_(c, x, scale, zero, -1), float(alpha)))
    return quantize_(c, real, out_scale, out_zero, -1, dtype_of(x))


def softmax(c: RelayContext, x: Any, scale: Any, zero: Any, out_scale: Any, out_zero: Any, *,
            axis: int = -1) -> Any:  # fmt: skip
    """qnn.softmax."""
    axes_of(axis, rank(x))
    real = c.typed(op.nn.softmax(dequantize_(c, x, scale, zero, -1), int(axis)))
    return quantize_(c, real, out_scale, out_zero, -1, dtype_of(x))


def avg_pool2d(c: RelayContext, x: Any, scale: Any, zero: Any, out_scale: Any, out_zero: Any,
               **attrs: Any) -> Any:  # fmt: skip
    """qnn.avg_pool2d."""
    real = c.typed(NEURAL["nn.avg_pool2d"](c, dequantize_(c, x, scale, zero, -1), **attrs))
    return quantize_(c, real, out_scale, out_zero, -1, dtype_of(x))


def concatenate(c: RelayContext, data: Any, scales: Any, zeros: Any, scale: Any, zero: Any, *,
                axis: int = 0) -> Any:  # fmt: skip
    """qnn.concatenate."""
    if not len(data) == len(scales) == len(zeros):
        raise ValueError(f"{len(data)} tensors, {len(scales)} scales, {len(zeros)} zero points")
    (at,) = axes_of(axis, rank(data[0]))
    parts = [dequantize_(c, *three, -1) for three in zip(data, scales, zeros, strict=True)]
    return quantize_(c, c.typed(op.concat(parts, at)), scale, zero, -1, dtype_of(data[0]))


# -- what other operators make of lazy values; None: settle it first


def _bias(c: RelayContext, data: Any, bias: Any, axis: int) -> Any:
    if not isinstance(data, QnnAccumulator) or not is_const(bias) or dtype_of(bias) != "int32":
        return None
    units = array_of(bias, "a bias")
    (at,) = axes_of(axis, rank(data.real))
    if data.scale.ndim and at != axes_of(data.axis, rank(data.real))[0]:
        return None
    real = bias_add(c, data.real, const(units * data.scale, np.float32), axis=at)
    exact = data.exact
    return replace(
        data,
        real=c.typed(real),
        exact=lambda: bias_add(c, c.typed(exact()), bias, axis=at),
    )


def _aware_bias_add(c: RelayContext, data: Any, bias: Any, *, axis: int = 1) -> Any:
    return _bias(c, data, bias, axis) if rank(bias) == 1 else None


def _aware_add(c: RelayContext, lhs: Any, rhs: Any) -> Any:
    """A bias as [C, 1, 1], or along the last axis."""
    if not isinstance(lhs, QnnAccumulator) or not is_const(rhs):
        return None
    shape = dims(rhs)
    long = [i for i, d in enumerate(shape) if d != 1]
    if len(long) != 1:
        return None
    flat = const(array_of(rhs, "a bias").reshape(-1))
    return _bias(c, lhs, flat, long[0] - len(shape))


def _aware_clip(c: RelayContext, data: Any, *, a_min: float, a_max: float) -> Any:
    if not isinstance(data, Rounded):
        return None
    return replace(data, low=max(data.low, int(a_min)), high=min(data.high, int(a_max)))


def _aware_cast(c: RelayContext, data: Any, *, dtype: str) -> Any:
    """The end of requantize, clip, cast: clip in real numbers, then quantise."""
    to = known_dtype(dtype)
    if not isinstance(data, Rounded) or to not in _NARROW:
        return None
    limits = np.iinfo(to)
    if data.low < limits.min or data.high > limits.max or data.low > data.high:
        return None
    real, scale = data.real, _scalars(data.scale, "a scale")
    if (data.low, data.high) != (limits.min, limits.max):
        if scale.ndim:
            return None
        step = np.float32(scale)
        if data.low == data.zero and data.high == limits.max:  # the grid saturates above
            real = c.typed(op.nn.relu(real))
        else:
            low, high = ((bound - data.zero) * step for bound in (data.low, data.high))
            real = c.typed(op.clip(real, float(low), float(high)))
    return quantize_(c, real, data.scale, const(data.zero, np.int32), data.axis, to)


def _reshaping(name: str) -> Callable[..., Any]:
    """Operators that move a Rounded value's numbers, one scale for all."""

    def convert(c: RelayContext, data: Any, **attrs: Any) -> Any:
        if not isinstance(data, Rounded) or _scalars(data.scale, "a scale").ndim:
            return None
        from byoc.frontends.relay.ops.transforms import TRANSFORMS

        return replace(data, real=c.typed(TRANSFORMS[name](c, data.real, **attrs)), axis=-1)

    return convert


AWARE: Mapping[str, Callable[..., Any]] = {
    "add": _aware_add,
    "cast": _aware_cast,
    "clip": _aware_clip,
    "nn.bias_add": _aware_bias_add,
    "qnn.dequantize": dequantize,
    "qnn.requantize": requantize,
    "reshape": _reshaping("reshape"),
    "transpose": _reshaping("transpose"),
}
"""Operator → converter that may take lazy values."""

QNN: Mapping[str, Converter] = {
    "qnn.add": _binary(op.add),
    "qnn.avg_pool2d": avg_pool2d,
    "qnn.batch_matmul": matmul,
    "qnn.concatenate": concatenate,
    "qnn.conv2d": _product("nn.conv2d", "OIHW", "NCHW"),
    "qnn.conv2d_transpose": _product("nn.conv2d_transpose", "IOHW", "NCHW"),
    "qnn.dense": dense,
    "qnn.dequantize": dequantize,
    "qnn.erf": _unary(op.erf),
    "qnn.exp": _unary(op.exp),
    "qnn.hardswish": _unary(
        lambda x: op.multiply(x, op.divide(op.clip(op.add(x, const(3, np.float32)), 0, 6),
                                           const(6, np.float32)))),
    "qnn.leaky_relu": leaky_relu,
    "qnn.log": _unary(op.log),
    "qnn.mul": _binary(op.multiply),
    "qnn.quantize": quantize,
    "qnn.requantize": requantize,
    "qnn.rsqrt": _unary(op.rsqrt),
    "qnn.sigmoid": _unary(op.sigmoid),
    "qnn.softmax": softmax,
    "qnn.sqrt": _unary(op.sqrt),
    "qnn.subtract": _binary(op.subtract),
    "qnn.tanh": _unary(op.tanh),
}  # fmt: skip
"""Operator → converter."""
