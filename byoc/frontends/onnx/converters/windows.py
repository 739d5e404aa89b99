"""Convolutions and pools: `auto_pad` and `output_shape` become explicit padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    RefusedError,
    const,
    is_int,
    stock_converter,
    text_of,
)

__all__ = ["WINDOWS"]


def _same_pads(lower: bool, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """auto_pad: as many outputs as the stride leaves, the odd element last (UPPER) or first."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def _explicit_pads(x: Inputs, attrs: Attributes, kernel: list[int]) -> None:
    """Replace auto_pad by pads."""
    mode = text_of(attrs.pop("auto_pad", None), "NOTSET")
    if mode == "NOTSET":
        return
    rank = len(kernel)
    if mode == "VALID":
        attrs["pads"] = [0] * (2 * rank)
        return
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad {mode!r} is not NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    sizes = list(x[0].ty.shape)[2:]
    if any(not is_int(d) for d in sizes):
        if any(s != 1 for s in strides):
            raise ValueError(f"auto_pad {mode} over symbolic dimensions needs strides of 1")
        sizes = [1 << 20] * rank  # with strides of 1 the padding does not depend on the size
    pairs = [
        _same_pads(mode == "SAME_LOWER", int(n), k, s, d)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]


def conv(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Conv 1, 11, 22: explicit padding, the bias as a constant [1, C, 1, …]."""
    kernel = attrs.get("kernel_shape") or [int(d) for d in list(x[1].ty.shape)[2:]]
    found = [int(d) for d in list(x[1].ty.shape)[2:]]
    if list(kernel) != found:
        raise RefusedError(f"its kernel_shape is {list(kernel)}, its weight has {found}")
    _explicit_pads(x, attrs, list(kernel))
    bias, rank = x[2], len(kernel)
    result = stock_converter("Conv")(bb, Inputs(x[:2]), attrs, 11, outputs)
    if bias is None:
        return result
    if isinstance(bias, GenericConst):
        bias = const(to_numpy(bias.value).reshape(1, -1, *[1] * rank))
    else:
        bias = relax.op.reshape(bias, [1, -1] + [1] * rank)
    return relax.op.add(result, bias)


def conv_transpose(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """ConvTranspose 1, 11, 22: `output_shape` becomes padding."""
    wanted = attrs.pop("output_shape", None)
    if wanted:
        kernel = attrs.get("kernel_shape") or [int(d) for d in list(x[1].ty.shape)[2:]]
        sizes, rank = list(x[0].ty.shape)[2:], len(kernel)
        if not all(map(is_int, sizes)):
            raise ValueError("output_shape over symbolic dimensions is not supported")
        lower = text_of(attrs.pop("auto_pad", None), "NOTSET") != "SAME_UPPER"
        pairs = []
        for i in range(rank):
            stride, dilation, extra = (
                (attrs.get(n) or [d] * rank)[i]
                for n, d in (("strides", 1), ("dilations", 1), ("output_padding", 0))
            )
            full = stride * (int(sizes[i]) - 1) + extra + (kernel[i] - 1) * dilation + 1
            total = full - wanted[-rank:][i]
            if total < 0:
                added = list(attrs.get("output_padding") or [0] * rank)
                added[i] -= total
                attrs["output_padding"], total = tuple(added), 0
            small = total // 2
            pairs.append((total - small, small) if lower else (small, total - small))
        attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]
    return stock_converter("ConvTranspose")(bb, x, attrs, 11, outputs)


def _pool(name: str) -> Converter:
    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        if outputs > 1:
            raise ValueError("its second output, the indices, is not supported")
        _explicit_pads(x, attrs, list(attrs["kernel_shape"]))
        return stock_converter(name)(bb, x, attrs, opset, outputs)

    return convert


WINDOWS: Mapping[tuple[str, str], Converter] = {
    ("", "AveragePool"): _pool("AveragePool"),
    ("", "Conv"): conv,
    ("", "ConvTranspose"): conv_transpose,
    ("", "MaxPool"): _pool("MaxPool"),
}
"""(domain, operator) → converter."""
