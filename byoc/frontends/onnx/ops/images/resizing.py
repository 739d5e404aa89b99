"""Resize as ONNX defines it, axis by axis: a constant matrix for each axis that changes::

    out[..., o] = Σ_i  data[..., i] · W[i, o]      W[i, o] = kernel((i - x(o)) · s)

x(o) is where output element o lies in the input, by `coordinate_transformation_mode`; the kernel is
a tent (linear) or Keys' cubic, widened when it shrinks with `antialias`; elements beyond the edge
count to the edge, or not at all. The nearest element is a look-up, no matrix. What is known of an
axis only at run time is computed then (`resizing_at_run_time.py`).

Source: ONNX operators, Resize 11 to 19. TVM's kernels serve what they can (`sampling.py`): they
divide sizes where ONNX takes the scale it was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from byoc.frontends.helpers import const, dtype_of, is_const
from byoc.frontends.onnx.context import Attributes, OnnxContext
from byoc.frontends.onnx.ops.helpers import text_of
from byoc.frontends.onnx.ops.images.resizing_at_run_time import ResizeKernel, Samples
from byoc.frontends.onnx.ops.images.resizing_axes import ResizedAxis, resized_axes
from byoc.ir.arrays import to_numpy
from byoc.segment import Array

__all__ = ["resize_by_axis"]

op = relax.op

_LARGE = 1 << 24
"""Elements of a matrix beyond which a node is not expressed so."""


def resize_by_axis(c: OnnxContext) -> Any:
    """Resize 10 to 19, axis by axis."""
    data = c[0]
    coordinates = text_of(c.attrs.get("coordinate_transformation_mode"), "half_pixel")
    if c.opset < 11:
        coordinates = "asymmetric"
    mode = text_of(c.attrs.get("mode"), "nearest")
    axes = resized_axes(c)
    if mode != "nearest" and "float" not in dtype_of(data):
        raise ValueError(f"mode {mode!r} of {dtype_of(data)} is not supported")
    result, inside = data, []
    for axis in axes:
        rounding = text_of(c.attrs.get("nearest_mode"), "round_prefer_floor")
        if c.opset < 11:
            rounding = "behind_where_it_shrinks"
        if not axis.known:
            samples = Samples.along(c, axis, coordinates)
            result = samples.taken(result, _kernel(mode, rounding, c.attrs))
            inside.append(samples.inside(data.ty.ndim))
            continue
        places = _places(axis, coordinates)
        inside.append(const(_is_inside(places, axis, data.ty.ndim)))
        if axis.wanted == axis.size and np.array_equal(places, np.arange(axis.size)):
            continue
        if mode == "nearest":
            if c.opset < 11:
                rounding = "ceil" if axis.scale < 1 else "floor"
            indices = _nearest(places, rounding, axis.size)
            result = op.take(result, const(indices, np.int64), axis.axis, mode="clip")
        elif axis.size * axis.wanted > _LARGE:
            raise ValueError(f"axis {axis.axis} from {axis.size} to {axis.wanted} elements")
        else:
            matrix = _matrix(places, axis, mode, c.attrs)
            result = _along(result, matrix, axis.axis, data.ty.ndim, dtype_of(data))
    if coordinates != "tf_crop_and_resize":
        return result
    value = const(c.attrs.get("extrapolation_value", 0.0), dtype_of(data))
    for within in inside:
        if not (is_const(within) and to_numpy(within.value).all()):
            result = c.emit(op.where(within, result, value))
    return result


def _kernel(mode: str, rounding: str, attrs: Attributes) -> ResizeKernel:
    return ResizeKernel(
        mode,
        rounding,
        float(attrs.get("cubic_coeff_a", -0.75)),
        bool(attrs.get("exclude_outside", 0)),
        bool(attrs.get("antialias", 0)),
    )


def _places(axis: ResizedAxis, mode: str) -> Array:
    """Where each output element lies in the input, in float32 as ONNX Runtime counts: the
    nearest element of a place that is a whole number depends on it.
    """
    f32 = np.float32
    to, scale = np.arange(axis.wanted, dtype=f32), f32(axis.scale)
    half = (to + f32(0.5)) / scale - f32(0.5)
    if mode == "align_corners":
        return to * 0 if axis.wanted == 1 else to * f32(axis.size - 1) / f32(axis.wanted - 1)
    if mode == "asymmetric":
        return to / scale
    if mode == "tf_crop_and_resize":
        begin, end = map(f32, axis.roi)
        last = f32(axis.size - 1)
        if axis.wanted == 1:
            return to + f32(0.5) * (begin + end) * last
        return begin * last + to * (end - begin) * last / f32(axis.wanted - 1)
    if mode == "half_pixel":
        return half
    if mode == "pytorch_half_pixel":
        return half if axis.wanted > 1 else to * 0
    if mode == "half_pixel_symmetric":
        short = f32(1) - f32(axis.wanted) / (scale * f32(axis.size))
        return f32(axis.size / 2) * short + half
    raise ValueError(f"coordinate_transformation_mode {mode!r} is not known")


def _nearest(places: Array, rounding: str, size: int) -> npt.NDArray[np.int64]:
    rounded: Mapping[str, Array] = {
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }
    if rounding not in rounded:
        raise ValueError(f"nearest_mode {rounding!r} is not one of {', '.join(rounded)}")
    return np.clip(rounded[rounding], 0, size - 1).astype(np.int64)


def _matrix(places: Array, axis: ResizedAxis, mode: str, attrs: Attributes) -> Array:
    """[input elements, output elements]."""
    reach = {"linear": 1, "cubic": 2}.get(mode)
    if reach is None:
        raise ValueError(f"mode {mode!r} is not nearest, linear or cubic")
    shrink = min(1.0, axis.scale) if attrs.get("antialias", 0) else 1.0
    taps = math.ceil(reach / shrink)
    near = np.floor(places)[:, None] + np.arange(-taps, taps + 2)
    far = np.abs(near - places[:, None]) * shrink
    if mode == "linear":
        weights = np.maximum(0, 1 - far)
    else:
        weights = _cubic(far, attrs.get("cubic_coeff_a", -0.75))
    if attrs.get("exclude_outside", 0):
        weights[(near < 0) | (near > axis.size - 1)] = 0
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((axis.size, axis.wanted))
    rows = np.clip(near, 0, axis.size - 1).astype(np.int64)
    np.add.at(matrix, (rows, np.arange(axis.wanted)[:, None]), weights)
    return matrix


def _cubic(far: Array, a: float) -> Array:
    """Keys' kernel: two cubics, one up to a distance of 1, one up to 2."""
    inner = ((a + 2) * far - (a + 3)) * far * far + 1
    outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return np.where(far <= 1, inner, np.where(far < 2, outer, 0))


def _along(data: Any, matrix: Array, axis: int, rank: int, dtype: str) -> Any:
    if axis == rank - 1:
        return op.matmul(data, const(matrix, dtype))
    if axis == rank - 2:
        return op.matmul(const(np.ascontiguousarray(matrix.T), dtype), data)
    order = [*range(axis), *range(axis + 1, rank), axis]
    turned = op.matmul(op.permute_dims(data, order), const(matrix, dtype))
    return op.permute_dims(turned, [order.index(d) for d in range(rank)])


def _is_inside(places: Array, axis: ResizedAxis, rank: int) -> Array:
    """Whether places lie inside the input, for a tensor of `rank` dimensions."""
    shape = [1] * rank
    shape[axis.axis] = axis.wanted
    inside: Array = ((places >= 0) & (places <= axis.size - 1)).reshape(shape)
    return inside
