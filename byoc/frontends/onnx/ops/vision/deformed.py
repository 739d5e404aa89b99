"""Convolutions whose taps stand where the model says.

    x ─ grid_sample at tap + offset ─▶ [N, C, taps, H, W] · mask ─▶ conv [1, 1] of C · taps

Each offset group of channels is an image of its own in one sample, all taps one tall grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError

__all__ = ["DEFORMED"]

op = relax.op


def deform_conv(c: OnnxContext) -> Any:
    """DeformConv 19, 22 of images."""
    data, weight, offset, bias, mask = c[0], c[1], c[2], c[3], c[4]
    if data.ty.ndim != 4 or dtype_of(data) != "float32":
        raise ValueError("of other data than images of float32")
    batch, *rest = data.ty.shape.values
    if not all(map(is_int, rest)):
        raise ValueError("over symbolic channels, heights or widths")
    channels, *sizes = map(int, rest)
    kernel = [int(d) for d in weight.ty.shape.values[2:]]
    strides, dilations = ([int(n) for n in c.attrs.get(k) or [1, 1]]
                          for k in ("strides", "dilations"))  # fmt: skip
    pads = [int(p) for p in c.attrs.get("pads") or [0] * 4]
    group, groups = int(c.attrs.get("group", 1)), int(c.attrs.get("offset_group", 1))
    taps = kernel[0] * kernel[1]
    outs = [
        (n + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, n in enumerate(sizes)
    ]
    found = [int(d) for d in offset.ty.shape.values[1:]]
    if found != [groups * taps * 2, *outs] or channels % groups:
        raise RefusedError(
            f"its offsets are [N, {found}], expected [N, {[groups * taps * 2, *outs]}] for "
            f"{groups} groups of {channels} channels"
        )
    grids = np.indices([*kernel, *outs])  # of taps, then of results
    axes = []
    for i in range(2):
        place = grids[2 + i] * strides[i] - pads[i] + grids[i] * dilations[i]
        place = place.reshape(1, taps, *outs).astype(np.float32)
        moved = c.emit(op.reshape(offset, [batch * groups, taps, 2, *outs]))
        moved = c.emit(op.squeeze(c.emit(op.strided_slice(moved, [2], [i], [i + 1])), [2]))
        at = c.emit(op.add(moved, const(place)))
        # Without align_corners, pixel p of n is at (2 p + 1) / n - 1.
        scaled = c.emit(op.multiply(at, const(2 / sizes[i], np.float32)))
        axes.append(c.emit(op.add(scaled, const(1 / sizes[i] - 1, np.float32))))
    grid = c.emit(op.stack(axes[::-1], 1))  # x first
    grid = c.emit(op.reshape(grid, [batch * groups, 2, taps * outs[0], outs[1]]))
    images = c.emit(op.reshape(data, [batch * groups, channels // groups, *sizes]))
    sampled = op.image.grid_sample(
        images, grid, "bilinear", layout="NCHW", padding_mode="zeros", align_corners=False
    )
    wide = [batch, groups, channels // groups, taps, *outs]
    sampled = c.emit(op.reshape(c.emit(sampled), wide))
    if mask is not None:
        factors = c.emit(op.reshape(mask, [batch, groups, 1, taps, *outs]))
        sampled = c.emit(op.multiply(sampled, factors))
    flat = c.emit(op.reshape(sampled, [batch, channels * taps, *outs]))
    kernels = c.emit(
        op.reshape(weight, [weight.ty.shape.values[0], channels // group * taps, 1, 1])
    )
    result = c.emit(op.nn.conv2d(flat, kernels, groups=group))
    return result if bias is None else op.add(result, c.emit(op.reshape(bias, [1, -1, 1, 1])))


DEFORMED: Mapping[tuple[str, str], Converter] = {
    ("", "DeformConv"): deform_conv,
}
"""(domain, operator) → converter."""
