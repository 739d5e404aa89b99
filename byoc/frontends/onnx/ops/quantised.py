"""Converters of operators on quantised tensors, in the form that patterns know: dequantize, op,
quantize.

    QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
      = quantize(conv(dequantize(x), dequantize(w)) + b · sx · sw, sy, zy)

    ConvInteger(x, w, zx, zw) = conv(int32(x) - zx, int32(w) - zw), exact in int32

"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.windows import conv
from byoc.ir.arrays import to_numpy

__all__ = ["QUANTISED"]

op = relax.op


def _flat(value: Any) -> Any:
    """A scale or zero point of one element as a scalar."""
    dims = [int(d) for d in value.ty.shape.values]
    if dims and np.prod(dims) == 1:
        if isinstance(value, GenericConst):
            return const(to_numpy(value.value).reshape(()))
        return op.reshape(value, ())
    if len(dims) > 1:
        raise ValueError(f"scales of shape {dims}; byoc takes one, or one per channel")
    return value


def _dequantize(c: OnnxContext, data: Any, scale: Any, zero: Any, axis: int) -> Any:
    inputs = [c.typed(v) for v in (data, _flat(scale), _flat(zero))]
    return c.typed(c.reading(inputs, {"axis": axis}, 13, 1).stock("DequantizeLinear"))


def _quantize(c: OnnxContext, data: Any, scale: Any, zero: Any) -> Any:
    inputs = [c.typed(v) for v in (data, _flat(scale), _flat(zero))]
    return c.reading(inputs, {"axis": 1}, 13, 1).stock("QuantizeLinear")


def _is_one(value: Any) -> bool:
    return all(int(d) == 1 for d in value.ty.shape.values)


def qlinear_matmul(c: OnnxContext) -> Any:
    """QLinearMatMul 10, 21 in float32, with one scale per tensor, or one per column of b."""
    if any(str(c[i].ty.dtype) != "float32" for i in (1, 4, 6)):
        raise ValueError("its scales are not float32")
    if not _is_one(c[1]):
        raise ValueError("one scale per row of the first factor is not supported")
    a = _dequantize(c, c[0], c[1], c[2], 0)
    b = _dequantize(c, c[3], c[4], c[5], c[3].ty.ndim - 1)
    return _quantize(c, op.matmul(a, b), c[6], c[7])


def qlinear_conv(c: OnnxContext) -> Any:
    """QLinearConv 10."""
    data = _dequantize(c, c[0], c[1], c[2], 1)
    weight = _dequantize(c, c[3], c[4], c[5], 0)
    inputs = [data, weight]
    if c[8] is not None:
        scales = [_flat(c[1]), _flat(c[4])]
        if not all(isinstance(v, GenericConst) for v in (c[8], *scales)):
            raise ValueError("its bias or scales are computed by the model")
        sx, sw, bias = (to_numpy(v.value) for v in (*scales, c[8]))
        inputs.append(const(bias * (sx * sw), np.float32))
    result = conv(c.reading(inputs, opset=11, outputs=1))
    return _quantize(c, result, c[6], c[7])


def _shifted(c: OnnxContext, data: Any, zero: Any, axis: int) -> Any:
    """int32(data) - zero, zeros per element of `axis` where there are several."""
    wide = op.astype(data, "int32")
    if zero is None:
        return c.typed(wide)
    zero = _flat(zero)
    zero = c.typed(op.astype(zero, "int32"))
    if zero.ty.ndim:
        shape = [1] * data.ty.ndim
        shape[axis] = -1
        zero = op.reshape(zero, shape)
    return c.typed(op.subtract(wide, zero))


def matmul_integer(c: OnnxContext) -> Any:
    """MatMulInteger 10."""
    a = _shifted(c, c[0], c[2], c[0].ty.ndim - 2)
    b = _shifted(c, c[1], c[3], c[1].ty.ndim - 1)
    return op.matmul(a, b, out_dtype="int32")


def conv_integer(c: OnnxContext) -> Any:
    """ConvInteger 10; what is padded counts as zero after the shift."""
    data, weight = _shifted(c, c[0], c[2], 1), _shifted(c, c[1], c[3], 0)
    return conv(c.reading([data, weight], opset=11, outputs=1))


def dequantize_linear(c: OnnxContext) -> Any:
    """DequantizeLinear 10 to 25; of blocks along an axis (21) as (x - zero) · scale, with a scale
    for every element; so are floats of 8 bits, of which TVM's op takes none.
    """
    data, scale, zero = c[0], c[1], c[2]
    size = int(c.attrs.get("block_size", 0))
    if not size and "float" not in str(data.ty.dtype):
        return c.stock("DequantizeLinear")
    axis = c.axis(1) if size or scale.ty.ndim else 0
    if size:
        length, count = (int(v.ty.shape.values[axis]) for v in (data, scale))
        if -(-length // size) != count:
            raise RefusedError(f"blocks of {size} of {length} elements, and {count} scales")
    dtype = str(scale.ty.dtype)
    if c.attrs.get("output_dtype"):
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(c.attrs["output_dtype"]))

    def spread(value: Any) -> Any:
        if not size:
            behind = data.ty.ndim - axis - 1
            return c.typed(op.reshape(value, [-1, *[1] * behind])) if value.ty.ndim else value
        wide = c.typed(op.repeat(value, size, axis))
        if size * count == length:
            return wide
        return c.typed(op.strided_slice(wide, [axis], [0], [length]))

    numbers = c.typed(op.astype(data, "float32"))
    if zero is not None:
        numbers = op.subtract(numbers, spread(c.typed(op.astype(zero, "float32"))))
    factors = c.typed(op.astype(scale, "float32"))
    result = c.typed(op.multiply(c.typed(numbers), spread(factors)))
    return result if dtype == "float32" else op.astype(result, dtype)


QUANTISED: Mapping[tuple[str, str], Converter] = {
    ("", "ConvInteger"): conv_integer,
    ("", "DequantizeLinear"): dequantize_linear,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QLinearConv"): qlinear_conv,
    ("", "QLinearMatMul"): qlinear_matmul,
}
"""(domain, operator) → converter."""
