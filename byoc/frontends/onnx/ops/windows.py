"""Convolutions and pools: `auto_pad` and `output_shape` become explicit padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import text_of
from byoc.frontends.onnx.ops.vision.unpooling import pool_places
from byoc.ir.arrays import to_numpy

__all__ = ["WINDOWS"]


def _same_pads(lower: bool, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """auto_pad: as many outputs as the stride leaves, the odd element last (UPPER) or first."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def _explicit_pads(c: OnnxContext, kernel: list[int]) -> None:
    """Replace auto_pad by pads."""
    mode = text_of(c.attrs.pop("auto_pad", None), "NOTSET")
    if mode == "NOTSET":
        return
    rank = len(kernel)
    if mode == "VALID":
        c.attrs["pads"] = [0] * (2 * rank)
        return
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad {mode!r} is not NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    strides = c.attrs.get("strides") or [1] * rank
    dilations = c.attrs.get("dilations") or [1] * rank
    sizes = list(c[0].ty.shape)[2:]
    if any(not is_int(d) for d in sizes):
        if any(s != 1 for s in strides):
            raise ValueError(f"auto_pad {mode} over symbolic dimensions needs strides of 1")
        sizes = [1 << 20] * rank  # with strides of 1 the padding does not depend on the size
    pairs = [
        _same_pads(mode == "SAME_LOWER", int(n), k, s, d)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    c.attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]


def conv(c: OnnxContext) -> Any:
    """Conv 1, 11, 22: explicit padding, the bias as a constant [1, C, 1, …]."""
    found = [int(d) for d in list(c[1].ty.shape)[2:]]
    kernel = c.attrs["kernel_shape"] = c.attrs.get("kernel_shape") or found
    if list(kernel) != found:
        raise RefusedError(f"its kernel_shape is {list(kernel)}, its weight has {found}")
    _explicit_pads(c, list(kernel))
    bias, rank = c[2], len(kernel)
    result = c.reading(c.inputs[:2], opset=11).stock("Conv")
    if bias is None:
        return result
    if isinstance(bias, GenericConst):
        bias = const(to_numpy(bias.value).reshape(1, -1, *[1] * rank))
    else:
        bias = relax.op.reshape(bias, [1, -1] + [1] * rank)
    return relax.op.add(result, bias)


def conv_transpose(c: OnnxContext) -> Any:
    """ConvTranspose 1, 11, 22: `output_shape` becomes padding."""
    wanted = c.attrs.pop("output_shape", None)
    if wanted:
        kernel = c.attrs.get("kernel_shape") or [int(d) for d in list(c[1].ty.shape)[2:]]
        sizes, rank = list(c[0].ty.shape)[2:], len(kernel)
        if not all(map(is_int, sizes)):
            raise ValueError("output_shape over symbolic dimensions is not supported")
        lower = text_of(c.attrs.pop("auto_pad", None), "NOTSET") != "SAME_UPPER"
        pairs = []
        for i in range(rank):
            stride, dilation, extra = (
                (c.attrs.get(n) or [d] * rank)[i]
                for n, d in (("strides", 1), ("dilations", 1), ("output_padding", 0))
            )
            full = stride * (int(sizes[i]) - 1) + extra + (kernel[i] - 1) * dilation + 1
            total = full - wanted[-rank:][i]
            if total < 0:
                added = list(c.attrs.get("output_padding") or [0] * rank)
                added[i] -= total
                c.attrs["output_padding"], total = tuple(added), 0
            small = total // 2
            pairs.append((total - small, small) if lower else (small, total - small))
        c.attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]
    return c.reading(c.inputs, opset=11).stock("ConvTranspose")


def average_pool(c: OnnxContext) -> Any:
    """AveragePool 1 to 22."""
    _explicit_pads(c, list(c.attrs["kernel_shape"]))
    return c.stock("AveragePool")


def max_pool(c: OnnxContext) -> Any:
    """MaxPool 1 to 22; where the maxima stand is computed when it is read."""
    _explicit_pads(c, list(c.attrs["kernel_shape"]))
    result = c.stock("MaxPool")
    if c.outputs == 1:
        return result
    result = c.emit(result)
    return [result, pool_places(c, result.ty.shape.values)]


def lp_pool(c: OnnxContext) -> Any:
    """LpPool 1 to 22: TVM's, whose sums are means times the window; so a window that goes beyond
    the end (`ceil_mode`) gets zeros there.
    """
    kernel = list(c.attrs["kernel_shape"])
    rank = len(kernel)
    _explicit_pads(c, kernel)
    if c.attrs.pop("ceil_mode", 0):
        sizes = list(c[0].ty.shape)[2:]
        if not all(map(is_int, sizes)):
            raise ValueError("ceil_mode over symbolic dimensions is not supported")
        pads = list(c.attrs.get("pads") or [0] * (2 * rank))
        for i in range(rank):
            stride, dilation = ((c.attrs.get(n) or [1] * rank)[i] for n in ("strides", "dilations"))
            span, begin = (kernel[i] - 1) * dilation + 1, int(sizes[i]) + pads[i]
            steps = -(-(begin + pads[rank + i] - span) // stride)
            if steps * stride >= begin:  # such a window would begin behind the data
                steps -= 1
            pads[rank + i] = max(pads[rank + i], steps * stride + span - begin)
        c.attrs["pads"] = tuple(pads)
    return c.stock("LpPool")


WINDOWS: Mapping[tuple[str, str], Converter] = {
    ("", "AveragePool"): average_pool,
    ("", "Conv"): conv,
    ("", "ConvTranspose"): conv_transpose,
    ("", "LpPool"): lp_pool,
    ("", "MaxPool"): max_pool,
}
"""(domain, operator) → converter."""
