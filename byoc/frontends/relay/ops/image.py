"""image.* and upsampling: resizing and sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, dtype_of
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import (
    dims,
    integers,
    letters,
    rank,
    static_dims,
    unless,
)
from byoc.frontends.relay.ops.layouts import relayout
from byoc.frontends.relay.syntax import known_dtype

__all__ = ["IMAGE"]

op = relax.op
_METHODS = {"nearest_neighbor": "nearest_neighbor", "linear": "linear", "bilinear": "linear",
            "trilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}  # fmt: skip


def _method(name: Any) -> str:
    if name not in _METHODS:
        raise ValueError(f"method {name!r} is not one of {', '.join(_METHODS)}")
    return _METHODS[name]


def _rounding(method: str, rounding: Any, mode: str) -> str:
    """Where it is empty, aligned corners round and others take the floor; a file that leaves the
    attribute out means its default, "round".
    """
    if method != "nearest_neighbor":
        return "round"
    return str(unless(rounding, "round" if mode == "align_corners" else "floor"))


def resize2d(c: RelayContext, data: Any, given: Any = None, *, size: Any = None, roi: Any = None,
             layout: str = "NCHW", method: str = "linear",
             coordinate_transformation_mode: str = "half_pixel", rounding_method: str = "round",
             cubic_alpha: float = -0.5, cubic_exclude: int = 0, extrapolation_value: float = 0.0,
             out_dtype: Any = None) -> Any:  # fmt: skip
    """image.resize2d, dyn.image.resize2d with a constant size."""
    if given is not None:
        size = array_of(given, "size").tolist()
    way, mode = _method(method), str(coordinate_transformation_mode)
    if roi and any(float(r) for r in roi):
        raise ValueError(f"a region of interest, roi={roi}, is not read")
    data = c.typed(relayout(c, data, layout, "NCHW", "layout"))
    result = op.image.resize2d(
        data,
        tuple(integers(size, 2, "size")),
        layout="NCHW",
        method=way,
        coordinate_transformation_mode=mode,
        rounding_method=_rounding(way, rounding_method, mode),
        cubic_alpha=float(cubic_alpha),
        cubic_exclude=int(cubic_exclude),
        extrapolation_value=float(extrapolation_value),
        out_dtype=known_dtype(unless(out_dtype, None)) or dtype_of(data),
    )
    return relayout(c, c.typed(result), "NCHW", layout, "layout")


def resize(c: RelayContext, data: Any, *, size: Any, layout: str = "NCHW",
           method: str = "bilinear", coordinate_transformation_mode: str = "half_pixel",
           rounding_method: str = "", bicubic_alpha: float = -0.5, bicubic_exclude: int = 0,
           out_dtype: Any = None) -> Any:  # fmt: skip
    """image.resize, as TVM 0.7 called it."""
    return resize2d(
        c,
        data,
        size=size,
        layout=layout,
        method=method,
        coordinate_transformation_mode=coordinate_transformation_mode,
        rounding_method=rounding_method,
        cubic_alpha=bicubic_alpha,
        cubic_exclude=bicubic_exclude,
        out_dtype=out_dtype,
    )


def resize1d(c: RelayContext, data: Any, *, layout: str = "NCW", size: Any, **attrs: Any) -> Any:
    """image.resize1d: an image of one row."""
    data = c.typed(relayout(c, data, layout, "NCW", "layout"))
    row = c.typed(op.expand_dims(data, 2))
    wide = resize2d(c, row, size=[1, *integers(size, 1, "size")], **attrs)
    return relayout(c, c.typed(op.squeeze(c.typed(wide), [2])), "NCW", layout, "layout")


def resize3d(c: RelayContext, data: Any, *, size: Any, roi: Any = None, layout: str = "NCDHW",
             method: str = "linear", coordinate_transformation_mode: str = "half_pixel",
             rounding_method: str = "round", cubic_alpha: float = -0.5, cubic_exclude: int = 0,
             extrapolation_value: float = 0.0, out_dtype: Any = None) -> Any:  # fmt: skip
    """image.resize3d."""
    way, mode = _method(method), str(coordinate_transformation_mode)
    data = c.typed(relayout(c, data, layout, "NCDHW", "layout"))
    result = op.image.resize3d(
        data,
        tuple(integers(size, 3, "size")),
        layout="NCDHW",
        method=way,
        coordinate_transformation_mode=mode,
        rounding_method=_rounding(way, rounding_method, mode),
        cubic_alpha=float(cubic_alpha),
        cubic_exclude=int(cubic_exclude),
        extrapolation_value=float(extrapolation_value),
        out_dtype=known_dtype(unless(out_dtype, None)) or dtype_of(data),
    )
    return relayout(c, c.typed(result), "NCDHW", layout, "layout")


def _scaled(size: Any, scale: float) -> int:
    return round(int(size) * float(scale))


def upsampling(c: RelayContext, data: Any, *, scale_h: float = 1.0, scale_w: float = 1.0,
               layout: str = "NCHW", method: str = "nearest_neighbor",
               align_corners: Any = False) -> Any:  # fmt: skip
    """nn.upsampling."""
    shape = static_dims(data)
    h, w = (shape[i] for i in letters(layout, "NCHW", "layout")[2:])
    mode = "align_corners" if align_corners else "asymmetric"
    return resize2d(
        c,
        data,
        size=[_scaled(h, scale_h), _scaled(w, scale_w)],
        layout=layout,
        method=method,
        coordinate_transformation_mode=mode,
        rounding_method="",
    )


def dynamic_upsampling(c: RelayContext, data: Any, scale_h: Any, scale_w: Any, **attrs: Any) -> Any:
    """dyn.nn.upsampling with constant scales."""
    sizes = (float(array_of(s, "a scale").item()) for s in (scale_h, scale_w))
    return upsampling(c, data, scale_h=next(sizes), scale_w=next(sizes), **attrs)


def upsampling3d(c: RelayContext, data: Any, *, scale_d: float = 1.0, scale_h: float = 1.0,
                 scale_w: float = 1.0, layout: str = "NCDHW", method: str = "nearest_neighbor",
                 coordinate_transformation_mode: str = "half_pixel") -> Any:  # fmt: skip
    """nn.upsampling3d."""
    shape = static_dims(data)
    sizes = [shape[i] for i in letters(layout, "NCDHW", "layout")[2:]]
    scales = (scale_d, scale_h, scale_w)
    return resize3d(
        c,
        data,
        size=[_scaled(n, s) for n, s in zip(sizes, scales, strict=True)],
        layout=layout,
        method=method,
        coordinate_transformation_mode=coordinate_transformation_mode,
        rounding_method="",
    )


def grid_sample(c: RelayContext, data: Any, grid: Any, *, method: str = "bilinear",
                layout: str = "NCHW", padding_mode: str = "zeros",
                align_corners: Any = True) -> Any:  # fmt: skip
    """image.grid_sample of images; Relay keeps the grid as [N, 2, H, W]."""
    if layout != "NCHW" or rank(data) != 4:
        raise ValueError(f"layout {layout!r}, {rank(data)} dimensions; byoc reads NCHW of 4")
    if rank(grid) != 4 or dims(grid)[1] != 2:
        raise ValueError(f"a grid of shape {dims(grid)} is not [N, 2, H, W]")
    return op.image.grid_sample(
        data, grid, str(method), "NCHW", str(padding_mode), bool(align_corners)
    )


def affine_grid(c: RelayContext, data: Any, *, target_shape: Any) -> Any:
    """image.affine_grid."""
    return op.image.affine_grid(data, tuple(integers(target_shape, 2, "target_shape")))


IMAGE: Mapping[str, Converter] = {
    "dyn.image.resize2d": resize2d,
    "dyn.nn.upsampling": dynamic_upsampling,
    "image.affine_grid": affine_grid,
    "image.grid_sample": grid_sample,
    "image.resize": resize,
    "image.resize1d": resize1d,
    "image.resize2d": resize2d,
    "image.resize3d": resize3d,
    "nn.upsampling": upsampling,
    "nn.upsampling3d": upsampling3d,
}
"""Operator → converter."""
