"""Operators that sample between the elements of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import Attributes, OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, text_of
from byoc.frontends.onnx.ops.resizing import resize_by_axis
from byoc.ir.arrays import to_numpy

__all__ = ["SAMPLING"]


def upsample(c: OnnxContext) -> Any:
    """Upsample 7 (attribute), 9 (input): Resize as opset 10 has it."""
    if c.opset < 9:
        scales = c.attrs.get("scales")
        if scales is None:
            raise ValueError("its attribute 'scales' is missing")
        c = c.reading([c[0], const(scales, np.float32)])
    return _resize_10(c)


def _resize_10(c: OnnxContext) -> Any:
    """Resize 10, Upsample 7, 9: always asymmetric. The nearest element is the one before the place,
    where an axis shrinks the one behind it.
    """
    data, scales = c[0], array_of(c[1], "scales")
    mode = text_of(c.attrs.get("mode"), "nearest")
    attrs = {"mode": mode.encode(), "coordinate_transformation_mode": b"asymmetric",
             "nearest_mode": b"floor"}  # fmt: skip
    newer = c.reading([data, None, c[1]], attrs, 13)
    grows = mode != "nearest" or bool((scales >= 1).all())
    if grows and _served_by_tvm(data, c[1], None, attrs, "asymmetric"):
        return newer.stock("Resize")
    return resize_by_axis(c.reading([data, c[1]], attrs, 10))


def resize(c: OnnxContext) -> Any:
    """Resize 10 to 19: TVM's kernels where they do as ONNX says, else matrices (`resizing.py`)."""
    if c.opset < 11:
        return _resize_10(c)
    scales, sizes = c[2], c[3]
    if isinstance(scales, GenericConst) and not to_numpy(scales.value).size:
        scales = None  # until opset 13 an operand that is left out is an empty one
        c = c.reading([c[0], c[1], None, sizes])
    mode = text_of(c.attrs.get("coordinate_transformation_mode"), "half_pixel")
    between = mode == "align_corners" and text_of(c.attrs.get("mode"), "nearest") != "nearest"
    if between and scales is not None and not isinstance(scales, GenericConst):
        raise RefusedError("align_corners with scales that the model computes; give sizes")
    if _served_by_tvm(c[0], scales, sizes, c.attrs, mode):
        return c.stock("Resize")
    return resize_by_axis(c)


def _served_by_tvm(data: Any, scales: Any, sizes: Any, attrs: Attributes, mode: str) -> bool:
    """TVM divides sizes where ONNX takes the scale it was given: both agree when the scale leads
    to whole sizes.
    """
    if attrs.get("antialias", 0) or mode in ("half_pixel_symmetric", "tf_crop_and_resize"):
        return False
    if "axes" in attrs or text_of(attrs.get("keep_aspect_ratio_policy"), "stretch") != "stretch":
        return False
    if not isinstance(data.ty, relax.TensorType) or data.ty.shape is None:
        return True
    dims = list(data.ty.shape.values)
    if len(dims) not in (3, 4, 5) or (len(dims) == 3 and is_int(dims[2])):
        return False  # of one axis TVM has no op that patterns see
    if isinstance(scales, GenericConst) and to_numpy(scales.value).size:
        factors = to_numpy(scales.value).tolist()
        if len(factors) != len(dims) or not all(map(math.isfinite, factors)):
            raise RefusedError(f"its scales are {factors}, for {len(dims)} dimensions")
        for dim, factor in zip(dims, factors, strict=True):
            if factor == 1:
                continue
            wanted = int(dim) * factor
            if abs(wanted - round(wanted)) > 1e-4 * max(1.0, wanted):
                return False
            if mode == "align_corners" and round(wanted) == 1:
                return False
        return bool(factors[:2] == [1, 1])
    if isinstance(sizes, GenericConst):
        wanted = to_numpy(sizes.value).tolist()
        if mode == "align_corners" and 1 in wanted[2:]:
            return False
        return all(is_int(d) and int(d) == w for d, w in zip(dims[:2], wanted[:2], strict=True))
    return True


def roi_align(c: OnnxContext) -> Any:
    """RoiAlign 10, 16, 22 of averages; TVM takes maxima before it interpolates.

    With half_pixel, from 16 on, a box lies half an element further up and left, counted in elements
    of the data: 0.5 / spatial_scale in the box's own units.
    """
    mode = text_of(c.attrs.get("mode"), "avg")
    if mode != "avg":
        raise ValueError(f"mode {mode!r} is not supported, only avg")
    default = "half_pixel" if c.opset >= 16 else "output_half_pixel"
    places = text_of(c.attrs.get("coordinate_transformation_mode"), default)
    if places not in ("half_pixel", "output_half_pixel"):
        raise ValueError(f"coordinate_transformation_mode {places!r} is not known")
    data, boxes, images = c[0], fit(c.builder, c[1], {1: 4}), c[2]
    scale = float(c.attrs.get("spatial_scale", 1.0))
    if places == "half_pixel":
        boxes = c.emit(relax.op.subtract(boxes, scalar_like(0.5 / scale, boxes)))
    count = data.ty.shape.values[0]
    if is_int(count):  # what lies beyond the images is looked up, and found to be no image
        known = const(np.arange(int(count)), dtype_of(boxes))
        images = relax.op.take(known, images, 0)  # negative ones are none, either
    else:
        images = relax.op.astype(images, dtype_of(boxes))
    images = c.emit(relax.op.expand_dims(c.emit(images), 1))
    return relax.op.vision.roi_align(
        data,
        c.emit(relax.op.concat([images, boxes], 1)),
        pooled_size=(c.attrs.get("output_height", 1), c.attrs.get("output_width", 1)),
        spatial_scale=scale,
        sample_ratio=c.attrs.get("sampling_ratio", 0),
        aligned=places == "half_pixel",
        layout="NCHW",
        mode="avg",
    )


SAMPLING: Mapping[tuple[str, str], Converter] = {
    ("", "Resize"): resize,
    ("", "RoiAlign"): roi_align,
    ("", "Upsample"): upsample,
}
"""(domain, operator) → converter."""
