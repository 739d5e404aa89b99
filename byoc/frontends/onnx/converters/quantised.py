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
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    const,
    stock_converter,
)
from byoc.frontends.onnx.converters.windows import conv

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


def _dequantize(bb: Any, data: Any, scale: Any, zero: Any, axis: int) -> Any:
    attrs: Attributes = {"axis": axis}
    inputs = Inputs(bb.normalize(v) for v in (data, _flat(scale), _flat(zero)))
    return bb.normalize(stock_converter("DequantizeLinear")(bb, inputs, attrs, 13, 1))


def _quantize(bb: Any, data: Any, scale: Any, zero: Any) -> Any:
    inputs = Inputs(bb.normalize(v) for v in (data, _flat(scale), _flat(zero)))
    return stock_converter("QuantizeLinear")(bb, inputs, {"axis": 1}, 13, 1)


def _is_one(value: Any) -> bool:
    return all(int(d) == 1 for d in value.ty.shape.values)


def qlinear_matmul(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """QLinearMatMul 10, 21 in float32, with one scale per tensor, or one per column of b."""
    if any(str(x[i].ty.dtype) != "float32" for i in (1, 4, 6)):
        raise ValueError("its scales are not float32")
    if not _is_one(x[1]):
        raise ValueError("one scale per row of the first factor is not supported")
    a = _dequantize(bb, x[0], x[1], x[2], 0)
    b = _dequantize(bb, x[3], x[4], x[5], x[3].ty.ndim - 1)
    return _quantize(bb, op.matmul(a, b), x[6], x[7])


def qlinear_conv(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """QLinearConv 10."""
    data = _dequantize(bb, x[0], x[1], x[2], 1)
    weight = _dequantize(bb, x[3], x[4], x[5], 0)
    inputs = [data, weight]
    if x[8] is not None:
        scales = [_flat(x[1]), _flat(x[4])]
        if not all(isinstance(v, GenericConst) for v in (x[8], *scales)):
            raise ValueError("its bias or scales are computed by the model")
        sx, sw, bias = (to_numpy(v.value) for v in (*scales, x[8]))
        inputs.append(const(bias * (sx * sw), np.float32))
    result = conv(bb, Inputs(inputs), attrs, 11, 1)
    return _quantize(bb, result, x[6], x[7])


def _shifted(bb: Any, data: Any, zero: Any, axis: int) -> Any:
    """int32(data) - zero, zeros per element of `axis` where there are several."""
    wide = op.astype(data, "int32")
    if zero is None:
        return bb.normalize(wide)
    zero = _flat(zero)
    zero = bb.normalize(op.astype(zero, "int32"))
    if zero.ty.ndim:
        shape = [1] * data.ty.ndim
        shape[axis] = -1
        zero = op.reshape(zero, shape)
    return bb.normalize(op.subtract(wide, zero))


def matmul_integer(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """MatMulInteger 10."""
    a = _shifted(bb, x[0], x[2], x[0].ty.ndim - 2)
    b = _shifted(bb, x[1], x[3], x[1].ty.ndim - 1)
    return op.matmul(a, b, out_dtype="int32")


def conv_integer(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """ConvInteger 10; what is padded counts as zero after the shift."""
    data, weight = _shifted(bb, x[0], x[2], 1), _shifted(bb, x[1], x[3], 0)
    return conv(bb, Inputs([data, weight]), attrs, 11, 1)


QUANTISED: Mapping[tuple[str, str], Converter] = {
    ("", "ConvInteger"): conv_integer,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QLinearConv"): qlinear_conv,
    ("", "QLinearMatMul"): qlinear_matmul,
}
"""(domain, operator) → converter."""
