"""Operators that read and write integers (ONNX's QLinear*, those of ONNX Runtime's "QOperator"
format), in the form that patterns know: dequantize, op, quantize.

    QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
      = quantize(conv(dequantize(x), dequantize(w)) + b · sx · sw, sy, zy)

ONNX Runtime rounds once, after a sum of integers or a float function of one integer; so do we. It
multiplies by a quotient of scales where we divide by the last one, so a result may differ by one
where the real lies between two integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, const, dtype_of
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.scales import constant_scale, dequantized, is_one, quantized
from byoc.frontends.onnx.ops.contrib.signature import taking
from byoc.frontends.onnx.ops.windows import WINDOWS, conv

__all__ = ["QOPERATOR"]

op = relax.op

_MICROSOFT = "com.microsoft"
_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def qlinear_matmul(c: OnnxContext) -> Any:
    """QLinearMatMul 10, 21 in float32, with one scale per tensor, or one per column of b.

    Scales of float16 and bfloat16 (21) are float32 as they are.
    """
    inputs = list(c.inputs)
    for i in (1, 4, 6):
        if dtype_of(inputs[i]) != "float32":
            inputs[i] = _widened(c, inputs[i])
    c = c.reading(inputs)
    if not is_one(c[1]):
        raise ValueError("one scale per row of the first factor is not supported")
    a = dequantized(c, c[0], c[1], c[2], "a")
    b = dequantized(c, c[3], c[4], c[5], "b", c[3].ty.ndim - 1)
    return quantized(c, op.matmul(a, b), c[6], c[7], dtype_of(c[0]), "y")


def _widened(c: OnnxContext, scale: Any) -> Any:
    """A scale as float32."""
    if isinstance(scale, GenericConst):
        return const(array_of(scale, "its scale"), np.float32)
    return c.emit(op.astype(scale, "float32"))


def qlinear_conv(c: OnnxContext) -> Any:
    """QLinearConv 10, and ONNX Runtime's with channels last."""
    last = bool(c.attrs.pop("channels_last", 0))
    inputs = [
        dequantized(c, _first(c, c[0], last), c[1], c[2], "x", 1),
        dequantized(c, c[3], c[4], c[5], "w"),
    ]
    if c[8] is not None:
        sx, sw = (constant_scale(c[i], "its scale") for i in (1, 4))
        inputs.append(const(array_of(c[8], "its bias") * (sx * sw), np.float32))
    result = c.typed(conv(c.reading(inputs, opset=11, outputs=1)))
    return _back(c, quantized(c, result, c[6], c[7], dtype_of(c[0]), "y"), last)


def _first(c: OnnxContext, data: Any, last: bool) -> Any:
    """Channels on axis 1, where they are on the last one."""
    rank = data.ty.ndim
    return c.typed(op.permute_dims(data, [0, rank - 1, *range(1, rank - 1)])) if last else data


def _back(c: OnnxContext, data: Any, last: bool) -> Any:
    """Channels on the last axis again."""
    rank = c.typed(data).ty.ndim
    return op.permute_dims(c.typed(data), [0, *range(2, rank), 1]) if last else data


def _binary(apply: Callable[[Any, Any], Any]) -> Converter:
    """QLinearAdd, QLinearMul 1."""

    def convert(c: OnnxContext) -> Any:
        a, b = dequantized(c, c[0], c[1], c[2], "A"), dequantized(c, c[3], c[4], c[5], "B")
        return quantized(c, apply(a, b), c[6], c[7], dtype_of(c[0]), "C")

    return taking(convert, "A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?")


def _unary(apply: Callable[[OnnxContext, Any], Any], attributes: Sequence[str] = ()) -> Converter:
    """A function of one tensor: X, its scale and zero point, those of Y."""

    def convert(c: OnnxContext) -> Any:
        reals = dequantized(c, c[0], c[1], c[2], "X")
        return quantized(c, apply(c, reals), c[3], c[4], dtype_of(c[0]), "Y")

    return taking(convert, "X X_scale X_zero_point? Y_scale Y_zero_point?", attributes)


def _softmax(c: OnnxContext, reals: Any) -> Any:
    """Over one axis; before opset 13 over all from that axis on."""
    if "opset" not in c.attrs:
        raise RefusedError("its attribute 'opset' is missing")
    return c.reading([reals], {"axis": c.axis(-1)}, int(c.attrs["opset"]), 1).stock("Softmax")


def _average_pool(c: OnnxContext, reals: Any) -> Any:
    last = bool(c.attrs.pop("channels_last", 0))
    pooled = WINDOWS["", "AveragePool"](c.reading([_first(c, reals, last)], opset=11, outputs=1))
    return c.typed(_back(c, pooled, last))


