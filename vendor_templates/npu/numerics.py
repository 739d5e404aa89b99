"""Scales as the vector unit has them: an int32 multiplier and a right shift.

``scale = multiplier / 2**shift``, the multiplier in [2^30, 2^31): 31 good bits, an error of at
most 2^-31 of the value, so a result differs from the exact one only where it lies that close to
the middle between two integers.
"""

from __future__ import annotations

import math

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array

__all__ = ["MAX_SHIFT", "fixed_point", "fixed_point_pair", "fixed_points", "quantize_array"]

MAX_SHIFT = 62


def fixed_point(scale: float) -> tuple[int, int]:
    """(multiplier, shift) nearest to a positive scale.

    Raises CompileError when the scale is not positive and finite, or too large.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise CompileError(f"npu: a scale must be positive and finite, found {scale}")
    mantissa, exponent = math.frexp(scale)
    multiplier, shift = round(mantissa * 2**31), 31 - exponent
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise CompileError(f"npu: scale {scale} is 2^31 or more")
    if shift > MAX_SHIFT:  # so small that bits fall off
        multiplier, shift = round(math.ldexp(multiplier, MAX_SHIFT - shift)), MAX_SHIFT
    return multiplier, shift


def fixed_points(scales: Array) -> tuple[Array, Array]:
    """`fixed_point` of each element: (int32 multipliers, int32 shifts)."""
    pairs = [fixed_point(float(scale)) for scale in np.ravel(scales)]
    return (
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int32),
    )


def fixed_point_pair(first: float, second: float) -> tuple[int, int, int]:
    """(multiplier, multiplier, shift) of two positive scales over one common shift."""
    largest, shift = fixed_point(max(first, second))
    small = round(math.ldexp(min(first, second), shift))
    return (largest, small, shift) if first >= second else (small, largest, shift)


def quantize_array(values: Array, scale: float, zero: int) -> Array:
    """ONNX QuantizeLinear to int8: half to even, then saturate."""
    quotient = np.rint(np.asarray(values, np.float32) / np.float32(scale))
    clipped: Array = np.clip(quotient + zero, -128, 127).astype(np.int8)
    return clipped
