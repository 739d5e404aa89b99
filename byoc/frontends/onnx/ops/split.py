"""Operators that cut tensors up and put parts in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit, hold
from byoc.frontends.helpers import const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, text_of
from byoc.ir.arrays import to_numpy

__all__ = ["SPLIT"]

op = relax.op


def size(c: OnnxContext) -> Any:
    """Size 1 to 25: a constant where all dimensions are known."""
    shape = getattr(c[0].ty, "shape", None)
    if isinstance(shape, relax.ShapeExpr) and all(map(is_int, shape.values)):
        return const(math.prod(int(d) for d in shape.values), np.int64)
    return c.stock("Size")


def split(c: OnnxContext) -> Any:
    """Split 2, 11 (attribute), 13 (input), 18 (num_outputs). Of constants: constants; parts without
    elements are cut one by one, as TVM's split makes none.
    """
    data = c[0]
    given = c.attrs.get("split") if c.opset < 13 else c[1]
    sizes = None
    if given is not None and isinstance(data.ty, relax.TensorType):
        sizes = list(given) if c.opset < 13 else array_of(given, "split").tolist()
    if sizes is None and isinstance(data, GenericConst):
        axis = c.axis(0)
        each = -(-int(data.ty.shape.values[axis]) // c.outputs)
        sizes = [each] * (c.outputs - 1)
        sizes.append(int(data.ty.shape.values[axis]) - sum(sizes))
    data = _with_length(c, data, sizes)
    constant = isinstance(data, GenericConst)
    c = c.reading([data, *c.inputs[1:]])
    if sizes is None or not (constant or 0 in sizes) or data.ty.shape is None:
        return c.stock("Split")
    axis = c.axis(0)
    dims = list(data.ty.shape.values)
    if (
        min(sizes) < 0
        or len(sizes) != c.outputs
        or (is_int(dims[axis]) and sum(sizes) != int(dims[axis]))
    ):
        raise RefusedError(f"it splits {dims[axis]} elements into {sizes}")
    if constant:
        parts = np.split(to_numpy(data.value), np.cumsum(sizes)[:-1], axis)
        return [const(np.ascontiguousarray(part)) for part in parts]
    parts, begin = [], 0
    for count in sizes:
        if count:
            parts.append(op.strided_slice(data, [axis], [begin], [begin + count]))
        else:
            parts.append(op.zeros([*dims[:axis], 0, *dims[axis + 1 :]], dtype_of(data)))
        begin += count
    return parts


def _with_length(c: OnnxContext, data: Any, sizes: list[int] | None) -> Any:
    """The data, held to what its parts have together where its length is symbolic."""
    shape = getattr(data.ty, "shape", None)
    if not isinstance(data.ty, relax.TensorType) or not isinstance(shape, relax.ShapeExpr):
        return data
    axis = c.axis(0)
    length = shape.values[axis]
    if is_int(length):
        return data
    if sizes is not None:
        return fit(c.builder, data, {axis: sum(sizes)})
    if c.opset >= 18:  # the last part may be shorter
        return data
    return hold(c.builder, data, length == length // c.outputs * c.outputs)


def unsqueeze(c: OnnxContext) -> Any:
    """Unsqueeze 1 (attribute), 13 to 25 (input): one axis may be a scalar, as engines allow."""
    axes = c[1]
    if isinstance(axes, GenericConst) and not axes.ty.ndim:
        c = c.reading([c[0], const(to_numpy(axes.value).reshape(1), np.int64)])
    return c.stock("Unsqueeze")


def center_crop_pad(c: OnnxContext) -> Any:
    """CenterCropPad 18 to a constant shape: the middle of longer axes, zeros around shorter."""
    data, rank = c[0], c[0].ty.ndim
    wanted = array_of(c[1], "shape").tolist()
    axes = c.axes()
    if len(axes) != len(wanted) or min(wanted, default=0) < 0:
        raise RefusedError(f"the shape {wanted} does not fit {len(axes)} axes")
    width = [0] * (2 * rank)
    for axis, count in zip(axes, wanted, strict=True):
        dim = data.ty.shape.values[axis]
        if not is_int(dim):
            raise ValueError(f"dimension {axis} of its input is known only at run time")
        have = int(dim)
        if have > count:
            begin = (have - count) // 2
            data = c.typed(op.strided_slice(data, [axis], [begin], [begin + count]))
        elif count > 1 << 40:
            raise RefusedError(f"it pads {have} elements to {count}")
        else:
            before = (count - have) // 2
            width[2 * axis], width[2 * axis + 1] = before, count - have - before
    return op.nn.pad(data, width, "constant", 0) if any(width) else data


def col2im(c: OnnxContext) -> Any:
    """Col2Im 18: a transposed convolution, whose kernels hold a single 1, puts blocks in place."""
    data = c[0]
    image = array_of(c[1], "image_shape").tolist()
    block = array_of(c[2], "block_shape").tolist()
    rank = len(image)
    convolution = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose,
                   3: op.nn.conv3d_transpose}.get(rank)  # fmt: skip
    if convolution is None or "float" not in dtype_of(data):
        raise ValueError(f"{rank} dimensions of {dtype_of(data)} are not supported")
    dilations = c.attrs.get("dilations") or [1] * rank
    strides = c.attrs.get("strides") or [1] * rank
    pads = c.attrs.get("pads") or [0] * (2 * rank)
    batch, columns, places = data.ty.shape.values
    spans = [d * (b - 1) + 1 for d, b in zip(dilations, block, strict=True)]
    room = [
        n + before + after - span
        for n, before, after, span in zip(image, pads[:rank], pads[rank:], spans, strict=True)
    ]
    counts = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    kernel = math.prod(block)
    fits = is_int(columns) and is_int(places) and min(room) >= 0 and min(block) > 0
    if not fits or int(columns) % kernel or int(places) != math.prod(counts):
        raise RefusedError(f"blocks of {block} do not fit an image of {image}")
    if kernel * math.prod(spans) > 1 << 20:
        raise ValueError(f"blocks of {block} are too large")
    channels = int(columns) // kernel
    weight = np.zeros((kernel, *spans))
    for at, place in enumerate(np.ndindex(*block)):
        weight[(at, *(p * d for p, d in zip(place, dilations, strict=True)))] = 1
    weight = np.tile(weight[:, None], (channels, 1) + (1,) * rank)
    return convolution(
        op.reshape(data, [batch, columns, *counts]),
        const(weight, dtype_of(data)),
        strides=list(strides),
        padding=list(pads),
        output_padding=[r % s for r, s in zip(room, strides, strict=True)],
        groups=channels,
    )


def tensor_scatter(c: OnnxContext) -> Any:
    """TensorScatter 24: each place of the cache takes its own element, or that of the update."""
    past, update, begins = c[0], c[1], c[2]
    rank = past.ty.ndim
    axis = c.axis(-2)
    if not axis:
        raise RefusedError("its axis is that of the batch")
    mode = text_of(c.attrs.get("mode"), "linear")
    length, count = past.ty.shape.values[axis], update.ty.shape.values[axis]
    if not (is_int(length) and is_int(count)):
        raise ValueError("the length of its cache, or of its update, is known only at run time")
    if mode not in ("linear", "circular") or int(count) > int(length):
        raise RefusedError(f"mode {mode!r}, {int(count)} elements into a cache of {int(length)}")
    places = const(np.arange(int(length)).reshape([-1] + [1] * (rank - 1 - axis)), np.int64)
    if begins is None:
        offset = op.reshape(places, [1] * axis + list(places.ty.shape.values))
    else:
        first = op.reshape(begins, [begins.ty.shape.values[0]] + [1] * (rank - 1))
        offset = op.subtract(places, op.astype(first, "int64"))
    if mode == "circular":
        offset = op.floor_mod(offset, const(int(length), np.int64))
    zero, last = const(0, np.int64), const(int(count) - 1, np.int64)
    fresh = op.logical_and(op.greater_equal(offset, zero), op.less_equal(offset, last))
    index = op.minimum(op.maximum(offset, zero), last)
    index = c.typed(op.broadcast_to(index, past.ty.shape))
    return op.where(fresh, op.gather_elements(update, index, axis), past)


SPLIT: Mapping[tuple[str, str], Converter] = {
    ("", "CenterCropPad"): center_crop_pad,
    ("", "Col2Im"): col2im,
    ("", "Size"): size,
    ("", "Split"): split,
    ("", "TensorScatter"): tensor_scatter,
    ("", "Unsqueeze"): unsqueeze,
}
"""(domain, operator) → converter."""
