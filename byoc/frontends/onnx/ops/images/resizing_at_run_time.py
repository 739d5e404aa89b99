"""Resize along an axis whose length, or scale, is known only at run time.

What `resizing.py` puts into a constant matrix is computed with the model::

    x(o)     = where output element o lies in the input, a vector of float32 numbers
    out[o]   = Σ_k  data[clip(⌊x(o)⌋ + k)] · w_k(o)        w_k(o) = kernel((⌊x(o)⌋ + k - x(o)) · s)

The kernel reaches one element (linear) or two (cubic) to each side, 1/s times as far where it
shrinks with `antialias`, so the number of terms is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext
from byoc.frontends.onnx.ops.images.resizing_axes import ResizedAxis, float_of

__all__ = ["ResizeKernel", "Samples"]

op = relax.op

_TAPS = {"linear": 1, "cubic": 2}
"""Mode → how many elements to each side of a place count."""


@dataclass(frozen=True)
class ResizeKernel:
    """How an element between others is made of them.

    Attributes:
        mode: nearest, linear or cubic.
        rounding: The attribute nearest_mode, or what opset 10 does: "behind_where_it_shrinks".
        cubic: The attribute cubic_coeff_a.
        exclude_outside: Whether elements beyond the edge count nothing, instead of as the edge.
        antialias: Whether the kernel is widened where the axis shrinks.
    """

    mode: str
    rounding: str
    cubic: float
    exclude_outside: bool
    antialias: bool


@dataclass(frozen=True)
class Samples:
    """The places of one axis, as a vector.

    Attributes:
        c: The node's context; what is computed is bound there.
        axis: The axis.
        places: Where each output element lies in the input.
    """

    c: OnnxContext
    axis: ResizedAxis
    places: Any

    @classmethod
    def along(cls, c: OnnxContext, axis: ResizedAxis, mode: str) -> Samples:
        """The places of an axis by `coordinate_transformation_mode`.

        Args:
            c: The node's context.
            axis: The axis.
            mode: The coordinate transformation.

        Raises:
            ValueError: The mode is not known.
        """
        wanted = axis.wanted
        to = op.astype(op.arange(0, wanted, 1, "int64"), "float32")
        half = _subtract(_divide(_add(to, 0.5), axis.scale), 0.5)
        last, steps = _add(float_of(axis.size), -1.0), _add(float_of(wanted), -1.0)
        if mode == "asymmetric":
            places = _divide(to, axis.scale)
        elif mode == "half_pixel":
            places = half
        elif mode == "pytorch_half_pixel":
            places = _if_one(wanted, _multiply(to, 0.0), half)
        elif mode == "align_corners":
            places = _divide(_multiply(to, last), _maximum(steps, 1.0))  # 0 of one element
        elif mode == "half_pixel_symmetric":
            length = _multiply(axis.scale, float_of(axis.size))
            short = _subtract(_real(1.0), _divide(float_of(wanted), length))
            places = _add(_multiply(_multiply(float_of(axis.size), 0.5), short), half)
        elif mode == "tf_crop_and_resize":
            begin, end = axis.roi
            middle = _multiply(_multiply(_add(begin, end), 0.5), last)
            across = _multiply(_multiply(to, _subtract(end, begin)), last)
            several = _add(_multiply(begin, last), _divide(across, _maximum(steps, 1.0)))
            places = _if_one(wanted, _add(_multiply(to, 0.0), middle), several)
        else:
            raise ValueError(f"coordinate_transformation_mode {mode!r} is not known")
        return cls(c, axis, c.emit(places))

    def taken(self, data: Any, kernel: ResizeKernel) -> Any:
        """The data, resized along the axis.

        Args:
            data: A typed tensor.
            kernel: How elements are mixed.

        Raises:
            ValueError: The mode is not known, or how many elements are mixed is known only at run
                time.
        """
        if kernel.mode == "nearest":
            return self.c.emit(self._at(data, self._nearest(kernel.rounding)))
        if kernel.mode not in _TAPS:
            raise ValueError(f"mode {kernel.mode!r} is not nearest, linear or cubic")
        shrink = 1.0
        if kernel.antialias:
            if not isinstance(self.axis.scale, float):
                raise ValueError("antialias of a scale that is known only at run time")
            shrink = min(1.0, self.axis.scale)
        reach = math.ceil(_TAPS[kernel.mode] / shrink)
        before = self.c.emit(op.floor(self.places))
        terms = [self._weighted(before, k, shrink, kernel) for k in range(1 - reach, reach + 1)]
        if kernel.antialias or kernel.exclude_outside:  # else they are 1 together
            total = terms[0][1]
            for _, weight in terms[1:]:
                total = op.add(total, weight)
            total = self.c.emit(total)
            terms = [(near, self.c.emit(op.divide(weight, total))) for near, weight in terms]
        dtype = dtype_of(data)
        exact = "float32" if dtype in ("float16", "bfloat16") else dtype
        result = None
        for near, weight in terms:
            part = self._at(data, near)
            part = part if exact == dtype else op.astype(part, exact)
            part = op.multiply(part, self._along(op.astype(weight, exact), data.ty.ndim))
            result = part if result is None else op.add(result, part)
        return self.c.emit(result if exact == dtype else op.astype(result, dtype))

    def inside(self, rank: int) -> Any:
        """Whether places lie inside the input, for a tensor of `rank` dimensions."""
        last = _add(float_of(self.axis.size), -1.0)
        low, high = op.greater_equal(self.places, _real(0.0)), op.less_equal(self.places, last)
        return self._along(self.c.emit(op.logical_and(low, high)), rank)

    def _nearest(self, rounding: str) -> Any:
        if rounding == "round_prefer_floor":
            return op.ceil(_subtract(self.places, 0.5))
        if rounding == "round_prefer_ceil":
            return op.floor(_add(self.places, 0.5))
        if rounding == "behind_where_it_shrinks":
            less = op.less(_vector(self.axis.scale), _real(1.0))
            return op.where(less, op.ceil(self.places), op.floor(self.places))
        if rounding in ("floor", "ceil"):
            return getattr(op, rounding)(self.places)
        known = "round_prefer_floor, round_prefer_ceil, floor, ceil"
        raise ValueError(f"nearest_mode {rounding!r} is not one of {known}")

    def _weighted(
        self, before: Any, k: int, shrink: float, kernel: ResizeKernel
    ) -> tuple[Any, Any]:
        """The k-th element from that before the place, and its weight."""
        near = self.c.emit(_add(before, float(k)))
        far = self.c.emit(_multiply(op.abs(op.subtract(near, self.places)), shrink))
        if kernel.mode == "linear":
            weight = _maximum(_subtract(_real(1.0), far), 0.0)
        else:
            weight = _cubic(far, kernel.cubic)
        if kernel.exclude_outside:
            last = _add(float_of(self.axis.size), -1.0)
            there = op.logical_and(op.greater_equal(near, _real(0.0)), op.less_equal(near, last))
            weight = op.where(there, weight, _real(0.0))
        return near, self.c.emit(weight)

    def _at(self, data: Any, near: Any) -> Any:
        at = self.c.emit(op.astype(near, "int64"))
        return op.take(data, at, self.axis.axis, mode="clip")

    def _along(self, vector: Any, rank: int) -> Any:
        shape = [1] * rank
        shape[self.axis.axis] = self.axis.wanted
        return op.reshape(vector, relax.ShapeExpr(shape))


def _real(value: float) -> Any:
    return const([value], np.float32)


def _vector(value: Any) -> Any:
    return _real(value) if isinstance(value, (int, float)) else value


def _both(make: Any, a: Any, b: Any) -> Any:
    return make(_vector(a), _vector(b))


def _add(a: Any, b: Any) -> Any:
    return _both(op.add, a, b)


def _subtract(a: Any, b: Any) -> Any:
    return _both(op.subtract, a, b)


def _multiply(a: Any, b: Any) -> Any:
    return _both(op.multiply, a, b)


def _divide(a: Any, b: Any) -> Any:
    return _both(op.divide, a, b)


def _maximum(a: Any, b: Any) -> Any:
    return _both(op.maximum, a, b)


def _if_one(wanted: Any, single: Any, several: Any) -> Any:
    """`single` where the result has one element, else `several`."""
    if is_int(wanted):
        return single if int(wanted) == 1 else several
    return op.where(op.less_equal(float_of(wanted), _real(1.0)), single, several)


def _cubic(far: Any, a: float) -> Any:
    """Keys' kernel: two cubics, one up to a distance of 1, one up to 2."""
    inner = _add(_multiply(_multiply(_subtract(_multiply(far, a + 2), a + 3), far), far), 1.0)
    outer = _multiply(_add(_multiply(_subtract(_multiply(far, a), 5 * a), far), 8 * a), far)
    outer = _subtract(outer, 4 * a)
    beyond = op.where(op.less(far, _real(2.0)), outer, _real(0.0))
    return op.where(op.less_equal(far, _real(1.0)), inner, beyond)
