"""Draws of operators over pictures and regions: resizing, sampling, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.onnx_recipes.drawing import Draw, Rng, array, dims, dtype_for, maybe, pick

__all__ = [
    "affine_grid",
    "crop_pad",
    "grid_sample",
    "max_roi_pool",
    "resize",
    "roi_align",
    "suppression",
]


def resize(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = int(rng.integers(1, 3)) if rng.random() < 0.8 else 3
    shape = [*dims(rng, 2, 1, 2), *dims(rng, spatial, 2, 9)]
    mode = pick(rng, ("nearest", "linear", "cubic"))
    if mode == "cubic" and (spatial != 2 or opset < 11):
        mode = "linear"
    if mode == "linear" and spatial != 2 and opset < 11:
        mode = "nearest"
    places = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners",
              "tf_crop_and_resize", "half_pixel_symmetric"]  # fmt: skip
    if opset < 13:
        places[-1] = "asymmetric"
    attrs: dict[str, Any] = {
        "mode": mode if mode != "nearest" or rng.random() < 0.6 else None,
        "coordinate_transformation_mode": maybe(rng, places if opset >= 19 else places[:-1]),
        "cubic_coeff_a": maybe(rng, (-0.5, -0.75)),
        "exclude_outside": maybe(rng, (0, 1)) if mode == "cubic" else None,
        "extrapolation_value": maybe(rng, (0.0, 7.5)),
        "antialias": maybe(rng, (0, 1), 0.5) if mode != "nearest" else None,
        "nearest_mode": maybe(rng, ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
        if mode == "nearest"
        else None,
    }
    factors = (0.3, 0.37, 0.5, 0.6, 0.75, 1.0, 1.6, 2.0, 2.5, 3.0)
    scales = [1.0, 1.0, *(pick(rng, factors) for _ in range(spatial))]
    if schema.name == "Upsample":
        scales = [max(1.0, s) for s in scales]
    kind = pick(rng, ("float32", "float32", "int32", "uint8", "float16"))
    if mode != "nearest" and kind != "float16":
        kind = "float32"
    if schema.name == "Upsample" and opset < 9:
        attrs |= {"scales": scales, "height_scale": scales[-2], "width_scale": scales[-1]}
        return Draw([array(rng, shape, kind)], attrs)
    x, by = array(rng, shape, kind), np.array(scales, np.float32)
    if opset < 11:
        return Draw([x, by], attrs, frozenset([1]))
    roi = None
    if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
        begin = [0.0, 0.0, *(pick(rng, (0.0, 0.1, 0.25, -0.2)) for _ in range(spatial))]
        end = [1.0, 1.0, *(pick(rng, (1.0, 0.8, 0.75, 1.2)) for _ in range(spatial))]
        roi = np.array([*begin, *end], np.float32)
    elif opset < 13:
        roi = np.zeros(0, np.float32)
    fixed = frozenset([1, 2, 3])
    if rng.random() < 0.5:
        return Draw([x, roi, by], attrs, fixed)
    sizes = np.array([*shape[:2], *(int(rng.integers(1, 13)) for _ in range(spatial))], np.int64)
    if opset >= 18 and rng.random() < 0.4:
        attrs["axes"] = pick(rng, [list(range(2, 2 + spatial)), list(range(-1, -1 - spatial, -1))])
        order = [a % len(shape) for a in attrs["axes"]]
        if roi is not None:
            roi = np.array([roi[a] for a in order] + [roi[len(shape) + a] for a in order], "f4")
        if attrs["axes"][0] > 0:  # of negative axes ONNX Runtime forgets the policy
            attrs["keep_aspect_ratio_policy"] = maybe(rng, ("stretch", "not_larger", "not_smaller"))
        sizes = sizes[order]
    empty = None if opset >= 13 else np.zeros(0, np.float32)
    return Draw([x, roi, empty, sizes], attrs, fixed)


def roi_align(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = [2, int(rng.integers(1, 4)), 8, 9]
    corners = rng.uniform(0, 6, (3, 2))
    boxes = np.asarray(np.hstack([corners, corners + rng.uniform(0.5, 5, (3, 2))]), np.float32)
    attrs = {
        "mode": maybe(rng, ("avg", "max"), 0.6), "output_height": maybe(rng, (1, 2, 3)),
        "output_width": maybe(rng, (1, 2, 3)), "sampling_ratio": maybe(rng, (0, 1, 2, 3)),
        "spatial_scale": maybe(rng, (0.25, 0.5, 1.0, 2.0)),
        "coordinate_transformation_mode": maybe(rng, ("half_pixel", "output_half_pixel")),
    }  # fmt: skip
    ids = np.asarray(rng.integers(0, 2, 3), np.int64)
    return Draw([array(rng, shape), boxes, ids], attrs)


def max_roi_pool(rng: Rng, schema: Any, opset: int) -> Draw:
    corners = np.round(rng.uniform(0, 4, (3, 2)))
    boxes = np.hstack([rng.integers(0, 2, (3, 1)), corners, corners + rng.integers(1, 5, (3, 2))])
    attrs = {"pooled_shape": dims(rng, 2, 1, 3), "spatial_scale": maybe(rng, (0.5, 1.0, 2.0))}
    return Draw([array(rng, [2, 2, 8, 9]), np.asarray(boxes, np.float32)], attrs)


def grid_sample(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = 3 if opset >= 20 and rng.random() < 0.3 else 2
    x = array(rng, [2, 2, *dims(rng, spatial, 2, 5)])
    grid = np.asarray(rng.uniform(-1.3, 1.3, [2, *dims(rng, spatial, 1, 4), spatial]), np.float32)
    modes = ("linear", "nearest", "cubic") if opset >= 20 else ("bilinear", "nearest", "bicubic")
    attrs = {"mode": maybe(rng, modes), "align_corners": maybe(rng, (0, 1)),
             "padding_mode": maybe(rng, ("zeros", "border", "reflection"))}  # fmt: skip
    return Draw([x, grid], attrs)


def affine_grid(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = pick(rng, (2, 3))
    size = np.array([2, 1, *dims(rng, spatial)], np.int64)
    theta = array(rng, [2, spatial, spatial + 1])
    return Draw([theta, size], {"align_corners": maybe(rng, (0, 1))}, frozenset([1]))


def crop_pad(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axes = [int(a) for a in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]]
    some = rng.random() < 0.5
    target = dims(rng, len(axes) if some else len(shape), 1, 7)
    return Draw([array(rng, shape, dtype_for(rng, schema)), np.array(target, np.int64)],
                {"axes": axes if some else None}, frozenset([1]))  # fmt: skip


def suppression(rng: Rng, schema: Any, opset: int) -> Draw:
    corners = rng.uniform(0, 4, (1, 6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 3, (1, 6, 2))], -1)
    scores = rng.permutation(12).reshape(1, 2, 6) / 12
    most = np.array([pick(rng, (1, 3, 9))], np.int64)
    bounds = [np.array([v], np.float32) for v in (pick(rng, (0.3, 0.6)), pick(rng, (0.1, 0.5)))]
    inputs = [boxes.astype(np.float32), scores.astype(np.float32), most, *bounds]
    attrs = {"center_point_box": maybe(rng, (0, 1))}
    return Draw(inputs[: int(rng.integers(3, 6))], attrs, frozenset([2, 3, 4]))
