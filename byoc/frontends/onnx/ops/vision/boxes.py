"""Choosing among boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit
from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of
from byoc.kit.own_ops import SUPPRESSION, own_call

__all__ = ["BOXES"]

op = relax.op


def non_max_suppression(c: OnnxContext) -> Any:
    """NonMaxSuppression 10, 11: of each class of each image, the best boxes that do not overlap.

    How many there are is known only at run time: rows of -1 are taken out.
    """
    boxes, scores = c[0], c[1]
    if any(dtype_of(v) != "float32" for v in (boxes, scores)):
        raise ValueError("boxes and scores that are not float32 are not supported")
    known = {to: d for to, d in zip((0, 2), boxes.ty.shape.values, strict=False) if is_int(d)}
    scores = fit(c.builder, scores, known)
    images, classes, count = scores.ty.shape.values
    boxes = fit(c.builder, boxes, {0: images, 1: count, 2: 4})
    limit = const([0], np.int64) if c[2] is None else _one(c, c[2])
    overlap = const([0], np.float32) if c[3] is None else _one(c, c[3])
    least = const([0], np.float32) if c[4] is None else _one(c, c[4])
    if isinstance(overlap, GenericConst):
        share = array_of(overlap, "iou_threshold").item()
        if not 0 <= share <= 1:
            raise RefusedError(f"its iou_threshold is {share}; legal are 0 to 1")
    most = count
    if isinstance(limit, GenericConst):
        known = array_of(limit, "max_output_boxes_per_class").item()
        if known <= 0:
            return const(np.zeros((0, 3), np.int64))
        most = min(known, int(count)) if is_int(count) else count
    if c.attrs.get("center_point_box", 0):
        boxes = _corners(c, boxes)
    order = c.emit(op.argsort(scores, -1, descending=True, dtype="int64"))
    kind = relax.TensorType([images * classes * most, 3], "int64")
    given = [boxes, scores, order, limit, overlap, least]
    rows = c.emit(own_call(SUPPRESSION, given, [kind], {"bounded": int(c[4] is not None)}))
    first = c.emit(op.strided_slice(rows, [1], [0], [1]))
    kept = c.emit(op.greater_equal(c.emit(op.reshape(first, [-1])), const(0, np.int64)))
    length = tirx.Var("kept", "int64")
    places = c.builder.match_cast(c.emit(op.nonzero(kept)), relax.TensorType([1, length], "int64"))
    return op.take(rows, c.emit(op.reshape(places, [length])), 0, mode="fast")


def _one(c: OnnxContext, value: Any) -> Any:
    """One number as a vector."""
    if isinstance(value, GenericConst):
        return const(array_of(value, "operand").reshape(1))
    return c.emit(op.reshape(value, [1]))


def _corners(c: OnnxContext, boxes: Any) -> Any:
    """[x, y, width, height] around a centre as [y1, x1, y2, x2]."""
    parts = c.emit(op.split(boxes, 4, 2))
    x, y, width, height = (c.emit(relax.TupleGetItem(parts, i)) for i in range(4))
    half = const(0.5, np.float32)
    halves = [c.emit(op.multiply(size, half)) for size in (height, width)]
    low = [c.emit(op.subtract(at, h)) for at, h in zip((y, x), halves, strict=True)]
    high = [c.emit(op.add(at, h)) for at, h in zip((y, x), halves, strict=True)]
    return c.emit(op.concat([*low, *high], 2))


BOXES: Mapping[tuple[str, str], Converter] = {
    ("", "NonMaxSuppression"): non_max_suppression,
}
"""(domain, operator) → converter."""