def _global_average(c: OnnxContext, reals: Any) -> Any:
    rank, last = reals.ty.ndim, bool(c.attrs.get("channels_last", 0))
    return op.mean(reals, list(range(1, rank - 1) if last else range(2, rank)), keepdims=True)


def nhwc_max_pool(c: OnnxContext) -> Any:
    """NhwcMaxPool 1 of ONNX Runtime."""
    pooled = WINDOWS["", "MaxPool"](c.reading([_first(c, c[0], True)], opset=11, outputs=1))
    return _back(c, pooled, True)


def qlinear_concat(c: OnnxContext) -> Any:
    """QLinearConcat 1: the result's scale and zero point, then three inputs for each part."""
    if len(c.inputs) < 5 or len(c.inputs) % 3 != 2:
        raise RefusedError(
            f"it has {len(c.inputs)} inputs; legal are Y_scale, Y_zero_point, and three a part"
        )
    if "axis" not in c.attrs:
        raise RefusedError("its attribute 'axis' is missing")
    parts = [
        dequantized(c, c[i], c[i + 1], c[i + 2], f"part {i // 3}")
        for i in range(2, len(c.inputs), 3)
    ]
    axis = c.reading(c.inputs[2:3]).axis(0)
    return quantized(c, op.concat(parts, axis), c[0], c[1], dtype_of(c[2]), "Y")


def qlinear_where(c: OnnxContext) -> Any:
    """QLinearWhere 1."""
    x, y = dequantized(c, c[1], c[2], c[3], "X"), dequantized(c, c[4], c[5], c[6], "Y")
    return quantized(c, op.where(c[0], x, y), c[7], c[8], dtype_of(c[1]), "Z")


def qgemm(c: OnnxContext) -> Any:
    """QGemm 1: alpha · (A · B) + C · alpha · a_scale · b_scale, in floats without y_scale.

    The transposed weight keeps its dequantize, with its columns where its rows were.
    """
    flip = bool(c.attrs.get("transB", 0))
    a = dequantized(c, c[0], c[1], c[2], "A")
    b = dequantized(c, c[3], c[4], c[5], "B", 0 if flip else 1)
    a = c.typed(op.permute_dims(a)) if c.attrs.get("transA", 0) else a
    b = c.typed(op.permute_dims(b)) if flip else b
    alpha = np.float32(c.attrs.get("alpha", 1.0))
    result = c.typed(op.matmul(a, b))
    if alpha != 1:
        result = c.typed(op.multiply(result, const(alpha)))
    if c[6] is not None:
        sa, sb = (constant_scale(c[i], "its scale") for i in (1, 4))
        bias = array_of(c[6], "its bias").astype(np.float32) * (alpha * sa * sb)
        result = c.typed(op.add(result, const(bias, np.float32)))
    if c[7] is None:
        if c[8] is not None:
            raise RefusedError("it has a y_zero_point but no y_scale")
        return result
    return quantized(c, result, c[7], c[8], dtype_of(c[0]), "Y")


QOPERATOR: Mapping[tuple[str, str], Converter] = {
    ("", "QLinearConv"): qlinear_conv,
    ("", "QLinearMatMul"): qlinear_matmul,
    (_MICROSOFT, "NhwcMaxPool"): taking(
        nhwc_max_pool,
        "x",
        ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"),
    ),
    (_MICROSOFT, "QGemm"): taking(
        qgemm,
        "A a_scale a_zero_point B b_scale b_zero_point C? y_scale? y_zero_point?",
        ("alpha", "transA", "transB"),
    ),
    (_MICROSOFT, "QLinearAdd"): _binary(op.add),
    (_MICROSOFT, "QLinearAveragePool"): _unary(
        _average_pool,
        ("auto_pad", "ceil_mode", "channels_last", "count_include_pad", "kernel_shape", "pads",
         "strides"),
    ),
    (_MICROSOFT, "QLinearConcat"): taking(
        qlinear_concat, "Y_scale Y_zero_point inputs...", ("axis",)
    ),
    (_MICROSOFT, "QLinearConv"): taking(
        qlinear_conv,
        "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B?",
        (*_WINDOW, "channels_last"),
    ),
    (_MICROSOFT, "QLinearGlobalAveragePool"): _unary(_global_average, ("channels_last",)),
    (_MICROSOFT, "QLinearLeakyRelu"): _unary(
        lambda c, x: op.nn.leakyrelu(x, c.attrs.get("alpha", 0.01)), ("alpha",)
    ),
    (_MICROSOFT, "QLinearMul"): _binary(op.multiply),
    (_MICROSOFT, "QLinearSigmoid"): _unary(lambda c, x: op.sigmoid(x)),
    (_MICROSOFT, "QLinearSoftmax"): _unary(_softmax, ("axis", "opset")),
    (_MICROSOFT, "QLinearWhere"): taking(
        qlinear_where,
        "condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point",
    ),
}  # fmt: skip
"""(domain, operator) → converter."""
