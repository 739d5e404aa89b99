"""Operators that sample between the elements of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit, proved_equal
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import integers_of, text_of
from byoc.frontends.onnx.ops.images.resizing import resize_by_axis
from byoc.frontends.onnx.ops.images.resizing_axes import grown
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
    mode = text_of(c.attrs.get("mode"), "nearest")
    attrs = {"mode": mode.encode(), "coordinate_transformation_mode": b"asymmetric",
             "nearest_mode": b"floor"}  # fmt: skip
    newer = c.reading([c[0], None, c[1]], attrs, 13)
    known = isinstance(c[1], GenericConst)
    grows = mode != "nearest" or (known and bool((to_numpy(c[1].value) >= 1).all()))
    image = _image_op(newer) if grows else None
    return resize_by_axis(c.reading([c[0], c[1]], attrs, 10)) if image is None else image


def resize(c: OnnxContext) -> Any:
    """Resize 10 to 19: TVM's ops where they do as ONNX says, else axis by axis (`resizing.py`)."""
    if c.opset < 11:
        return _resize_10(c)
    scales, sizes = c[2], c[3]
    if isinstance(scales, GenericConst) and not to_numpy(scales.value).size:
        c = c.reading([c[0], c[1], None, sizes])  # until opset 13 one left out is an empty one
    image = _image_op(c)
    return resize_by_axis(c) if image is None else image


def _image_op(c: OnnxContext) -> Any:
    """The Resize as an op of Relax that patterns see; None where there is none that does as ONNX
    says: TVM's divide sizes where ONNX takes the scale it was given.
    """
    mode = text_of(c.attrs.get("coordinate_transformation_mode"), "half_pixel")
    if c.attrs.get("antialias", 0) or mode in ("half_pixel_symmetric", "tf_crop_and_resize"):
        return None
    if (
        "axes" in c.attrs
        or text_of(c.attrs.get("keep_aspect_ratio_policy"), "stretch") != "stretch"
    ):
        return None
    shape = getattr(c[0].ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        return c.stock("Resize")
    dims = list(shape.values)
    if len(dims) not in (4, 5):
        return None
    wanted = _sizes_of_images(c, dims, mode)
    if wanted is None or (mode == "asymmetric" and any(map(_is_kept, dims[2:], wanted))):
        return None
    make = relax.op.image.resize2d if len(dims) == 4 else relax.op.image.resize3d
    method = text_of(c.attrs.get("mode"), "nearest")
    return make(
        c[0],
        relax.ShapeExpr(wanted),
        layout="NCHW" if len(dims) == 4 else "NCDHW",
        method="nearest_neighbor" if method == "nearest" else method,
        coordinate_transformation_mode=mode,
        rounding_method=text_of(c.attrs.get("nearest_mode"), "round_prefer_floor"),
        cubic_alpha=c.attrs.get("cubic_coeff_a", -0.75),
        cubic_exclude=c.attrs.get("exclude_outside", 0),
        extrapolation_value=c.attrs.get("extrapolation_value", 0.0),
    )


def _sizes_of_images(c: OnnxContext, dims: list[Any], mode: str) -> list[Any] | None:
    """The sizes that TVM's ops are to make, None where their scale would not be ONNX's."""
    scales, sizes = c[2], c[3]
    if isinstance(scales, GenericConst):
        factors = to_numpy(scales.value).tolist()
        if len(factors) != len(dims) or not all(map(math.isfinite, factors)):
            raise RefusedError(f"its scales are {factors}, for {len(dims)} dimensions")
        wanted = [d if f == 1 else grown(d, f) for d, f in zip(dims, factors, strict=True)]
        for dim, factor, size in zip(dims, factors, wanted, strict=True):
            if factor == 1:
                continue
            exact = int(dim) * factor if is_int(dim) else None
            if exact is None and not float(factor).is_integer():
                return None
            if exact is not None and abs(exact - round(exact)) > 1e-4 * max(1.0, exact):
                return None
            if mode == "align_corners" and is_int(size) and int(size) == 1:
                return None
        return wanted[2:] if factors[:2] == [1, 1] and 0 not in wanted else None
    if scales is not None or sizes is None:
        return None
    wanted = integers_of(c, sizes, "sizes")
    if len(wanted) != len(dims) or not all(map(proved_equal, dims[:2], wanted[:2])):
        return None
    if mode == "align_corners" and not all(is_int(w) and w != 1 for w in wanted[2:]):
        return None  # it divides by their lengths less 1
    if any(is_int(w) and w < 1 for w in wanted):
        return None
    return wanted[2:]


def _is_kept(dim: Any, wanted: Any) -> bool:
    """Whether a symbolic length stays: TVM cannot compile a product by n / n then."""
    return not is_int(dim) and proved_equal(dim, wanted)


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
