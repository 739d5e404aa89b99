"""Convolutions and matrix products: weights as PyTorch and ONNX keep them (OIHW, [K, N]).

    CONV_2D             x NHWC, W OHWI        → transpose, conv2d NCHW, transpose
    DEPTHWISE_CONV_2D   x NHWC, W 1HW(C·m)    → … with C groups
    FULLY_CONNECTED     x […, K], W [N, K]    → matmul(x [M, K], Wᵀ)

The transposes are cut to what is needed by `layout.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.ops.int16_arithmetic import product as int16_product

__all__ = ["FIRST", "LAST", "PRODUCTS", "same_padding"]

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Axes from channels last to channels first, and back."""

op = relax.op


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return the zeros before and after a dimension that make ceil(size / stride) windows.

    Args:
        size: Size of the dimension.
        kernel: Size of the window.
        stride: Distance of windows.
        dilation: Distance of the window's elements.

    Returns:
        Zeros before and after; the odd one is behind.
    """
    extent = (kernel - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + extent - size)
    return total // 2, total - total // 2


def padding(
    code: int, size: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
) -> list[int]:  # fmt: skip
    """Padding in Relax's order, begins then ends, for `Padding` SAME (0) or VALID (1)."""
    if min((*strides, *dilation, *kernel)) < 1:
        raise InexpressibleError(
            f"strides {strides}, dilation {dilation} and window {kernel} must be 1 or more"
        )
    if code == 1:
        return [0] * (2 * len(size))
    if code != 0:
        raise InexpressibleError(f"padding {code} is neither SAME nor VALID")
    pairs = [
        same_padding(*each) for each in zip(size, kernel, strides, dilation, strict=True)
    ]  # fmt: skip
    return [b for b, _ in pairs] + [e for _, e in pairs]


def _image(c: TfliteContext, i: int) -> tuple[int, ...]:
    shape = c.shape(i)
    if len(shape) != 4:
        raise InexpressibleError(f"its input has shape {shape}, expected 4 dimensions")
    return shape


def _kernel(c: TfliteContext, i: int) -> tuple[int, ...]:
    shape = c.tensor(i).shape
    if len(shape) != 4:
        raise InexpressibleError(f"its weights have shape {shape}, expected 4 dimensions")
    return shape


def _product(
    c: TfliteContext,
    at: tuple[int, int, int],
    axes: tuple[int, ...],
    apply: Callable[[Any, Any], Any],
    form: tuple[int, ...],
    activation: int,
    channel: int = 0,
) -> Any:
    """A product, its bias in the shape that vendors know as one, its activation.

    at: which inputs are data, weights and bias. axes: the order of the weights' axes that `apply`
    reads. channel: the axis of the channels in the order of the file.
    """
    found = int16_product(c, at, axes, apply, form, activation, channel)
    if found is not None:
        return found
    result = apply(c.real(at[0]), c.weight(at[1], axes))
    if c.has(at[2]):
        result = op.add(result, c.formed(at[2], form))
    return c.activation(result, activation)


