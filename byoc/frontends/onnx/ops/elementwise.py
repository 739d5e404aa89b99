"""Element-wise operators that TVM's importer hides from patterns or reads by newer rules."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import dtype_of, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import number_of
from byoc.ir.arrays import to_numpy

__all__ = ["ELEMENTWISE"]


def clip(c: OnnxContext) -> Any:
    """Clip 1, 6 (bounds as attributes), 11, 12, 13 (as inputs)."""
    low, high = (c.attrs.get("min"), c.attrs.get("max")) if c.opset < 11 else (c[1], c[2])
    data = c[0]
    integer = np.dtype(str(data.ty.dtype)).kind in "iu"
    if all(b is None or isinstance(b, (float, int, GenericConst)) for b in (low, high)):
        bounds = []
        for bound, default in ((low, -math.inf), (high, math.inf)):
            number = bound if isinstance(bound, (float, int)) else number_of(bound, "bound")
            if number is None or math.isnan(number):
                number = default
            bounds.append(number)
        bounds[0] = min(bounds)  # the upper bound is the last word, also when it is the lower one
        if bounds[0] == -math.inf and bounds[1] == math.inf:
            return data
        if not integer:
            return relax.op.clip(data, *map(float, bounds))
        low, high = (None if math.isinf(b) else scalar_like(int(b), data) for b in bounds)
    for bound, op, none in ((low, relax.op.maximum, -math.inf), (high, relax.op.minimum, math.inf)):
        if bound is None:
            continue
        if not integer and not isinstance(bound, GenericConst):  # NaN is no bound
            known = c.emit(relax.op.equal(bound, bound))
            bound = c.emit(relax.op.where(known, bound, scalar_like(none, data)))
        data = c.emit(op(data, bound))
    return data


def _chain(op: Callable[[Any, Any], Any]) -> Converter:
    """Sum, Max, Min 8, 12, 13: a chain of binary ops."""
    return lambda c: functools.reduce(op, c.inputs)


def mean(c: OnnxContext) -> Any:
    """Mean 8, 13: a chain of additions, then a factor."""
    total = functools.reduce(relax.op.add, c.inputs)
    return (
        total
        if len(c.inputs) == 1
        else relax.op.multiply(total, scalar_like(1 / len(c.inputs), c[0]))
    )


def identity(c: OnnxContext) -> Any:
    """Identity, all versions."""
    return c[0]


def dropout(c: OnnxContext) -> Any:
    """Dropout 7, 10, 12, 13, 22 at inference: the identity. The mask is all true, before
    12 all false in ONNX Runtime: what was dropped, not what was kept.
    """
    given = [v for v in (c[1], c[2]) if v is not None]
    constant = all(isinstance(v, GenericConst) for v in given)
    if c[2] is not None and not constant:
        raise RefusedError(
            "whether it trains is computed by the model; byoc needs it as a constant"
        )
    if c[2] is not None and number_of(c[2], "training_mode") and number_of(c[1], "ratio") != 0:
        raise RefusedError(
            "it draws random numbers (training mode); export the model for inference"
        )
    if c.outputs < 2:
        return c[0]
    mask = relax.op.full_like(c[0], relax.const(c.opset >= 12, "bool"), "bool")
    return [c[0], mask if c.opset >= 10 else relax.op.astype(mask, str(c[0].ty.dtype))]


def hard_swish(c: OnnxContext) -> Any:
    """HardSwish 14, 22: x · (clip(x + 3, 0, 6) / 6)."""
    data = c[0]
    gate = relax.op.clip(relax.op.add(data, scalar_like(3, data)), 0, 6)
    return relax.op.multiply(data, relax.op.divide(gate, scalar_like(6, data)))


def thresholded_relu(c: OnnxContext) -> Any:
    """ThresholdedRelu 10, 22: x where it is above alpha, else 0; TVM's is for float32 alone."""
    above = relax.op.greater(c[0], scalar_like(c.attrs.get("alpha", 1.0), c[0]))
    return relax.op.where(above, c[0], scalar_like(0, c[0]))


def swish(c: OnnxContext) -> Any:
    """Swish 24: x · sigmoid(alpha · x)."""
    alpha = c.attrs.get("alpha", 1.0)
    if alpha == 1:
        return relax.op.nn.silu(c[0])
    gate = relax.op.sigmoid(relax.op.multiply(c[0], scalar_like(alpha, c[0])))
    return relax.op.multiply(c[0], gate)


def elu_like(c: OnnxContext) -> Any:
    """Celu 12: max(x, 0) + min(alpha · (exp(x / alpha) - 1), 0)."""
    alpha = scalar_like(c.attrs.get("alpha", 1.0), c[0])
    zero, one = scalar_like(0, c[0]), scalar_like(1, c[0])
    curve = relax.op.subtract(relax.op.exp(relax.op.divide(c[0], alpha)), one)
    return relax.op.add(
        relax.op.nn.relu(c[0]), relax.op.minimum(relax.op.multiply(alpha, curve), zero)
    )


