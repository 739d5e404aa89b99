"""Convolutions of int16 activations: the scales that LiteRT multiplies by.

A sum of products becomes a result by one factor per channel, m = scale_x · scale_w / scale_y. Where
the sum has 64 bits, LiteRT keeps 15 bits of m (`MultiplyByQuantizedMultiplier` of its kernels), an
error of up to 2⁻¹⁶ of the value: half a step of a 16-bit result, in every layer. The weights' scale
that gives the kept factor, scale_w' = m' · scale_y / scale_x, makes the float form the same::

    m = 0.0123456 = 0.7901184 · 2⁻⁶      m' = round(0.7901184 · 2¹⁵) · 2⁻¹⁵ · 2⁻⁶

Sums of 32 bits (an int32 bias) and those of FULLY_CONNECTED are multiplied by all 31 bits; nothing
is to be done for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from byoc.frontends.tflite.schema import Quantisation, Tensor

__all__ = ["litert_scales"]

_KEPT, _WHOLE = 15, 31
"""Bits of a factor: after and before it is cut."""

Array = npt.NDArray[Any]


def litert_scales(
    data: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor
) -> tuple[Quantisation, Quantisation | None] | None:
    """Quantisation of weights and bias with LiteRT's factors; None where those of the file hold."""
    if data.dtype != "int16" or out.dtype != "int16" or weights.dtype != "int8":
        return None
    if bias is not None and bias.dtype != "int64":
        return None
    x, w, y = (t.quantisation for t in (data, weights, out))
    if x is None or w is None or y is None or not (x.per_tensor and y.per_tensor):
        return None
    step, wanted = float(x.scale[0]), float(y.scale[0])
    if not (step > 0 and wanted > 0 and (w.scale > 0).all()):
        return None
    kept = _cut(step * w.scale.astype(np.float64) / wanted) * wanted / step
    scaled = Quantisation(kept.astype(np.float32), w.zero, w.axis)
    if bias is None:
        return scaled, None
    return scaled, Quantisation((kept * step).astype(np.float32), np.zeros(kept.size, np.int64), 0)


def _cut(factor: Array) -> Array:
    """Factors with the bits that are kept: 31 bits rounded to 15, the largest not to a power."""
    mantissa, exponent = np.frexp(factor)
    whole = np.round(np.ldexp(mantissa, _WHOLE))
    short = np.floor(np.ldexp(whole, _KEPT - _WHOLE) + 0.5)
    short = np.where(whole < 2.0**_WHOLE, np.minimum(short, 2**_KEPT - 1), short)
    found: Array = np.ldexp(short, exponent - _KEPT)
    return found
