"""The axes that a Resize changes: of what length, to what length, by what scale.

In: data, and scales or sizes. Each number may be a constant, a dimension, or computed::

    x[n, 3, h, w], scales (1, 1, 2, 1.5)      axis 2: h → 2 · h,  axis 3: w → 3 · w // 2
    x[n, 3, h, w], sizes (n, 3, H, W)         axis 2: h → H, scale H / h, a number of the run
    x[n, 3, h, w], scales computed            h → ⌊h · scales[2]⌋, a dimension of its own

Source: ONNX operators, Resize 10 to 19, and ONNX Runtime, which counts in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.fitting.dims import proved_equal
from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import integers_of, parts_of, text_of
from byoc.ir.arrays import to_numpy

__all__ = ["ResizedAxis", "float_of", "grown", "resized_axes"]

op = relax.op

_PLAIN = 1000
"""Scales are taken for fractions of denominators up to this, if that makes the same float."""


@dataclass(frozen=True)
class ResizedAxis:
    """How one axis is resized.

    Attributes:
        axis: Its number.
        size: Its length: an int, or an expression of dimensions.
        wanted: The length of the result, as `size`.
        scale: Output over input: a float, or a Relax vector of one float32.
        roi: Begin and end, of 0 to 1, each as `scale`.
    """

    axis: int
    size: Any
    wanted: Any
    scale: Any
    roi: tuple[Any, Any]

    @property
    def known(self) -> bool:
        """Whether all of it is numbers."""
        real = (self.scale, *self.roi)
        return all(map(is_int, (self.size, self.wanted))) and all(
            isinstance(r, float) for r in real
        )


def resized_axes(c: OnnxContext) -> list[ResizedAxis]:
    """The axes that change; what keeps its scale stays, whatever the roi is.

    Args:
        c: The context of a Resize.

    Raises:
        RefusedError: No engine may run the node.
        ValueError: Relax cannot express it.
    """
    data = c[0]
    shape = getattr(data.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        raise ValueError("the number of dimensions of its data is not known")
    chosen = c.axes()
    sizes = [int(d) if is_int(d) else d for d in (shape.values[a] for a in chosen)]
    if 0 in sizes:
        raise ValueError(f"a dimension of {sizes} is 0")
    scales, wanted = _scales(c, chosen, sizes)
    edges = _numbers(c, c[1], "roi") if c.opset >= 11 and c[1] is not None else []
    count = len(chosen)
    edges = edges or [0.0] * count + [1.0] * count
    if len(edges) != 2 * count:
        raise RefusedError(f"its roi has {len(edges)} numbers; expected {2 * count}")
    return [
        ResizedAxis(a, n, w, s, (edges[i], edges[i + count]))
        for i, (a, n, w, s) in enumerate(zip(chosen, sizes, wanted, scales, strict=True))
        if s != 1.0 or not isinstance(s, float)
    ]


def float_of(dim: Any) -> Any:
    """A dimension as a Relax vector of one float32."""
    if is_int(dim):
        return const([int(dim)], np.float32)
    return op.astype(op.shape_to_tensor(relax.ShapeExpr([dim])), "float32")


def grown(size: Any, factor: float) -> Any:
    """The length of an axis times a scale, rounded down as ONNX Runtime does in float32."""
    if is_int(size):
        return math.floor(factor * int(size) + 1e-6)
    exact = Fraction(factor)
    plain = exact.limit_denominator(_PLAIN)
    if np.float32(float(plain)) == np.float32(factor):
        exact = plain
    return size * exact.numerator // exact.denominator


def _scales(
    c: OnnxContext, chosen: Sequence[int], sizes: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """One scale and one length wanted for each axis."""
    given = c[1] if c.opset < 11 else c[2]
    scales = [] if given is None else _numbers(c, given, "scales")
    if scales:
        if len(scales) != len(chosen):
            raise RefusedError(f"it has {len(scales)} scales for {len(chosen)} axes")
        wanted = [_scaled(c, n, s) for n, s in zip(sizes, scales, strict=True)]
    else:
        wanted = integers_of(c, c[3], "sizes") if c.opset >= 11 and c[3] is not None else []
        if len(wanted) != len(chosen):
            raise RefusedError(f"it has neither {len(chosen)} scales nor as many sizes")
        scales = [_ratio(c, n, w) for n, w in zip(sizes, wanted, strict=True)]
        policy = text_of(c.attrs.get("keep_aspect_ratio_policy"), "stretch")
        if policy != "stretch":
            if not all(isinstance(s, float) for s in scales):
                raise ValueError(f"{policy} for sizes that are known only at run time")
            scale = min(scales) if policy == "not_larger" else max(scales)
            scales = [scale] * len(chosen)
            wanted = [math.floor(scale * n + 0.5) for n in sizes]
    known = [s for s in scales if isinstance(s, float)]
    made = [w for w in wanted if isinstance(w, int)]
    if any(not 0 < s < math.inf for s in known) or min(made, default=1) < 1:
        raise RefusedError(f"it makes {wanted} of {list(sizes)} elements")
    return scales, wanted


def _ratio(c: OnnxContext, size: Any, wanted: Any) -> Any:
    if isinstance(size, int) and isinstance(wanted, int):
        return wanted / size
    if proved_equal(size, wanted):
        return 1.0
    return c.emit(op.divide(float_of(wanted), float_of(size)))


def _scaled(c: OnnxContext, size: Any, scale: Any) -> Any:
    if isinstance(scale, float):
        return size if scale == 1 else grown(size, scale)
    length = op.astype(op.floor(op.multiply(float_of(size), scale)), "int64")
    return integers_of(c, c.emit(length), "resized")[0]


def _numbers(c: OnnxContext, value: Any, what: str) -> list[Any]:
    """The numbers of a vector: floats, or Relax vectors of one float32 where they are computed."""
    if isinstance(value, GenericConst):
        return [float(v) for v in to_numpy(value.value).reshape(-1)]
    if isinstance(value, relax.ShapeExpr):
        return [float(int(d)) if is_int(d) else c.emit(float_of(d)) for d in value.values]
    parts = parts_of(c, value)
    if parts is not None:
        return [number for part in parts for number in _numbers(c, part, what)]
    shape = getattr(value.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr) or not all(map(is_int, shape.values)):
        raise ValueError(f"how many numbers {what} has is known only at run time")
    if dtype_of(value) != "float32":
        value = c.emit(op.astype(value, "float32"))
    if len(shape.values) == 1 and int(shape.values[0]) == 1:
        return [value]
    count = int(np.prod([int(d) for d in shape.values]))
    return [c.emit(op.strided_slice(value, [0], [i], [i + 1])) for i in range(count)]
