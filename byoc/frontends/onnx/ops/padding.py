"""Pad: by constant widths one op; by widths that the model computes, axis by axis::

    constant       concat(block of `before` elements, data, block of `after` elements)
    edge           data[clip(i, 0, n - 1)]                 i = -before … n + after - 1
    reflect        data[min(j, p - j)], j = i mod p        p = 2 · (n - 1)
    wrap           data[i mod n]

A negative width cuts off; of one that may be negative at run time its part below 0 does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, tirx

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import hold, number, proved_true, simplified
from byoc.frontends.helpers import axes_of, const, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, integers_of, number_of, text_of

__all__ = ["PADDING"]

op = relax.op

_EXACT = 1 << 53
"""Whole numbers up to here are floats, too."""

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""ONNX's mode → that of Relax."""


def pad(c: OnnxContext) -> Any:
    """Pad 2 (attributes), 11, 13 (inputs), 18 (axes), 19 (wrap)."""
    data, rank = c[0], c[0].ty.ndim
    attribute = c.opset < 11
    pads = list(c.attrs.get("pads") or ()) if attribute else integers_of(c, c[1], "pads")
    axes = list(range(rank)) if c[3] is None else axes_of(array_of(c[3], "axes").tolist(), rank)
    if len(pads) != 2 * len(axes):
        raise ValueError(f"pads {pads} do not fit {len(axes)} axes")
    width: list[Any] = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        width[2 * axis], width[2 * axis + 1] = pads[i], pads[len(axes) + i]
    for dim, before, after in zip(data.ty.shape.values, width[::2], width[1::2], strict=True):
        known = all(map(is_int, (dim, before, after)))
        if known and not 0 <= int(dim) + before + after < 1 << 46:
            raise RefusedError(f"it pads {int(dim)} elements by {before} and {after}")
    mode = text_of(c.attrs.get("mode"), "constant")
    if mode not in _MODES:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(_MODES)}")
    value = c.attrs.get("value", 0.0) if attribute else c[2]
    computed = mode == "constant" and isinstance(value, relax.Var)
    if not computed:
        value = value if attribute else (number_of(value, "constant_value") or 0)
    data, width = _cut(c, data, width)
    if not any(not is_int(w) or w for w in width):
        return data
    if computed or not all(map(is_int, width)):
        return _by_axis(c, data, width, mode, value if computed else scalar_like(value, data))
    if not isinstance(value, int) or abs(value) <= _EXACT or mode != "constant":
        return op.nn.pad(data, width, _MODES[mode], value)
    shift = scalar_like(value, data)  # the op takes a float: pads 0, moved to the value
    padded = op.nn.pad(c.emit(op.subtract(data, shift)), width, "constant", 0)
    return op.add(padded, shift)


def _cut(c: OnnxContext, data: Any, width: list[Any]) -> tuple[Any, list[Any]]:
    """The data without what negative widths cut off, and what is to be added."""
    off, more = _parts(c, width)
    if all(is_int(w) and not w for w in off):
        return data, more
    begin, end = off[::2], []
    for dim, before, after in zip(data.ty.shape.values, begin, off[1::2], strict=True):
        if not all(map(is_int, (dim, before, after))):
            data = hold(c.builder, data, number(dim) - before - after >= 0)
        end.append(_simple(c, dim - after))
    axes = list(range(len(begin)))
    return c.emit(op.strided_slice(data, axes, begin, end, assume_inbound=True)), more


def _parts(c: OnnxContext, width: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """How much widths cut off, and how much they add: of each its part below and above 0.

    Of numbers that the model computes this is tensors' work: TVM takes their variables for lengths,
    which are not negative.
    """
    loose = [w for w in width if not is_int(w) and w in c.builder.computed]
    split: dict[Any, tuple[Any, Any]] = {}
    if loose:
        given = c.emit(op.shape_to_tensor(relax.ShapeExpr(loose)))
        zero = const(0, np.int64)
        below = integers_of(c, c.emit(op.negative(op.minimum(given, zero))), "cut")
        above = integers_of(c, c.emit(op.maximum(given, zero)), "added")
        split = dict(zip(loose, zip(below, above, strict=True), strict=True))
    off, more = [], []
    for w in width:
        if is_int(w):
            parts: tuple[Any, Any] = (max(-int(w), 0), max(int(w), 0))
        elif w in split:
            parts = split[w]
        elif proved_true(c.builder, w >= 0):
            parts = (0, w)
        else:
            parts = (tirx.max(0 - w, tirx.const(0, "int64")), tirx.max(w, tirx.const(0, "int64")))
        off.append(parts[0])
        more.append(parts[1])
    return off, more


def _simple(c: OnnxContext, dim: Any) -> Any:
    return int(dim) if is_int(dim) else simplified(c.builder, dim)


def _by_axis(c: OnnxContext, data: Any, width: Sequence[Any], mode: str, value: Any) -> Any:
    for axis, (before, after) in enumerate(zip(width[::2], width[1::2], strict=True)):
        if is_int(before) and is_int(after) and not before and not after:
            continue
        data = c.typed(data)
        if mode == "constant":
            parts = [_block(c, data, axis, n, value) for n in (before, after)]
            data = c.emit(op.concat([parts[0], data, parts[1]], axis))
            continue
        length = data.ty.shape.values[axis]
        if mode == "reflect":
            data = hold(c.builder, data, number(length) > tirx.max(number(before), number(after)))
        elif not is_int(length):
            data = hold(c.builder, data, length > 0)
        data = c.emit(op.take(data, _places(c, length, before, after, mode), axis, mode="clip"))
    return data


def _block(c: OnnxContext, data: Any, axis: int, length: Any, value: Any) -> Any:
    """Elements of one value, to stand beside the data along an axis."""
    dims = list(data.ty.shape.values)
    dims[axis] = length
    one = c.emit(op.reshape(value, [1] * len(dims)))
    return c.emit(op.broadcast_to(one, relax.ShapeExpr([number(d) for d in dims])))


def _places(c: OnnxContext, length: Any, before: Any, after: Any, mode: str) -> Any:
    """Which element of the data stands at each place of the result."""
    count = _simple(c, number(length) + before + after)
    at = c.emit(op.subtract(op.arange(0, count, 1, "int64"), _vector(before)))
    if mode == "edge":
        return at
    if mode == "wrap":
        return c.emit(op.floor_mod(at, _vector(length)))
    period = c.emit(op.maximum(_vector(2 * (number(length) - 1)), _vector(1)))
    turned = c.emit(op.floor_mod(at, period))
    return c.emit(op.minimum(turned, op.subtract(period, turned)))


def _vector(dim: Any) -> Any:
    """A dimension as a vector of one int64."""
    if is_int(dim):
        return const([int(dim)], np.int64)
    return op.shape_to_tensor(relax.ShapeExpr([dim]))


PADDING: Mapping[tuple[str, str], Converter] = {("", "Pad"): pad}
"""(domain, operator) → converter."""