def conv2d(c: TfliteContext) -> Any:
    """CONV_2D, grouped where the weights read fewer channels than there are."""
    o = c.needed("Conv2DOptions")
    _, *size, channels = _image(c, 0)
    count, *window, fed = _kernel(c, 1)
    if not fed or channels % fed or count % (channels // fed):
        raise InexpressibleError(f"weights of {fed} channels do not divide {channels}")
    return _conv(c, o, size, window, FIRST, channels // fed, count)


def depthwise(c: TfliteContext) -> Any:
    """DEPTHWISE_CONV_2D."""
    o = c.needed("DepthwiseConv2DOptions")
    _, *size, channels = _image(c, 0)
    one, *window, count = _kernel(c, 1)
    if one != 1 or not channels or count % channels:
        raise InexpressibleError(f"weights {_kernel(c, 1)} do not fit {channels} channels")
    return _conv(c, o, size, window, (3, 0, 1, 2), channels, count)


def _conv(
    c: TfliteContext,
    o: Any,
    size: list[int],
    window: list[int],
    axes: tuple[int, ...],
    groups: int,
    count: int,
) -> Any:
    strides = [o.StrideH(), o.StrideW()]
    dilation = [o.DilationHFactor(), o.DilationWFactor()]
    pads = padding(o.Padding(), tuple(size), tuple(window), tuple(strides), tuple(dilation))

    def apply(data: Any, weight: Any) -> Any:
        data = op.permute_dims(data, list(FIRST))
        return op.nn.conv2d(data, weight, strides, pads, dilation, groups)

    form = (1, count, 1, 1)
    result = _product(c, (0, 1, 2), axes, apply, form, o.FusedActivationFunction(), axes[0])
    return op.permute_dims(result, list(LAST))


def transpose_conv(c: TfliteContext) -> Any:
    """TRANSPOSE_CONV: (shape of the result, weights OHWI, data[, bias])."""
    o = c.needed("TransposeConvOptions")
    _, *size, _ = _image(c, 2)
    count, *window, _ = _kernel(c, 1)
    wanted = c.ints(0) if c.constant(0) is not None else list(c.out().shape)
    if len(wanted) != 4 or min(wanted) < 1:
        raise InexpressibleError(f"its result is to have shape {wanted}")
    strides = (o.StrideH(), o.StrideW())
    padding(o.Padding(), tuple(size), tuple(window), strides)
    begins, ends, extra = [], [], []
    for given, out, k, s in zip(size, wanted[1:3], window, strides, strict=True):
        full = (given - 1) * s + k
        total = max(0, full - out)
        begins.append(total // 2)
        ends.append(total - total // 2)
        extra.append(max(0, out - full))
        if extra[-1] >= s:
            raise InexpressibleError(f"{given} positions of stride {s} do not make {out}")

    def apply(data: Any, weight: Any) -> Any:
        data = op.permute_dims(data, list(FIRST))
        return op.nn.conv2d_transpose(data, weight, list(strides), begins + ends, extra)

    activation = getattr(o, "FusedActivationFunction", lambda: 0)()
    result = _product(c, (2, 1, 3), (3, 0, 1, 2), apply, (1, count, 1, 1), activation)
    return op.permute_dims(result, list(LAST))


def fully_connected(c: TfliteContext) -> Any:
    """FULLY_CONNECTED."""
    o = c.needed("FullyConnectedOptions")
    if o.WeightsFormat() != 0:
        raise InexpressibleError("its weights are shuffled for another engine")
    shape = c.shape(0)
    if len(c.tensor(1).shape) != 2:
        raise InexpressibleError(f"its weights have shape {c.tensor(1).shape}")
    count, depth = c.tensor(1).shape
    if not depth or prod(shape) % depth:
        raise InexpressibleError(f"weights of depth {depth} do not fit {shape}")
    if o.KeepNumDims() and shape[-1] != depth:
        raise InexpressibleError(f"weights of depth {depth} do not fit {shape}")
    flat = not o.KeepNumDims() and (len(shape) != 2 or shape[-1] != depth)

    def apply(data: Any, weight: Any) -> Any:
        if flat:
            data = op.reshape(data, [prod(shape) // depth, depth])
        return op.matmul(data, weight)

    return _product(c, (0, 1, 2), (1, 0), apply, (count,), o.FusedActivationFunction())


def batch_matmul(c: TfliteContext) -> Any:
    """BATCH_MATMUL."""
    o = c.options("BatchMatMulOptions")
    factors = []
    for i, adjoint in enumerate((o.AdjX(), o.AdjY()) if o is not None else (False, False)):
        rank = len(c.shape(i))
        axes = [*range(rank - 2), rank - 1, rank - 2]
        factors.append(c.weight(i, axes) if adjoint else c.real(i))
    return op.matmul(*factors)


PRODUCTS: Mapping[str, Converter] = {
    "BATCH_MATMUL": batch_matmul,
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    "TRANSPOSE_CONV": transpose_conv,
}
