"""Slice, Squeeze and Split, whose bounds and lengths may be known only at run time.

In: dimensions and bounds, each a number or an expression. Out: bounds brought into the axis as ONNX
says, by expressions where need be::

    x[n][start:end]    begin = min(max(start < 0 ? start + n : start, 0), n)
                       end   = max(begin, min(end < 0 ? end + n : end, n))
                       y[end - begin],  y[i] = x[begin + i]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit, simplified
from byoc.frontends.helpers import array_of, axes_of, const, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import integers_of

__all__ = ["SLICING"]

_FAR = 1 << 40
"""No dimension is longer; sums of it and lengths do not overflow."""

_TO_THE_END = ((1 << 31) - 1, (1 << 63) - 1)


def slice_(c: OnnxContext) -> Any:
    """Slice 1 (attributes); 10, 11, 13 (inputs)."""
    if c.opset < 10:
        names = ("starts", "ends", "axes")
        given = [None if c.attrs.get(n) is None else const(c.attrs[n], np.int64) for n in names]
        c = c.reading([c[0], *given])
    shape = getattr(c[0].ty, "shape", None)
    if not isinstance(c[0].ty, relax.TensorType) or not isinstance(shape, relax.ShapeExpr):
        return c.reading(c.inputs, {}, 13).stock("Slice")
    if c[4] is not None and not isinstance(c[4], GenericConst):
        return c.reading(c.inputs, {}, 13).stock("Slice")
    count = _count(c[1])
    axes = list(range(count)) if c[3] is None else array_of(c[3], "axes").tolist()
    axes = axes_of(axes, len(shape.values))
    steps = [1] * len(axes) if c[4] is None else array_of(c[4], "steps").tolist()
    if isinstance(c[1], relax.Var) or isinstance(c[2], relax.Var):
        if count == len(axes) == len(steps) == _count(c[2]) and 0 not in steps:
            return _turned(c, axes, steps, *_computed_bounds(c, axes, steps))
        raise RefusedError(f"it has {count} starts, {len(axes)} axes and the steps {steps}")
    starts, ends = integers_of(c, c[1], "starts"), integers_of(c, c[2], "ends")
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise RefusedError(f"it has {len(starts)} starts, {len(ends)} ends, {len(steps)} steps")
    if any(is_int(step) and int(step) == 0 for step in steps):
        raise RefusedError("one of its steps is 0")
    lengths = [shape.values[axis] for axis in axes]
    ends = [_to_the_end(end, int(step)) for end, step in zip(ends, steps, strict=True)]
    if all(map(is_int, (*starts, *ends, *lengths))):
        return _known(c[0], axes, [list(map(int, part)) for part in (lengths, starts, ends, steps)])
    return _cut(c, axes, starts, ends, [int(step) for step in steps])


def _count(value: Any) -> int:
    """How many numbers a vector has, whatever they are."""
    if isinstance(value, relax.ShapeExpr):
        return len(value.values)
    shape = getattr(value.ty, "shape", None)
    if isinstance(shape, relax.ShapeExpr) and len(shape.values) == 1 and is_int(shape.values[0]):
        return int(shape.values[0])
    return 1


def _to_the_end(end: Any, step: int) -> Any:
    """The end of a slice; the largest numbers mean all that is left, backward as well."""
    return -_FAR if step < 0 and is_int(end) and int(end) in _TO_THE_END else end


def _known(data: Any, axes: list[int], parts: list[list[int]]) -> Any:
    """The slice where all numbers are known. Places count as in Python: beyond the ends they are
    the ends, and what ends before it begins is empty. TVM counts a negative number of elements.
    But backward from before the first element is from the first: ONNX says so.
    """
    begin, end, steps = [], [], []
    for size, start, stop, step in zip(*parts, strict=True):
        start = max(start, -size) if step < 0 else start
        first, last, stride = slice(start, stop, step).indices(size)
        if not len(range(first, last, stride)):
            first, last, stride = 0, 0, 1
        begin.append(first)
        end.append(last if last >= 0 else -size - 1)  # -1 is before the first, not the last
        steps.append(stride)
    return relax.op.strided_slice(data, axes, begin, end, steps)


def _cut(c: OnnxContext, axes: list[int], starts: Any, ends: Any, steps: list[int]) -> Any:
    lengths = [c[0].ty.shape.values[axis] for axis in axes]
    bounds = [_bounds(*each) for each in zip(lengths, starts, ends, steps, strict=True)]
    first, last = ([simplified(c.builder, b[end]) for b in bounds] for end in (0, 1))
    return _turned(c, axes, steps, first, last)


def _turned(c: OnnxContext, axes: list[int], steps: list[int], first: Any, last: Any) -> Any:
    """Forward slices; what runs backward is cut, turned round and thinned out."""
    ahead = [max(step, 1) for step in steps]
    data = c.typed(relax.op.strided_slice(c[0], axes, first, last, ahead, assume_inbound=True))
    for axis, step in zip(axes, steps, strict=True):
        if step < 0:
            data = c.emit(relax.op.flip(c.emit(data), axis))
        if step < -1:
            length = data.ty.shape.values[axis]
            data = relax.op.strided_slice(data, [axis], [0], [length], [-step], assume_inbound=True)
            data = c.typed(data)
    return data


def _computed_bounds(c: OnnxContext, axes: list[int], steps: list[int]) -> tuple[Any, Any]:
    """What `_bounds` gives, by tensors: TVM takes variables of shapes for lengths, 0 or more."""
    op = relax.op
    lengths = relax.ShapeExpr([c[0].ty.shape.values[axis] for axis in axes])
    length = c.emit(op.shape_to_tensor(lengths))
    up = np.array([int(step > 0) for step in steps], np.int64)
    least, most = const(up - 1), c.emit(op.subtract(length, const(1 - up)))
    zero, one = const(np.zeros_like(up)), const(np.ones_like(up))
    forward = const(up > 0)

    def place(value: Any, what: str, low: Any) -> Any:
        if not isinstance(value, relax.Var):
            numbers = integers_of(c, value, what)
            if all(map(is_int, numbers)):
                value = const(np.clip(np.array(numbers, np.int64), -_FAR, _FAR))
            else:
                value = c.emit(op.shape_to_tensor(relax.ShapeExpr(numbers)))
        value = c.emit(op.astype(value, "int64"))
        value = op.where(op.less(value, zero), op.add(value, length), value)
        return c.emit(op.minimum(op.maximum(value, low), most))

    begin, end = place(c[1], "starts", zero), place(c[2], "ends", least)
    after = c.emit(op.add(begin, one))
    first = op.where(forward, begin, op.minimum(op.add(end, one), after))
    last = op.where(forward, op.maximum(begin, end), after)
    return integers_of(c, c.emit(first), "first"), integers_of(c, c.emit(last), "last")


def _bounds(length: Any, start: Any, end: Any, step: int) -> tuple[Any, Any]:
    """The part that a slice reads of: inside the axis, its end not before its beginning.

    What reaches an end of the axis is that end, not a minimum that nobody can simplify: a flipped
    axis of n elements has n.
    """
    length = tirx.const(int(length), "int64") if is_int(length) else length
    zero = tirx.const(0, "int64")
    if step > 0:
        begin, stop = (_inside(place, length, zero, length) for place in (start, end))
        return begin, stop if stop is length else tirx.max(stop, begin)
    before, most = zero - 1, length - 1
    after = tirx.min(_inside(start, length, zero, most), most) + 1  # 0 of an axis of no elements
    stop = _inside(end, length, before, most)
    return zero if stop is before else tirx.min(stop + 1, after), after


def _inside(place: Any, length: Any, low: Any, high: Any) -> Any:
    """A place counted from the front, and brought between two bounds."""
    if is_int(place):
        if int(place) in _TO_THE_END or int(place) >= _FAR:
            return high
        if int(place) <= -_FAR:
            return low
        place = length + int(place) if int(place) < 0 else tirx.const(int(place), "int64")
    else:
        place = tirx.Select(place < 0, place + length, place)
    return tirx.min(tirx.max(place, low), high)


def squeeze(c: OnnxContext) -> Any:
    """Squeeze 1, 11 (attribute), 13 to 25 (input); a symbolic axis is held to be 1."""
    data = c[0]
    axes = c.attrs.get("axes") if c.opset < 13 else c[1]
    shape = getattr(data.ty, "shape", None)
    constant = axes is not None and (c.opset < 13 or not isinstance(axes, relax.Var))
    if isinstance(data.ty, relax.TensorType) and isinstance(shape, relax.ShapeExpr) and constant:
        given = list(axes or ()) if c.opset < 13 else integers_of(c, axes, "axes")
        numbers = axes_of(given, len(shape.values))
        if not all(is_int(shape.values[a]) for a in numbers):
            return relax.op.squeeze(fit(c.builder, data, dict.fromkeys(numbers, 1)), numbers)
    return c.stock("Squeeze")


SLICING: Mapping[tuple[str, str], Converter] = {
    ("", "Slice"): slice_,
    ("", "Squeeze"): squeeze,
}
"""(domain, operator) → converter."""
