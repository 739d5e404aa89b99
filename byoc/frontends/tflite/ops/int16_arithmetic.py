"""int16 activations: LiteRT's own integer arithmetic, value for value.

A float32 sum of int16 · int8 products is no integer any more, and a result of 16 bits shows it. So
operators of int16 activations are not put between `dequantize` and `quantize`, but computed as
LiteRT's kernels do. A product reads the two bytes of each value apart::

    x int16 ─┬─ high = floor(x / 256 + ½) ── conv2d(high, W) ─ · 256 ┐
             └─ low = x - 256 · high ─────── conv2d(low, W) ─────── add ─ + bias ─ · m ─ round ─ y

|high| and |low| are at most 128: where the weights of a channel add up to 2¹⁷ or less, each sum is
an integer below 2²⁴, exact in float32 in whatever order an engine adds (float64 convolves whole
values else). So vendors that know no int16 take these convolutions, and change nothing.

A factor m = scale_x · scale_w / scale_y is an integer and a power of two, q · 2^(e - 31). Sums of
64 bits are multiplied by 15 bits of q, other values by all 31; halves go up.

Source: `MultiplyByQuantizedMultiplier` and `QuantizeMultiplier` as the kernels of LiteRT use them,
checked operator by operator in `tests/frontends/tflite/test_tflite_int16.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.schema import TfliteTensor
from byoc.segment import Array

__all__ = [
    "away_from_zero",
    "bounds",
    "factor",
    "high_multiplied",
    "is_int16",
    "multiplied",
    "product",
    "shifted",
    "stored",
]

op = relax.op

_KEPT, _WHOLE = 15, 31
"""Bits of a factor: after and before it is cut."""
_EXACT = 2.0**24 / 128
"""What the weights of a channel may add up to for sums in float32."""
LEAST, MOST = -32768, 32767


def is_int16(tensor: TfliteTensor) -> bool:
    """True for int16 numbers around zero with one scale."""
    q = tensor.quantisation
    return (
        tensor.dtype == "int16"
        and q is not None
        and q.per_tensor
        and not q.zero.any()
        and bool(q.scale[0] > 0)
    )


def factor(real: Any) -> tuple[Array, Array]:
    """(q, e) of a positive factor: real = q · 2^(e - 31), 2³⁰ ≤ q < 2³¹."""
    mantissa, exponent = np.frexp(np.asarray(real, np.float64))
    q = np.floor(np.ldexp(mantissa, _WHOLE) + 0.5).astype(np.int64)
    full = q == 1 << _WHOLE
    return np.where(full, q >> 1, q), exponent.astype(np.int64) + full


def _cut(real: Array) -> Array:
    """The factor with 15 of its 31 bits, as a real number."""
    q, exponent = factor(real)
    short = np.minimum((q + (1 << 15)) >> 16, (1 << _KEPT) - 1)
    kept: Array = np.ldexp(short.astype(np.float64), exponent - _KEPT)
    return kept


def away_from_zero(value: Any) -> Array:
    """Rounded to integers, halves away from zero."""
    rounded: Array = np.copysign(np.floor(np.abs(value) + 0.5), value)
    return rounded


def shifted(c: TfliteContext, value: Any, bits: Any) -> Any:
    """int64 / 2^bits, halves up.

    Args:
        c: The operator.
        value: int64.
        bits: One or more, for all values or for each channel.
    """
    right = np.asarray(bits, np.int64)
    half = const(np.int64(1) << (right - 1))
    return op.right_shift(c.emit(op.add(value, half)), const(right))


def multiplied(c: TfliteContext, value: Any, real: Any) -> Any:
    """Multiply int64 values by a real factor, rounding once, halves up.

    Args:
        c: The operator.
        value: int64.
        real: A positive factor, one for all values or one for each channel.
    """
    q, exponent = factor(real)
    wide = c.emit(op.multiply(value, const(q)))
    return shifted(c, wide, np.clip(_WHOLE - exponent, 1, 62))


def high_multiplied(c: TfliteContext, value: Any, real: float, count: int = 1) -> Any:
    """Multiply int64 values by real / count, rounded twice: after q, halves up; after 2^e, halves
    away from zero.

    q is divided by count, and first takes the bits that this frees.

    Args:
        c: The operator.
        value: int64.
        real: A positive factor; q and e are those of `factor`.
        count: How many values an average is over; 1 for none.
    """
    q, exponent = factor(real)
    free = min(count.bit_length() - 1, 32, _WHOLE + int(exponent))
    q, exponent = (q << free) // count, exponent - free
    if exponent > 0:
        value = op.multiply(value, const(np.int64(1) << exponent))
    wide = c.emit(op.multiply(value, const(q)))
    high = c.emit(shifted(c, wide, _WHOLE))
    if exponent >= 0:
        return high
    right = min(-int(exponent), 62)
    sign = c.emit(op.right_shift(high, const(63, np.int64)))
    return shifted(c, c.emit(op.add(high, sign)), right)


def bounds(tensor: TfliteTensor, activation: int) -> tuple[int, int] | None:
    """Return the least and most stored value of a result behind a fused activation.

    Args:
        tensor: The result, which is quantised with one scale.
        activation: Number of the activation in the file; 0 is none.

    Returns:
        Both bounds, in steps of int16, or None when the activation is not known.
    """
    assert tensor.quantisation is not None
    scale = np.float32(tensor.quantisation.scale[0])

    def grid(real: float) -> int:
        return int(away_from_zero(float(np.float32(real) / scale)))

    if activation == 0:
        return LEAST, MOST
    if activation == 1:
        return 0, MOST
    if activation == 2:
        return max(LEAST, grid(-1)), min(MOST, grid(1))
    if activation == 3:
        return 0, min(MOST, grid(6))
    return None


def stored(c: TfliteContext, value: Any, limits: tuple[int, int] = (LEAST, MOST)) -> Any:
    """Return a result as int16, clipped to limits.

    Args:
        c: The operator.
        value: Whole numbers, of an integer or float dtype.
        limits: Least and most stored value.
    """
    return op.astype(c.emit(op.clip(value, *limits)), "int16")


def product(
    c: TfliteContext,
    at: tuple[int, int, int],
    axes: Sequence[int],
    apply: Callable[[Any, Any], Any],
    form: tuple[int, ...],
    activation: int,
    channel: int,
) -> Any | None:
    """A convolution or matrix product of int16 activations and int8 weights.

    Args:
        c: The operator.
        at: Which inputs are data, weights, bias.
        axes: The weights' order for `apply`.
        apply: (data, weights) → the product.
        form: The shape of one number per channel.
        activation: Code of the fused activation.
        channel: The axis of the channels in the weights as stored.

    Returns:
        The result as int16; None where it is not of this kind, and floats must do.
    """
    data, weights, out = c.tensor(at[0]), c.tensor(at[1]), c.out()
    array, w = c.constant(at[1]), weights.quantisation
    added = c.constant(at[2]) if c.has(at[2]) else np.zeros(1, np.int64)
    limits = bounds(out, activation) if is_int16(out) else None
    if not is_int16(data) or limits is None or array is None or added is None or w is None:
        return None
    if array.dtype != np.int8 or w.zero.any() or not (w.scale > 0).all():
        return None
    whole = c.operator.name == "FULLY_CONNECTED"
    if added.dtype != np.int64 and not (whole and added.dtype == np.int32):
        return None
    real = _factors(data, w.scale, out, whole)
    if real.size > 1:
        real = real.reshape(form)
    total = np.abs(array.astype(np.float64)).sum(
        tuple(i for i in range(array.ndim) if i != channel % array.ndim)
    )
    kernel = array.transpose(axes)
    value = _summed(c, c.raw(at[0]), kernel, apply, bool(total.max(initial=0) <= _EXACT))
    shape = form if added.size > 1 else (1,) * len(form)
    biased = c.emit(op.add(value, const(added.reshape(shape), np.float64)))
    if whole:  # sums of 32 bits
        return stored(c, c.emit(multiplied(c, c.emit(op.astype(biased, "int64")), real)), limits)
    scaled = c.emit(op.multiply(biased, const(_cut(real))))
    rounded = c.emit(op.floor(c.emit(op.add(scaled, const(0.5, np.float64)))))
    return stored(c, rounded, limits)


def _factors(data: TfliteTensor, scale: Array, out: TfliteTensor, whole: bool) -> Array:
    """scale_x · scale_w / scale_y per channel, in the precision that LiteRT takes."""
    assert data.quantisation is not None and out.quantisation is not None
    step, wanted = data.quantisation.scale[0], np.float64(out.quantisation.scale[0])
    if whole and scale.size == 1:
        return np.asarray(np.float64(np.float32(step) * np.float32(scale)) / wanted)
    return np.asarray(np.float64(step) * scale.astype(np.float64) / wanted)


def _summed(
    c: TfliteContext, data: Any, kernel: Array, apply: Callable[[Any, Any], Any], split: bool
) -> Any:
    """The sums of products, integers, in float64."""
    if not split:
        wide = c.emit(op.astype(data, "float64"))
        return c.emit(apply(wide, const(kernel, np.float64)))
    weights = const(kernel, np.float32)
    value = c.emit(op.astype(data, "float32"))
    part = c.emit(op.multiply(value, const(2**-8, np.float32)))
    high = c.emit(op.floor(c.emit(op.add(part, const(0.5, np.float32)))))
    low = c.emit(op.subtract(value, c.emit(op.multiply(high, const(256, np.float32)))))
    sums = [c.emit(op.astype(c.emit(apply(v, weights)), "float64")) for v in (high, low)]
    return c.emit(op.add(c.emit(op.multiply(sums[0], const(256, np.float64))), sums[1]))
