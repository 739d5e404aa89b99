"""vision.*: boxes, as far as Relax has words for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, const, dtype_of, is_const
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import integers, limited, static_dims

__all__ = ["VISION"]

op = relax.op


def _number(given: Any, default: Any, what: str) -> Any:
    """A number that is an argument in newer versions and an attribute in older ones."""
    return default if given is None else array_of(given, what).item()


def non_max_suppression(c: RelayContext, data: Any, valid_count: Any, indices: Any,
                        max_output: Any = None, iou: Any = None, *, max_output_size: int = -1,
                        iou_threshold: float = 0.5, force_suppress: Any = False, top_k: int = -1,
                        coord_start: int = 2, score_index: int = 1, id_index: int = 0,
                        return_indices: Any = True,
                        invalid_to_bottom: Any = False) -> Any:  # fmt: skip
    """vision.non_max_suppression."""
    return op.vision.non_max_suppression(
        data,
        valid_count,
        indices,
        int(_number(max_output, max_output_size, "max_output_size")),
        float(_number(iou, iou_threshold, "iou_threshold")),
        bool(force_suppress),
        int(top_k),
        int(coord_start),
        int(score_index),
        int(id_index),
        bool(return_indices),
        bool(invalid_to_bottom),
    )


def get_valid_counts(c: RelayContext, data: Any, threshold: Any = None, *,
                     score_threshold: float = 0.0, id_index: int = 0,
                     score_index: int = 1) -> Any:  # fmt: skip
    """vision.get_valid_counts."""
    least = float(_number(threshold, score_threshold, "score_threshold"))
    return op.vision.get_valid_counts(data, least, int(id_index), int(score_index))


def roi_align(c: RelayContext, data: Any, rois: Any, *, pooled_size: Any, spatial_scale: float,
              sample_ratio: int = -1, layout: str = "NCHW", mode: str = "avg") -> Any:  # fmt: skip
    """vision.roi_align."""
    size = tuple(integers(pooled_size, 2, "pooled_size"))
    return op.vision.roi_align(
        data, rois, size, float(spatial_scale), int(sample_ratio), False, str(layout), _mode(mode)
    )


def _mode(mode: Any) -> str:
    text = {0: "avg", 1: "max"}.get(mode, mode)
    if text not in ("avg", "max"):
        raise ValueError(f"mode {mode!r} is neither 'avg' nor 'max'")
    return str(text)


def roi_pool(c: RelayContext, data: Any, rois: Any, *, pooled_size: Any, spatial_scale: float,
             layout: str = "NCHW") -> Any:  # fmt: skip
    """vision.roi_pool."""
    size = tuple(integers(pooled_size, 2, "pooled_size"))
    return op.vision.roi_pool(data, rois, size, float(spatial_scale), str(layout))


def multibox_prior(c: RelayContext, data: Any, *, sizes: Any = (1.0,), ratios: Any = (1.0,),
                   steps: Any = (-1.0, -1.0), offsets: Any = (0.5, 0.5),
                   clip: Any = False) -> Any:  # fmt: skip
    """vision.multibox_prior: depends on the shape alone, so it is a constant.

    For each pixel a box of every size with the first ratio, then of the first size with each
    other ratio, as corners [left, top, right, bottom] in parts of the image.
    """
    _, _, height, width = static_dims(data)
    step_y, step_x = (1 / n if s <= 0 else s for s, n in zip(steps, (height, width), strict=True))
    half = [(s * height / width / 2, s / 2) for s in sizes]
    first = sizes[0]
    half += [(first * height / width * r**0.5 / 2, first / r**0.5 / 2) for r in ratios[1:]]
    limited([height, width, len(half), 4])
    y = (np.arange(height) + offsets[0]) * step_y
    x = (np.arange(width) + offsets[1]) * step_x
    boxes = np.empty((height, width, len(half), 4), np.float32)
    for i, (w, h) in enumerate(half):
        boxes[:, :, i, 0], boxes[:, :, i, 2] = x[None] - w, x[None] + w
        boxes[:, :, i, 1], boxes[:, :, i, 3] = y[:, None] - h, y[:, None] + h
    if clip:
        boxes = np.clip(boxes, 0, 1)
    return const(boxes.reshape(1, -1, 4))


def multibox_transform_loc(c: RelayContext, cls_prob: Any, loc_pred: Any, anchor: Any,
                           least: Any = None, given: Any = None, *, clip: Any = True,
                           threshold: float = 0.01, variances: Any = (0.1, 0.1, 0.2, 0.2),
                           keep_background: Any = False) -> Any:  # fmt: skip
    """vision.multibox_transform_loc: boxes of SSD with their best class, background dropped.

    cls_prob: [B, classes, N], class 0 the background; loc_pred: [B, 4 N], steps from the centre of
    an anchor and logarithms of its size; anchor: [1, N, 4] corners. Gives [B, N, 6] rows (class,
    score, left, top, right, bottom), those that are found first, in order, then rows of -1; and
    how many are found [B]. Where TVM left rows unwritten, they are -1 here.
    """
    if keep_background:
        raise ValueError("keep_background=True is not read")
    batch, classes, count = static_dims(cls_prob)
    limit = float(_number(least, threshold, "threshold"))
    steps = variances if given is None else array_of(given, "variances").reshape(-1)
    dtype = dtype_of(cls_prob)

    def part(x: Any, axis: int, begin: int, end: int) -> Any:
        return c.typed(op.strided_slice(x, [axis], [begin], [end]))

    def number(value: float) -> Any:
        return relax.const(value, dtype)

    if classes < 2:
        raise ValueError(f"{classes} classes leave none beside the background")
    best = c.typed(op.argmax(part(cls_prob, 1, 1, classes), 1))
    score = c.typed(op.max(part(cls_prob, 1, 1, classes), [1]))
    good = c.typed(op.greater_equal(score, number(limit)))
    moves = c.typed(op.reshape(loc_pred, [batch, count, 4]))
    left, top, right, bottom = (part(anchor, 2, i, i + 1) for i in range(4))
    px, py, pw, ph = (
        op.multiply(part(moves, 2, i, i + 1), number(float(v))) for i, v in enumerate(steps)
    )
    ends = []
    for move, grow, low, high in ((px, pw, left, right), (py, ph, top, bottom)):
        size = c.typed(op.subtract(high, low))
        middle = c.typed(op.multiply(op.add(low, high), number(0.5)))
        centre = c.typed(op.add(op.multiply(move, size), middle))
        half = c.typed(op.multiply(op.multiply(op.exp(grow), size), number(0.5)))
        ends.append((op.subtract(centre, half), op.add(centre, half)))
    (x0, x1), (y0, y1) = ends
    corners = c.typed(op.concat([c.typed(v) for v in (x0, y0, x1, y1)], 2))
    if clip:
        corners = c.typed(op.clip(corners, 0, 1))
    name = op.expand_dims(op.astype(best, dtype), 2)
    rows = c.typed(op.concat([c.typed(name), c.typed(op.expand_dims(score, 2)), corners], 2))
    rows = c.typed(op.where(op.expand_dims(good, 2), rows, number(-1)))
    kept = c.typed(op.astype(good, "int32"))
    # Where each anchor's row goes: found ones first, each half in its order.
    order = c.typed(op.subtract(op.multiply(kept, relax.const(count, "int32")), _places(count)))
    order = c.typed(op.argsort(order, 1, True, "int32"))
    where = c.typed(op.broadcast_to(op.expand_dims(order, 2), [batch, count, 6]))
    return op.gather_elements(rows, op.astype(where, "int64"), 1), op.sum(kept, [1])


def _places(count: int) -> Any:
    return const(np.arange(count, dtype=np.int32)[None])


def all_class_non_max_suppression(
    c: RelayContext,
    boxes: Any,
    scores: Any,
    per_class: Any,
    iou: Any,
    score: Any,
    *,
    output_format: str = "onnx",
) -> Any:
    """vision.all_class_non_max_suppression."""
    if not all(map(is_const, (per_class, iou, score))):
        raise ValueError("its limits are computed by the model; byoc needs constants")
    return op.vision.all_class_non_max_suppression(
        boxes, scores, per_class, iou, score, str(output_format)
    )


VISION: Mapping[str, Converter] = {
    "vision.all_class_non_max_suppression": all_class_non_max_suppression,
    "vision.get_valid_counts": get_valid_counts,
    "vision.multibox_prior": multibox_prior,
    "vision.multibox_transform_loc": multibox_transform_loc,
    "vision.non_max_suppression": non_max_suppression,
    "vision.roi_align": roi_align,
    "vision.roi_pool": roi_pool,
}
"""Operator → converter."""
