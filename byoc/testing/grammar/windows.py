"""Rules: convolutions, pools, images."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.testing.grammar.core import MAX_ELEMENTS, GraphBuilder, KnownValue

__all__ = ["WINDOWS", "image"]


def image(b: GraphBuilder, channels: int | None = None) -> KnownValue:
    """Return a float32 value of shape [N, C, H, W] to slide a window over, new or used before.

    Args:
        b: The graph in the making.
        channels: C; None for any number.
    """
    fits = [v for v in b.values if v.dtype == "float32" and v.rank == 4 and min(v.shape) > 0]
    fits = [v for v in fits if min(v.shape[2:]) >= 3 and channels in (None, v.shape[1])]
    if fits and b.chance(0.6):
        return b.pick(fits)
    return b.new_input([b.dim(1, 2), channels or b.dim(1, 6), b.dim(4, 9), b.dim(4, 9)], "float32")


def conv(b: GraphBuilder) -> None:
    x = image(b)
    n, c, h, w = x.shape
    group = b.pick([g for g in (1, 1, c) if c % g == 0])
    out, k = group * b.dim(1, 3), b.pick((1, 2, 3))
    stride, dilation = b.dim(1, 2), b.pick((1, 1, 2))
    weight = b.const(b.array([out, c // group, k, k], "float32") / (c * k))
    inputs = [x, weight]
    if b.chance(0.5):
        inputs.append(b.const(b.array([out], "float32")))
    attrs: dict[str, Any] = {"strides": [stride] * 2, "dilations": [dilation] * 2, "group": group}
    span = (k - 1) * dilation + 1
    style = b.pick(("pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if style.startswith("SAME"):  # ONNX Runtime has no dilation there
        attrs["dilations"] = [1, 1]
    if style == "pads":
        p = [b.dim(0, 2) for _ in range(4)]
        attrs["pads"] = p
        dims = [(h + p[0] + p[2] - span) // stride + 1, (w + p[1] + p[3] - span) // stride + 1]
    elif style == "VALID":
        attrs["auto_pad"] = style
        dims = [(h - span) // stride + 1, (w - span) // stride + 1]
    else:
        attrs["auto_pad"] = style
        dims = [-(-h // stride), -(-w // stride)]
    if min(dims) < 1:
        return
    b.emit("Conv", inputs, [n, out, *dims], size=x.size * 16 * k, **attrs)


def conv1d(b: GraphBuilder) -> None:
    x = b.new_input([b.dim(1, 2), b.dim(1, 4), b.dim(5, 12)], "float32")
    k, out = b.dim(1, 3), b.dim(1, 4)
    weight = b.const(b.array([out, x.shape[1], k], "float32") / 8)
    shape = [x.shape[0], out, x.shape[2] - k + 1 + 2]
    b.emit("Conv", [x, weight], shape, size=12, pads=[1, 1])


def conv_transpose(b: GraphBuilder) -> None:
    x = image(b)
    n, c, h, w = x.shape
    k, stride, out = b.dim(1, 3), b.dim(1, 2), b.dim(1, 3)
    weight = b.const(b.array([c, out, k, k], "float32") / (c * k))
    extra = b.dim(0, stride - 1)
    dims = [(d - 1) * stride + k + extra for d in (h, w)]
    if n * out * dims[0] * dims[1] <= MAX_ELEMENTS:
        b.emit("ConvTranspose", [x, weight], [n, out, *dims], size=x.size * 8,
               strides=[stride] * 2, output_padding=[extra] * 2)  # fmt: skip


def pool(b: GraphBuilder) -> None:
    x = image(b)
    n, c, h, w = x.shape
    op = b.pick(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    if op.startswith("Global"):
        b.emit(op, [x], [n, c, 1, 1], exact=op == "GlobalMaxPool")
        return
    k, stride = b.dim(2, 3), b.dim(1, 2)
    p = [b.dim(0, 1) for _ in range(4)]
    attrs: dict[str, Any] = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": p}
    if op == "AveragePool":
        attrs["count_include_pad"] = int(b.chance(0.5))
    up = b.chance(0.3)
    dims = []
    for d, total in ((h, p[0] + p[2]), (w, p[1] + p[3])):
        full = d + total - k
        size = (-(-full // stride) if up else full // stride) + 1
        dims.append(size)
    if up:  # windows that begin in the padding: engines differ
        starts = [(o - 1) * stride < d + q for o, d, q in zip(dims, (h, w), p[:2], strict=True)]
        if not all(starts) or op == "AveragePool":
            return
        attrs["ceil_mode"] = 1
    if min(dims) >= 1:
        b.emit(op, [x], [n, c, *dims], exact=op == "MaxPool", **attrs)


def resize(b: GraphBuilder) -> None:
    x = image(b)
    n, c, h, w = x.shape
    mode = b.pick(("nearest", "linear", "cubic"))
    where_ = b.pick(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where_}
    if mode == "nearest":
        attrs["nearest_mode"] = b.pick(("floor", "round_prefer_floor", "ceil"))
    dims = [d * b.pick((1, 2)) for d in (h, w)]
    if n * c * dims[0] * dims[1] > MAX_ELEMENTS:
        return
    if b.chance(0.5):
        inputs = [x, None, None, b.ints([n, c, *dims])]
    else:
        scales = [1.0, 1.0, dims[0] / h, dims[1] / w]
        inputs = [x, None, b.const(np.array(scales, np.float32))]
    b.emit("Resize", inputs, [n, c, *dims], exact=mode == "nearest", size=x.size * 1.5, **attrs)


def half_conv(b: GraphBuilder) -> None:
    """A convolution and a product of half precision."""
    x = b.new_input([1, b.dim(1, 4), b.dim(4, 6), b.dim(4, 6)], "float16")
    out = b.dim(1, 4)
    weight = b.const((b.array([out, x.shape[1], 3, 3], "float32") / 16).astype(np.float16))
    y = b.emit("Conv", [x, weight], [1, out, *x.shape[2:]], size=16, pads=[1, 1, 1, 1])
    factor = b.const((b.array([x.shape[3], 3], "float32") / 8).astype(np.float16))
    b.emit("MatMul", [y, factor], [*y.shape[:3], 3], size=40)


def sampled(b: GraphBuilder) -> None:
    """Pixels between pixels."""
    if b.opset < 20:
        return
    x = image(b)
    n, c, _, _ = x.shape
    h, w = b.dim(), b.dim()
    at = b.rng.uniform(-1.1, 1.1, [n, h, w, 2]).astype(np.float32)
    b.emit("GridSample", [x, b.const(at)], [n, c, h, w], mode="linear",
           padding_mode=b.pick(("zeros", "border")), align_corners=int(b.chance(0.5)))  # fmt: skip


WINDOWS = (conv, conv, conv1d, half_conv, conv_transpose, pool, pool, resize, sampled)
