"""Operators of int16 activations that LiteRT computes in integers; products are in
`int16_arithmetic`.

Each gives LiteRT's values, or None where the file asks for a form that is none of these; floats
between `dequantize` and `quantize` do then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext
from byoc.frontends.tflite.ops.int16_arithmetic import (
    away_from_zero,
    bounds,
    high_multiplied,
    is_int16,
    multiplied,
    shifted,
    stored,
)
from byoc.frontends.tflite.ops.products import FIRST, LAST, padding
from byoc.frontends.tflite.schema import TfliteTensor
from byoc.segment import Array

__all__ = ["INT16", "either"]

Exact: TypeAlias = Callable[[TfliteContext], "Any | None"]
op = relax.op


def either(exact: Exact, real: Converter) -> Converter:
    """Make a converter that is exact for int16 activations where it can be, and real for all else.

    Args:
        exact: Converts with integer arithmetic; None as a result means it cannot.
        real: Converts everything else.
    """

    def convert(c: TfliteContext) -> Any:
        found = exact(c) if is_int16(c.tensor(0)) and is_int16(c.out()) else None
        return real(c) if found is None else found

    return convert


def _step(tensor: TfliteTensor) -> float:
    assert tensor.quantisation is not None
    return float(tensor.quantisation.scale[0])


def _integers(c: TfliteContext, i: int) -> Any:
    return c.emit(op.astype(c.raw(i), "int64"))


def _sum(combine: Callable[[Any, Any], Any], options: str) -> Exact:
    """ADD, SUB: on a common grid of 2⁻¹⁵ of twice the larger step.

    LiteRT's vector code, which adds tensors of one shape in blocks of 16, rounds once on the way to
    that grid; its scalar code twice. They differ by a step in 1 of 10⁵ values.
    """

    def convert(c: TfliteContext) -> Any | None:
        o = c.options(options)
        if not is_int16(c.tensor(1)) or (o is not None and o.PotScaleInt16()):
            return None
        limits = bounds(c.out(), o.FusedActivationFunction() if o is not None else 0)
        if limits is None:
            return None
        steps = [_step(c.tensor(i)) for i in (0, 1)]
        common = 2 * max(steps)
        blocks = combine is op.add and c.shape(0) == c.shape(1)
        scaled = multiplied if blocks else high_multiplied
        parts = []
        for i, step in enumerate(steps):
            moved = c.emit(op.multiply(_integers(c, i), const(1 << _LEFT, np.int64)))
            parts.append(c.emit(scaled(c, moved, step / common)))
        total = c.emit(combine(*parts))
        result = high_multiplied(c, total, common / (2**_LEFT * _step(c.out())))
        return stored(c, c.emit(result), limits)

    return convert


_LEFT = 15


def multiply(c: TfliteContext) -> Any | None:
    """MUL: the factor is a float32."""
    o = c.options("MulOptions")
    if not is_int16(c.tensor(1)):
        return None
    limits = bounds(c.out(), o.FusedActivationFunction() if o is not None else 0)
    if limits is None:
        return None
    a, b, depth = (np.float32(_step(t)) for t in (c.tensor(0), c.tensor(1), c.out()))
    total = c.emit(op.multiply(_integers(c, 0), _integers(c, 1)))
    return stored(c, c.emit(high_multiplied(c, total, float(a * b / depth))), limits)


def mean(c: TfliteContext) -> Any | None:
    """MEAN: the count is divided into the factor, which keeps its bits so."""
    if c.constant(1) is None:
        return None
    shape = c.shape(0)
    axes = sorted({c.axis(a, len(shape)) for a in c.ints(1)})
    o = c.options("ReducerOptions")
    count = int(np.prod([shape[a] for a in axes]))
    if not axes or count < 1:
        return None
    real = _step(c.tensor(0)) / _step(c.out())
    total = c.emit(op.sum(_integers(c, 0), axes, keepdims=o is not None and bool(o.KeepDims())))
    return stored(c, c.emit(high_multiplied(c, total, real, count)))


def average_pool(c: TfliteContext) -> Any | None:
    """AVERAGE_POOL_2D: sums divided by what lies inside the image, halves away from zero."""
    o = c.needed("Pool2DOptions")
    shape = c.shape(0)
    limits = bounds(c.out(), o.FusedActivationFunction())
    if len(shape) != 4 or limits is None or _step(c.tensor(0)) != _step(c.out()):
        return None
    window, strides = (o.FilterHeight(), o.FilterWidth()), (o.StrideH(), o.StrideW())
    pads = padding(o.Padding(), shape[1:3], window, strides)
    data = op.permute_dims(c.emit(op.astype(c.raw(0), "float64")), list(FIRST))
    if window == shape[1:3] and not any(pads):
        total = c.emit(op.sum(data, [2, 3], keepdims=True))
    else:
        means = op.nn.avg_pool2d(
            data, list(window), list(strides), pads, count_include_pad=True
        )  # fmt: skip
        area = const(window[0] * window[1], np.float64)
        total = c.emit(op.round(c.emit(op.multiply(c.emit(means), area))))
    inside = _inside(shape[1:3], window, strides, pads)
    half = const(np.floor(inside / 2))
    away = op.multiply(c.emit(op.sign(total)), half)
    means = c.emit(op.divide(c.emit(op.add(total, c.emit(away))), const(inside)))
    return op.permute_dims(c.emit(stored(c, c.emit(op.trunc(means)), limits)), list(LAST))


def _inside(
    size: tuple[int, ...], window: tuple[int, int], strides: tuple[int, int], pads: list[int]
) -> Array:
    """How many pixels each window covers: float64 [1, 1, OH, OW]."""
    rows = []
    for n, k, s, before, after in zip(size, window, strides, pads[:2], pads[2:], strict=True):
        first = np.arange((n + before + after - k) // s + 1) * s - before
        rows.append(np.minimum(first + k, n) - np.maximum(first, 0))
    counts: Array = np.multiply.outer(*rows).astype(np.float64)[None, None]
    return counts


# -- softmax, from tables

_RANGE = 65535
_STEPS = 512


def softmax(c: TfliteContext) -> Any | None:
    """SOFTMAX: exp and 1 / (1 + x) are looked up in tables of 513 values and interpolated."""
    o = c.options("SoftmaxOptions")
    beta = float(o.Beta()) if o is not None else 1.0
    if beta <= 0 or abs(_step(c.out()) * 32768 - 1) > _SMALL:
        return None
    data = _integers(c, 0)
    below = c.emit(op.subtract(data, c.emit(op.max(data, [-1], keepdims=True))))
    scale = _step(c.tensor(0)) * beta / (10 / _RANGE)
    place = op.add(c.emit(high_multiplied(c, below, scale)), const(32767, np.int64))
    powers = _look_up(c, c.emit(place), _table(10 / _RANGE, 32767, np.exp))
    total = c.emit(op.sum(powers, [-1], keepdims=True))
    # the sum as 1.f · 2^(length - 1): 1 / (1 + f) comes from a table, the power is a shift
    ladder = const(np.int64(1) << np.arange(32))
    length = op.sum(c.emit(op.astype(op.greater_equal(total, ladder), "int64")), [-1], True)
    length = c.emit(length)
    moved = op.left_shift(total, c.emit(op.subtract(const(31, np.int64), length)))
    moved = shifted(c, c.emit(moved), 14)
    fraction = c.emit(op.subtract(c.emit(moved), const((1 << 15) + (1 << 16), np.int64)))
    inverse = _look_up(c, fraction, _table(1 / _RANGE, -32768, lambda v: 1 / (1 + v)))
    right = c.emit(op.subtract(length, const(1, np.int64)))
    half = op.left_shift(const(1, np.int64), c.emit(op.subtract(right, const(1, np.int64))))
    wide = c.emit(op.add(c.emit(op.multiply(powers, inverse)), c.emit(half)))
    return stored(c, c.emit(op.right_shift(wide, right)), (0, 32767))


_SMALL = 1e-3


def _table(step: float, zero: int, function: Callable[[Any], Any]) -> Array:
    """513 values of a function of step · (int16 - zero), in units of 2⁻¹⁵, int64.

    Each value leans against the error of interpolation in the middle of its interval.
    """
    low, high = step * (-32768 - zero), step * (32767 - zero)
    width, unit = (high - low) / _STEPS, 65536 / 2
    at = low + np.arange(_STEPS) * width
    here, middle, after = (function(at + d) * unit for d in (0.0, width / 2, width))
    error = away_from_zero((after + away_from_zero(here)) / 2) - away_from_zero(middle)
    values = away_from_zero(here) - away_from_zero(error / 2)
    last = away_from_zero(function(np.array(high)) * unit)
    whole: Array = np.clip(np.append(values, last), -32768, 32767).astype(np.int64)
    return whole


def _look_up(c: TfliteContext, place: Any, table: Array) -> Any:
    """Between two entries on a line; place: int64, clipped to int16."""
    place = c.emit(op.clip(place, -32768, 32767))
    index = c.emit(op.add(c.emit(op.right_shift(place, const(7, np.int64))), const(256, np.int64)))
    offset = c.emit(op.bitwise_and(place, const(127, np.int64)))
    base = c.emit(op.take(const(table), index, 0))
    slope = c.emit(op.take(const(np.append(np.diff(table), 0)), index, 0))
    line = c.emit(shifted(c, c.emit(op.multiply(slope, offset)), 7))
    return c.emit(op.add(base, line))


INT16: Mapping[str, Exact] = {
    "ADD": _sum(op.add, "AddOptions"),
    "AVERAGE_POOL_2D": average_pool,
    "MEAN": mean,
    "MUL": multiply,
    "SOFTMAX": softmax,
    "SUB": _sum(op.subtract, "SubOptions"),
}
