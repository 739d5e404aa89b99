"""Converters of element-wise, cumulative and choosing operators that TVM lacks or gets wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import axes_of, const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import number_of, text_of
from byoc.ir.arrays import to_numpy

__all__ = ["NUMERIC"]

op = relax.op


def _is_float(value: Any) -> bool:
    return "float" in dtype_of(value)


def _only_tensors(*values: Any) -> bool:
    return all(isinstance(v.ty, relax.TensorType) for v in values)


def is_inf(c: OnnxContext) -> Any:
    """IsInf 10, 20: of one sign, when asked for."""
    above, below = c.attrs.get("detect_positive", 1), c.attrs.get("detect_negative", 1)
    data = c[0]
    if dtype_of(data).startswith("float8"):
        raise ValueError(f"{dtype_of(data)} has no infinity that TVM knows")
    if above and below:
        return op.isinf(data)
    if not above and not below:
        return op.full_like(data, relax.const(False, "bool"), "bool")
    return op.equal(data, scalar_like(float("inf") if above else -float("inf"), data))


def mod(c: OnnxContext) -> Any:
    """Mod 10, 13: the sign of the divisor, or (fmod) of the dividend."""
    a, b = c[0], c[1]
    if not _only_tensors(a, b) or all(isinstance(v, GenericConst) for v in (a, b)):
        return c.stock("Mod")
    fmod = bool(c.attrs.get("fmod", 0))
    if not _is_float(a):
        rest = op.floor_mod(a, b)
        if not fmod or dtype_of(a).startswith("uint"):
            return rest
        zero = scalar_like(0, a)
        wrong = op.logical_xor(op.less(a, zero), op.less(b, zero))
        wrong = op.logical_and(wrong, op.not_equal(rest, zero))
        return op.where(wrong, op.subtract(rest, b), rest)
    rest = c.emit(op.mod(a, b))  # C's fmod, which is exact: no a - floor(a / b) · b is
    if fmod:
        return rest
    zero = scalar_like(0, a)
    differ = op.logical_xor(op.less(rest, zero), op.less(b, zero))
    return op.where(op.logical_and(op.not_equal(rest, zero), differ), op.add(rest, b), rest)


def mish(c: OnnxContext) -> Any:
    """Mish 18, 22: x · tanh(log(1 + e^x)) = x · n / (n + 2) with n = e^x (e^x + 2)."""
    data = c[0]
    largest = 5.0 if dtype_of(data) == "float16" else 20.0  # beyond it the factor rounds to 1
    power = op.exp(op.minimum(data, scalar_like(largest, data)))
    two = scalar_like(2, data)
    n = op.multiply(power, op.add(power, two))
    return op.multiply(data, op.divide(n, op.add(n, two)))


def softplus(c: OnnxContext) -> Any:
    """Softplus 1, 22; above the threshold, which ONNX has not, it is its operand in any dtype."""
    return op.nn.softplus(c[0], 1.0, 40.0)


def prelu(c: OnnxContext) -> Any:
    """PRelu 7, 9, 16: the slope is broadcast to the data; the channels' when it is a vector that
    fits nothing else, as exporters write it.
    """
    data, slope = c[0], c[1]
    zero = scalar_like(0, data)
    dims, own = list(data.ty.shape.values), list(slope.ty.shape.values)
    if len(own) == 1 and not is_int(own[0]) and len(dims) > 1 and not _same(own[0], dims[-1]):
        if not _same(own[0], dims[1]):
            raise ValueError(
                "whether its slope is one of each channel is known only at run time; give its "
                f"length ({own[0]}) the name, or the number, of the axis it belongs to"
            )
        slope = c.emit(op.reshape(slope, [own[0]] + [1] * (len(dims) - 2)))
    elif len(own) == 1 and len(dims) > 1 and int(own[0]) != 1 and not _same(own[0], dims[-1]):
        if not _same(own[0], dims[1]):
            raise ValueError(f"the slope {own} does not fit {dims}")
        shape = [int(own[0])] + [1] * (len(dims) - 2)
        if isinstance(slope, GenericConst):
            slope = const(to_numpy(slope.value).reshape(shape))
        else:
            slope = op.reshape(slope, shape)
    elif len(own) == 1 and isinstance(slope, GenericConst) and int(own[0]) == 1:
        alpha = to_numpy(slope.value).item()
        if 0 <= alpha <= 1:
            return op.nn.leakyrelu(data, float(alpha))
    return op.where(op.less(data, zero), op.multiply(data, slope), data)


def _same(a: Any, b: Any) -> bool:
    try:
        return int(a) == int(b)
    except TypeError:
        return bool(a.same_as(b))


def lp_normalization(c: OnnxContext) -> Any:
    """LpNormalization 1, 22: x / norm, 0 where the norm is 0 (22)."""
    data, p = c[0], c.attrs.get("p", 2)
    axis = c.axis(-1)
    if p == 1:
        norm = op.sum(op.abs(data), axis, keepdims=True)
    elif p == 2:
        norm = op.sqrt(op.sum(op.square(data), axis, keepdims=True))
    else:
        raise ValueError(f"p={p} is not 1 or 2")
    zero = scalar_like(0, data)
    safe = op.where(op.equal(norm, zero), scalar_like(1, data), norm)
    return op.divide(data, safe)


def cumulative(name: str) -> Converter:
    """CumSum 11, 14; CumProd 26. An axis that the model computes picks one result of all axes'."""
    function = op.cumsum if name == "CumSum" else op.cumprod

    def convert(c: OnnxContext) -> Any:
        data = c[0]
        exclusive, reverse = bool(c.attrs.get("exclusive", 0)), bool(c.attrs.get("reverse", 0))

        def along(axis: int) -> Any:
            turned = c.emit(op.flip(data, axis)) if reverse else data
            result = c.emit(function(turned, axis, dtype_of(data), exclusive))
            return c.emit(op.flip(result, axis)) if reverse else result

        if c[1] is None or isinstance(c[1], GenericConst):
            (axis,) = axes_of([int(number_of(c[1], "axis") or 0)], data.ty.ndim)
            return along(axis)
        places = const(np.arange(data.ty.ndim), np.int64)  # the lookup refuses what is no axis
        chosen = c.emit(op.take(places, c.emit(op.reshape(c[1], [1])), 0, mode="wrap"))
        result = along(0)
        for axis in range(1, data.ty.ndim):
            here = c.emit(op.equal(chosen, const(np.array([axis]), np.int64)))
            result = c.emit(op.where(here, along(axis), result))
        return result

    return convert


