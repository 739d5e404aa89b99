"""Pooling, resizing, and moves between pixels and channels."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.ops.products import FIRST, LAST, padding

__all__ = ["IMAGES"]

op = relax.op


def _pool(kind: str) -> Converter:
    def convert(c: TfliteContext) -> Any:
        o = c.needed("Pool2DOptions")
        shape = c.shape(0)
        if len(shape) != 4:
            raise InexpressibleError(f"its input has shape {shape}, expected 4 dimensions")
        window, strides = (o.FilterHeight(), o.FilterWidth()), (o.StrideH(), o.StrideW())
        pads = padding(o.Padding(), shape[1:3], window, strides)
        data = op.permute_dims(c.real(0), list(FIRST))
        whole = window == shape[1:3] and not any(pads)
        if kind == "max":
            result = op.nn.max_pool2d(data, list(window), list(strides), pads)
        elif whole and kind == "average":
            result = op.mean(data, [2, 3], keepdims=True)
        else:
            data = op.square(data) if kind == "l2" else data
            result = op.nn.avg_pool2d(data, list(window), list(strides), pads)
            result = op.sqrt(result) if kind == "l2" else result
        return op.permute_dims(c.activation(result, o.FusedActivationFunction()), list(LAST))

    return convert


def _resize(method: str) -> Converter:
    """RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR: three ways to lay grids over each other."""

    def convert(c: TfliteContext) -> Any:
        kind = "ResizeBilinearOptions" if method == "linear" else "ResizeNearestNeighborOptions"
        o = c.options(kind)
        size = c.ints(1)
        if len(size) != 2 or min(size) < 1 or len(c.shape(0)) != 4:
            raise InexpressibleError(f"an image of shape {c.shape(0)} is to be resized to {size}")
        mode, rounding = "asymmetric", "floor"
        if o is not None and o.AlignCorners():
            mode, rounding = "align_corners", "round_prefer_ceil"
        elif o is not None and o.HalfPixelCenters():
            mode, rounding = "half_pixel", "round_prefer_ceil"
        result = op.image.resize2d(
            op.permute_dims(c.real(0), list(FIRST)),
            tuple(size),
            layout="NCHW",
            method="linear" if method == "linear" else "nearest_neighbor",
            coordinate_transformation_mode=mode,
            rounding_method="" if method == "linear" else rounding,
        )
        return op.permute_dims(result, list(LAST))

    return convert


def _block(c: TfliteContext, kind: str, least: int = 1) -> int:
    size = int(c.needed(kind).BlockSize())
    if size < least or len(c.shape(0)) != 4:
        raise InexpressibleError(f"block {size} of an image of shape {c.shape(0)}")
    return size


def space_to_depth(c: TfliteContext) -> Any:
    """SPACE_TO_DEPTH."""
    b = _block(c, "SpaceToDepthOptions")
    n, h, w, depth = c.shape(0)
    parts = op.reshape(c.real(0), [n, h // b, b, w // b, b, depth])
    return op.reshape(
        op.permute_dims(parts, [0, 1, 3, 2, 4, 5]), [n, h // b, w // b, b * b * depth]
    )


def depth_to_space(c: TfliteContext) -> Any:
    """DEPTH_TO_SPACE."""
    b = _block(c, "DepthToSpaceOptions")
    n, h, w, depth = c.shape(0)
    parts = op.reshape(c.real(0), [n, h, w, b, b, depth // (b * b)])
    return op.reshape(
        op.permute_dims(parts, [0, 1, 3, 2, 4, 5]), [n, h * b, w * b, depth // (b * b)]
    )


def space_to_batch(c: TfliteContext) -> Any:
    """SPACE_TO_BATCH_ND: pad, then one image per position inside the blocks."""
    shape, blocks = c.shape(0), c.ints(1)
    pads = c.ints(2)
    count = len(blocks)
    if len(pads) != 2 * count or min(blocks) < 1 or len(shape) <= count or min(pads) < 0:
        raise InexpressibleError(f"blocks {blocks} and padding {pads} on {shape}")
    data = c.real(0)
    if any(pads):
        data = op.nn.pad(data, [0, 0, *pads, *([0, 0] * (len(shape) - 1 - count))])
    n, *spatial = c.shape(data)
    rest = spatial[count:]
    cut = [v for s, b in zip(spatial, blocks, strict=False) for v in (s // b, b)]
    inner = [2 + 2 * i for i in range(count)]
    outer = [1 + 2 * i for i in range(count)]
    order = [*inner, 0, *outer, *range(1 + 2 * count, 1 + 2 * count + len(rest))]
    parts = op.permute_dims(op.reshape(data, [n, *cut, *rest]), order)
    small = [s // b for s, b in zip(spatial, blocks, strict=False)]
    return op.reshape(parts, [n * prod(blocks), *small, *rest])


def batch_to_space(c: TfliteContext) -> Any:
    """BATCH_TO_SPACE_ND: the way back, then cut."""
    shape, blocks, crops = c.shape(0), c.ints(1), c.ints(2)
    count = len(blocks)
    if len(crops) != 2 * count or min(blocks) < 1 or len(shape) <= count or min(crops) < 0:
        raise InexpressibleError(f"blocks {blocks} and crops {crops} on {shape}")
    n, *spatial = shape
    rest = spatial[count:]
    n //= prod(blocks)
    parts = op.reshape(c.real(0), [*blocks, n, *spatial])
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    order += range(2 * count + 1, 2 * count + 1 + len(rest))
    large = [s * b for s, b in zip(spatial, blocks, strict=False)]
    whole = op.reshape(op.permute_dims(parts, order), [n, *large, *rest])
    if not any(crops):
        return whole
    ends = [size - depth for size, depth in zip(large, crops[1::2], strict=True)]
    return op.strided_slice(whole, list(range(1, 1 + count)), crops[::2], ends)


def local_response(c: TfliteContext) -> Any:
    """LOCAL_RESPONSE_NORMALIZATION: x / (bias + alpha · squares of 2r + 1 channels) ^ beta."""
    o = c.needed("LocalResponseNormalizationOptions")
    shape, radius = c.shape(0), int(o.Radius())
    depth = shape[-1]
    if not 0 <= radius <= 1024:
        raise InexpressibleError(f"radius {radius}")
    band = np.abs(np.arange(depth)[:, None] - np.arange(depth)) <= radius
    data = c.real(0)
    sums = op.matmul(op.square(data), const(band, np.float32))
    scaled = op.add(op.multiply(sums, const(o.Alpha(), np.float32)), const(o.Bias(), np.float32))
    return op.divide(data, op.power(scaled, const(o.Beta(), np.float32)))


IMAGES: Mapping[str, Converter] = {
    "AVERAGE_POOL_2D": _pool("average"),
    "BATCH_TO_SPACE_ND": batch_to_space,
    "DEPTH_TO_SPACE": depth_to_space,
    "L2_POOL_2D": _pool("l2"),
    "LOCAL_RESPONSE_NORMALIZATION": local_response,
    "MAX_POOL_2D": _pool("max"),
    "RESIZE_BILINEAR": _resize("linear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
}