def elu(c: OnnxContext) -> Any:
    """Elu 6, 22: x where it is above 0, else alpha · (exp(x) - 1), of every type."""
    if dtype_of(c[0]) == "float32":
        return c.stock("Elu")
    alpha, zero, one = (scalar_like(v, c[0]) for v in (c.attrs.get("alpha", 1.0), 0, 1))
    curve = relax.op.multiply(
        alpha, relax.op.subtract(relax.op.exp(relax.op.minimum(c[0], zero)), one)
    )
    return relax.op.where(relax.op.greater(c[0], zero), c[0], curve)


def selu(c: OnnxContext) -> Any:
    """Selu 6, 22: gamma · x above 0, else gamma · alpha · (exp(x) - 1), of every type."""
    if dtype_of(c[0]) == "float32":
        return c.stock("Selu")
    gamma = scalar_like(c.attrs.get("gamma", 1.0507009873554805), c[0])
    curve = elu(c.reading(c.inputs, {"alpha": c.attrs.get("alpha", 1.6732632423543772)}))
    return relax.op.multiply(gamma, curve)


def shrink(c: OnnxContext) -> Any:
    """Shrink 9: x + bias below -lambd, else x - bias above lambd, else 0; whole numbers in floats,
    cut at the end.
    """
    data, dtype, bound = c[0], dtype_of(c[0]), c.attrs.get("lambd", 0.5)
    if np.dtype(dtype).kind in "iu":
        data = c.emit(relax.op.astype(data, "float32"))
    bias, zero = scalar_like(c.attrs.get("bias", 0.0), data), scalar_like(0, data)
    below = relax.op.less(data, scalar_like(-bound, data))
    above = relax.op.greater(data, scalar_like(bound, data))
    result = c.emit(relax.op.where(above, relax.op.subtract(data, bias), zero))
    result = c.emit(relax.op.where(below, relax.op.add(data, bias), result))
    return result if dtype_of(data) == dtype else relax.op.astype(result, dtype)


def power(c: OnnxContext) -> Any:
    """Pow 7 to 15; whole numbers to whole powers by squaring, which no rounding touches."""
    base, exponent = c[0], c[1]
    constant = isinstance(base, GenericConst) and isinstance(exponent, GenericConst)
    if constant or not all(isinstance(v.ty, relax.TensorType) for v in (base, exponent)):
        return c.stock("Pow")
    dtype = dtype_of(base)
    if np.dtype(dtype).kind in "iu":
        if np.dtype(dtype_of(exponent)).kind in "iu":
            return _whole_power(c, base, exponent)
        return relax.op.astype(
            relax.op.power(relax.op.astype(base, "float64"), relax.op.astype(exponent, "float64")),
            dtype,
        )
    if dtype_of(exponent) != dtype:
        exponent = relax.op.astype(exponent, dtype)
    return relax.op.power(base, exponent)


def _whole_power(c: OnnxContext, base: Any, exponent: Any) -> Any:
    """b^e of integers, modulo their width: the product of b^(2^i) over the bits i of e.

    Bits beyond the sixth only say that b^e is beyond every width, unless b is 0, 1 or -1, for
    which the parity of e is enough. 1 / b^e is 0, unless b is 1 or -1.
    """
    op = relax.op
    one, zero = scalar_like(1, base), scalar_like(0, base)
    if isinstance(exponent, GenericConst) and to_numpy(exponent.value).size == 1:
        count = int(to_numpy(exponent.value).item())
        if 0 <= count < 64:
            result = None
            for bit in range(count.bit_length()):
                if count >> bit & 1:
                    result = base if result is None else c.emit(op.multiply(result, base))
                if count >> bit > 1:
                    base = c.emit(op.multiply(base, base))
            result = op.full_like(base, one) if result is None else result
            shape = exponent.ty.shape.values
            return op.reshape(result, [*shape]) if len(shape) > base.ty.ndim else result
    if dtype_of(exponent) != "int64":
        exponent = c.emit(op.astype(exponent, "int64"))
    far, odd = relax.const(63, "int64"), op.bitwise_and(exponent, relax.const(1, "int64"))
    small = op.where(op.greater(exponent, far), op.add(relax.const(62, "int64"), odd), exponent)
    small = c.emit(op.where(op.less(exponent, relax.const(0, "int64")), odd, small))
    result, square = one, base
    for bit in range(6):
        taken = op.bitwise_and(small, relax.const(1 << bit, "int64"))
        taken = op.not_equal(taken, relax.const(0, "int64"))
        result = c.emit(op.multiply(result, op.where(taken, square, one)))
        square = c.emit(op.multiply(square, square))
    below = op.logical_and(
        op.less(exponent, relax.const(0, "int64")),
        op.greater(op.multiply(base, base), one),
    )
    return op.where(below, zero, result)


ELEMENTWISE: Mapping[tuple[str, str], Converter] = {
    ("", "Celu"): elu_like,
    ("", "Clip"): clip,
    ("", "Dropout"): dropout,
    ("", "Elu"): elu,
    ("", "HardSwish"): hard_swish,
    ("", "Identity"): identity,
    ("", "Max"): _chain(relax.op.maximum),
    ("", "Mean"): mean,
    ("", "Min"): _chain(relax.op.minimum),
    ("", "Pow"): power,
    ("", "Selu"): selu,
    ("", "Shrink"): shrink,
    ("", "Sum"): _chain(relax.op.add),
    ("", "Swish"): swish,
    ("", "ThresholdedRelu"): thresholded_relu,
}
"""(domain, operator) → converter."""
