"""Images resized to a given size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["RESIZING"]

R = relax.op


_METHODS = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest_neighbor"}
"""What an operator's name holds → TVM's method."""


def upsample(
    c: TorchContext,
    /,
    input: Any = None,  # noqa: A002
    self: Any = None,
    output_size: Any = None,
    align_corners: bool = False,
    scale_factors: Any = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Any:
    """Images [batch, channels, height, width]; the nearest element, or a weighted mean of some."""
    x = self if input is None else input
    _check_scales(c, x, scale_factors or (scales_h, scales_w))
    name = c.node.target.__name__
    method = next(method for kind, method in _METHODS.items() if kind in name)
    nearest = {"coordinate_transformation_mode": "asymmetric", "rounding_method": "floor"}
    between = "align_corners" if align_corners else "half_pixel"
    return R.image.resize2d(
        x,
        relax.ShapeExpr(c.shape[2:]),
        layout="NCHW",
        method=method,
        **(nearest if "nearest" in name else {"coordinate_transformation_mode": between}),
    )


def _check_scales(c: TorchContext, x: Any, scales: Any) -> None:
    """torch takes given scales as they are, TVM works them out from the sizes: the same?"""
    for scale, before, after in zip(scales, c.dims(x)[2:], c.shape[2:], strict=True):
        if scale is None:
            continue
        sizes = isinstance(before, int) and isinstance(after, int)
        exact = abs(before * scale - after) < 1e-6 if sizes else float(scale).is_integer()
        if not exact:
            raise ValueError(
                f"a scale of {scale} that does not lead from {before} to {after} exactly; give "
                f"interpolate a size, or recompute_scale_factor=True"
            )


RESIZING: Mapping[str, Converter] = {
    "upsample_bicubic2d.default": upsample,
    "upsample_bicubic2d.vec": upsample,
    "upsample_bilinear2d.default": upsample,
    "upsample_bilinear2d.vec": upsample,
    "upsample_nearest2d.default": upsample,
    "upsample_nearest2d.vec": upsample,
}
"""ATen operator, as "name.overload" → converter."""
