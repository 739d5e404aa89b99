"""Quantisation itself, and products of integers.

ConvInteger(x, w, zx, zw) = conv(int32(x) - zx, int32(w) - zw), exact in int32
DynamicQuantizeMatMul = DynamicQuantizeLinear, MatMulInteger, Cast, Mul, Add
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import dtype_of, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.scales import is_one, one_or_vector, scale_and_zero
from byoc.frontends.onnx.ops.contrib.signature import taking
from byoc.frontends.onnx.ops.windows import conv

__all__ = ["QUANTISED"]

op = relax.op


def _shifted(c: OnnxContext, data: Any, zero: Any, axis: int) -> Any:
    """int32(data) - zero, zeros per element of `axis` where there are several."""
    wide = op.astype(data, "int32")
    if zero is None:
        return c.typed(wide)
    zero = c.typed(one_or_vector(zero, "its zero point"))
    zero = c.typed(op.astype(zero, "int32"))
    if zero.ty.ndim:
        shape = [1] * data.ty.ndim
        shape[axis] = -1
        zero = op.reshape(zero, shape)
    return c.typed(op.subtract(wide, zero))


def matmul_integer(c: OnnxContext) -> Any:
    """MatMulInteger 10, and MatMulInteger16 1 of ONNX Runtime."""
    a = _shifted(c, c[0], c[2], c[0].ty.ndim - 2)
    b = _shifted(c, c[1], c[3], c[1].ty.ndim - 1)
    return op.matmul(a, b, out_dtype="int32")


def dynamic_quantize_linear(c: OnnxContext) -> Any:
    """DynamicQuantizeLinear 11: uint8 by the range of the data, which is made to hold 0."""
    return list(_by_range(c, c[0]))


def _by_range(c: OnnxContext, data: Any) -> tuple[Any, Any, Any]:
    """The data as uint8, its scale (1 where all of it is 0) and zero point."""
    zero, one, most = (scalar_like(v, data) for v in (0, 1, 255))
    high = c.emit(op.maximum(c.emit(op.max(data)), zero))
    low = c.emit(op.minimum(c.emit(op.min(data)), zero))
    scale = c.emit(op.divide(c.emit(op.subtract(high, low)), most))
    scale = c.emit(op.where(c.emit(op.equal(high, low)), one, scale))
    place = c.emit(op.subtract(zero, c.emit(op.divide(low, scale))))
    place = c.emit(op.round(c.emit(op.clip(place, 0, 255))))
    point = c.emit(op.astype(place, "uint8"))
    return c.emit(op.quantize(data, scale, point, axis=0, out_dtype="uint8")), scale, point


def dynamic_quantize_matmul(c: OnnxContext) -> Any:
    """DynamicQuantizeMatMul 1 of ONNX Runtime."""
    data, scale, point = _by_range(c, c[0])
    return _scaled_product(c, (data, point), (c[1], c[3]), (scale, c[2]), c[4])


def matmul_integer_to_float(c: OnnxContext) -> Any:
    """MatMulIntegerToFloat 1 of ONNX Runtime."""
    return _scaled_product(c, (c[0], c[4]), (c[1], c[5]), (c[2], c[3]), c[6])


def _scaled_product(
    c: OnnxContext, a: tuple[Any, Any], b: tuple[Any, Any], scales: tuple[Any, Any], bias: Any
) -> Any:
    """The product of integers, exact, times both scales, plus a bias."""
    total = matmul_integer(c.reading([a[0], b[0], a[1], b[1]]))
    names = ("a_scale", "b_scale")
    factors = [c.typed(one_or_vector(s, n)) for s, n in zip(scales, names, strict=True)]
    if factors[0].ty.ndim:
        raise ValueError("one scale per row of the first factor is not supported")
    reals = c.emit(op.astype(c.emit(total), dtype_of(factors[0])))
    result = c.emit(op.multiply(reals, c.emit(op.multiply(*factors))))
    return result if bias is None else op.add(result, bias)


def conv_integer(c: OnnxContext) -> Any:
    """ConvInteger 10; what is padded counts as zero after the shift."""
    data, weight = _shifted(c, c[0], c[2], 1), _shifted(c, c[1], c[3], 0)
    return conv(c.reading([data, weight], opset=11, outputs=1))


def quantize_linear(c: OnnxContext) -> Any:
    """QuantizeLinear 10 to 25, and 1 of ONNX Runtime."""
    data, scale, zero = c.inputs[0], c[1], c[2]
    if not c.attrs.get("block_size", 0) and (zero is None or _whole(zero)):
        axis = _axis(c, scale)
        dtype = "uint8" if zero is None else dtype_of(zero)
        scale, known = scale_and_zero(c, data, scale, zero, axis, dtype, "y")
        zero = zero if zero is None else known
    return c.reading([data, scale, zero]).stock("QuantizeLinear")


def _axis(c: OnnxContext, scale: Any) -> int:
    """The axis of several scales; a vector has one."""
    if is_one(scale) or (c[0].ty.ndim < 2 and c.attrs.get("axis", 1) == 1):
        return 0
    return c.axis(1)


def _whole(value: Any) -> bool:
    return dtype_of(value).startswith(("int", "uint"))


def dequantize_linear(c: OnnxContext) -> Any:
    """DequantizeLinear 10 to 25; of blocks along an axis (21) as (x - zero) · scale, with a scale
    for every element; so are floats of 8 bits, of which TVM's op takes none.
    """
    data, scale, zero = c[0], c[1], c[2]
    size = int(c.attrs.get("block_size", 0))
    if not size and _whole(data):
        known = scale_and_zero(c, data, scale, zero, _axis(c, scale), dtype_of(data), "x")
        return c.reading([data, *known]).stock("DequantizeLinear")
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


_SCALED = ("axis", "block_size", "output_dtype", "precision", "saturate")
"""Attributes of QuantizeLinear and DequantizeLinear."""

QUANTISED: Mapping[tuple[str, str], Converter] = {
    ("", "ConvInteger"): conv_integer,
    ("", "DequantizeLinear"): taking(dequantize_linear, "x x_scale x_zero_point?", _SCALED),
    ("", "DynamicQuantizeLinear"): dynamic_quantize_linear,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QuantizeLinear"): taking(quantize_linear, "x y_scale y_zero_point?", _SCALED),
    ("com.microsoft", "DequantizeLinear"): taking(
        lambda c: dequantize_linear(c.reading(c.inputs, opset=21)),
        "x x_scale x_zero_point?",
        ("axis", "block_size"),
    ),
    ("com.microsoft", "DynamicQuantizeMatMul"): taking(
        dynamic_quantize_matmul, "A B b_scale b_zero_point? bias?"
    ),
    ("com.microsoft", "MatMulInteger16"): taking(matmul_integer, "A B"),
    ("com.microsoft", "MatMulIntegerToFloat"): taking(
        matmul_integer_to_float, "A B a_scale b_scale a_zero_point? b_zero_point? bias?"
    ),
    ("com.microsoft", "QuantizeLinear"): taking(
        lambda c: quantize_linear(c.reading(c.inputs, opset=21)),
        "x y_scale y_zero_point?",
        ("axis", "block_size"),
    ),
}
"""(domain, operator) → converter."""
