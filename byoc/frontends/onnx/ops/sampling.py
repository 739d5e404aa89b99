"""Operators that sample between the elements of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import is_int
from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.onnx.context import Attributes, OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, text_of
from byoc.frontends.onnx.ops.resizing import resize_by_axis

__all__ = ["SAMPLING"]


def upsample(c: OnnxContext) -> Any:
    """Upsample 7 (attribute), 9 (input): Resize with asymmetric coordinates."""
    data = c[0]
    scales = c.attrs.get("scales") if c.opset < 9 else array_of(c[1], "scales").tolist()
    mode = text_of(c.attrs.get("mode"), "nearest")
    rank = data.ty.ndim
    if scales is None or len(scales) != rank or rank not in (3, 4, 5):
        raise ValueError(f"scales {scales} of {rank} dimensions are not supported")
    if any(s != 1 for s in scales[:2]):
        raise ValueError(f"scales {scales} resize batch or channels")
    if mode not in ("nearest", "linear"):
        raise ValueError(f"mode {mode!r} is not nearest or linear")
    sizes = [int(int(d) * s) for d, s in zip(data.ty.shape.values, scales, strict=True)][2:]
    layout, resize = {
        3: ("NCW", relax.op.image.resize1d if hasattr(relax.op.image, "resize1d") else None),
        4: ("NCHW", relax.op.image.resize2d),
        5: ("NCDHW", relax.op.image.resize3d if hasattr(relax.op.image, "resize3d") else None),
    }[rank]
    if resize is None:
        raise ValueError(f"TVM does not resize {rank - 2} dimensions")
    return resize(
        data,
        tuple(sizes),
        layout=layout,
        method="nearest_neighbor" if mode == "nearest" else "linear",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )


def resize(c: OnnxContext) -> Any:
    """Resize 10 to 19: TVM's kernels where they do as ONNX says, else matrices (`resizing.py`)."""
    scales = c[1] if c.opset < 11 else c[2]
    sizes = c[3] if c.opset >= 11 else None
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
    if attrs.get("antialias", 0) or mode == "half_pixel_symmetric":
        return False
    if "axes" in attrs or text_of(attrs.get("keep_aspect_ratio_policy"), "stretch") != "stretch":
        return False
    if not isinstance(data.ty, relax.TensorType) or data.ty.shape is None:
        return True
    dims = list(data.ty.shape.values)
    if len(dims) not in (3, 4, 5):
        return False
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
    """RoiAlign 10, 16, 22 of averages; TVM takes maxima before it interpolates."""
    mode = text_of(c.attrs.get("mode"), "avg")
    if mode != "avg":
        raise ValueError(f"mode {mode!r} is not supported, only avg")
    return c.stock("RoiAlign")


SAMPLING: Mapping[tuple[str, str], Converter] = {
    ("", "Resize"): resize,
    ("", "RoiAlign"): roi_align,
    ("", "Upsample"): upsample,
}
"""(domain, operator) → converter."""