def of_something(name: str, why: str) -> Converter:
    """ArgMax, ArgMin 1 to 13: TVM's, unless it is known to look through nothing."""

    def convert(c: OnnxContext) -> Any:
        shape = getattr(c[0].ty, "shape", None)
        if shape is not None and _same(shape.values[c.attrs.get("axis", 0)], 0):
            raise RefusedError(why)
        return c.stock(name)

    return convert


def space_to_depth(c: OnnxContext) -> Any:
    """SpaceToDepth 1, 13, 27 (mode): blocks to channels, the block's or the channels' first."""
    data, size = c[0], int(c.attrs["blocksize"])
    mode = text_of(c.attrs.get("mode"), "DCR")
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode {mode!r} is not DCR or CRD")
    n, depth, h, w = data.ty.shape.values
    split = op.reshape(data, [n, depth, h // size, size, w // size, size])
    order = [0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]
    return op.reshape(op.permute_dims(split, order), [n, depth * size * size, h // size, w // size])


def eye_like(c: OnnxContext) -> Any:
    """EyeLike 9, 22 over a known shape: a constant."""
    rows, columns = (int(d) for d in c[0].ty.shape.values)
    dtype = dtype_of(c[0])
    if "dtype" in c.attrs:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(c.attrs["dtype"]))
    return const(np.eye(rows, columns, int(c.attrs.get("k", 0))), dtype)


def top_k(c: OnnxContext) -> Any:
    """TopK 1 (attribute), 10, 11, 24 (input): TVM's, for a k that is not too large."""
    inputs = c.inputs if c.opset >= 10 else [c[0], const([c.attrs["k"]], np.int64)]
    k = c.attrs.get("k") if c.opset < 10 else number_of(c[1], "k")
    axis = c.axis(-1)
    shape = c[0].ty.shape
    if k is not None and shape is not None and is_int(shape[axis]):
        length = int(shape[axis])
        if not 0 <= int(k) <= length:
            raise RefusedError(f"it takes the {int(k)} largest of {length} elements")
    return c.reading(inputs, opset=11).stock("TopK")


_NONE_TO_CHOOSE = "it looks for the largest or smallest of no elements: there is none"

NUMERIC: Mapping[tuple[str, str], Converter] = {
    ("", "ArgMax"): of_something("ArgMax", _NONE_TO_CHOOSE),
    ("", "ArgMin"): of_something("ArgMin", _NONE_TO_CHOOSE),
    ("", "CumProd"): cumulative("CumProd"),
    ("", "CumSum"): cumulative("CumSum"),
    ("", "EyeLike"): eye_like,
    ("", "IsInf"): is_inf,
    ("", "LpNormalization"): lp_normalization,
    ("", "Mish"): mish,
    ("", "Softplus"): softplus,
    ("", "Mod"): mod,
    ("", "PRelu"): prelu,
    ("", "SpaceToDepth"): space_to_depth,
    ("", "TopK"): top_k,
}
"""(domain, operator) → converter."""
