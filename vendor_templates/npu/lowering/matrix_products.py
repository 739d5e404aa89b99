"""Convolutions and matrix products by constant weights, with their biases."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.int8_graph import Conv, Window
from byoc.vendor_templates.npu.lowering.numerics import pair_scale
from byoc.vendor_templates.npu.lowering.values import (
    Layout,
    Out,
    Params,
    PendingOp,
    Real,
    Stored,
    Value,
    nhwc,
    pads_of,
    pair_of,
)

__all__ = ["conv", "matmul"]


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Shapes (n, h, w, c), window and groups of a product."""

    shape_in: tuple[int, int, int, int]
    shape_out: tuple[int, int, int, int]
    window: Window
    groups: int


def conv(low: Lowering, node: Node) -> Value:
    """Lower a convolution; one of one dimension becomes one of two, of which the first is 1.

    Args:
        low: The segment being lowered.
        node: The op, `nn.conv1d` or `nn.conv2d`.

    Raises:
        CompileError: The input or the weights are not quantised.
    """
    x, params = low.real(node, 0), _weights(low, node)
    data_layout = str(node.attrs["data_layout"])
    kernel_layout = str(node.attrs["kernel_layout"])
    layout: Layout = "first" if data_layout[1] == "C" else "last"
    one_d = len(data_layout) == 3
    axes = [kernel_layout.index(letter) for letter in ("OWI" if one_d else "OHWI")]
    weights = params.data.transpose(axes)
    scales = np.broadcast_to(params.scale, params.data.shape).transpose(axes)
    per_channel = scales.reshape(scales.shape[0], -1)[:, 0]
    shape_in = nhwc(x.stored.shape, layout)
    shape_out = nhwc(low.shape(node.outputs[0]), layout)
    if one_d:
        weights = weights[:, None]
    pads = pads_of(node.attrs["padding"], 1 if one_d else 2)
    window = Window(
        kernel=(weights.shape[1], weights.shape[2]),
        stride=pair_of(node.attrs["strides"], one_d),
        dilation=pair_of(node.attrs["dilation"], one_d),
        pad=pads,
    )
    geometry = _Geometry(shape_in, shape_out, window, int(node.attrs["groups"]))
    return _product(low, node, x, weights, per_channel, layout, geometry)


def matmul(low: Lowering, node: Node) -> Value:
    """Lower a product with a constant matrix: rows as pixels of one image, columns as channels.

    Args:
        low: The segment being lowered.
        node: The op, `matmul`.

    Raises:
        CompileError: The input or the weights are not quantised.
    """
    x, params = low.real(node, 0), _weights(low, node)
    k, n = params.data.shape[-2:]
    weights = params.data.reshape(k, n).T.reshape(n, 1, 1, k)
    scales = np.broadcast_to(params.scale, params.data.shape).reshape(k, n)[0]
    rows = prod(x.stored.shape[:-1])
    geometry = _Geometry((1, 1, rows, k), (1, 1, rows, n), Window(), 1)
    return _product(low, node, x, weights, scales, "last", geometry)


def _weights(low: Lowering, node: Node) -> Params:
    found = low.constant(node, 1)
    if not isinstance(found, Params):
        raise CompileError(f"{low.where(node)}: weights must be a dequantised constant")
    return found


def _product(
    low: Lowering,
    node: Node,
    x: Real,
    weights: Array,
    scales: Array,
    layout: Layout,
    geometry: _Geometry,
    bias: Array | None = None,
) -> PendingOp:
    """weights: [o, kh, kw, i] integers; scales: [o] or one. bias: float or int32, [o]."""
    shape = low.shape(node.outputs[0])
    count = weights.shape[0]
    steps = np.broadcast_to(np.ravel(scales), (count,)) * x.scale
    narrow = weights.astype(np.int8)
    if (narrow != weights).any():
        raise CompileError(f"{low.where(node)}: weights do not fit int8 without zero point")

    def add_bias(value: Params | Array) -> PendingOp:
        if isinstance(value, Params):
            ratio = np.broadcast_to(np.ravel(value.scale), (count,)) / steps
            exact = bool((np.abs(ratio - 1) < 1e-5).all())
            value = value.data if exact else value.real
        flat = np.broadcast_to(np.ravel(value), (count,))
        if not np.issubdtype(flat.dtype, np.integer):
            flat = np.rint(flat.astype(np.float64) / steps)
        total = flat.astype(np.float64) + (0 if bias is None else bias)
        return _product(low, node, x, weights, scales, layout, geometry, total)

    def finish(out: Out) -> Stored:
        total = np.zeros(count) if bias is None else bias
        total = total - x.zero * weights.reshape(count, -1).sum(1).astype(np.float64)
        if np.abs(total).max(initial=0) >= 2**31:
            raise CompileError(f"{low.where(node)}: the bias does not fit 32 bits")
        scale = np.broadcast_to(pair_scale(x.scale, np.ravel(scales), out.scale), (count,))
        source = low.in_layout(x.stored, layout)
        y = low.new(shape, layout, out.dtype, out.scale, out.zero, out.source)
        low.graph.operations.append(
            Conv(
                x=source.tensor,
                y=y.tensor,
                shape_in=geometry.shape_in,
                shape_out=geometry.shape_out,
                window=geometry.window,
                groups=geometry.groups,
                weights=narrow,
                bias=total.astype(np.int32),
                scale=scale,
                x_zero=x.zero,
                zero=out.zero,
                lo=out.lo,
                hi=out.hi,
                source=out.source,
            )
        )
        return y

    return PendingOp(finish, shape, add_bias=add_bias, node=node)
