"""Where the maxima of pools stand, and how they go back there.

Of a window, the place of its largest element is a choice among its taps, and the flattened index is
linear in where the window begins and which tap it is::

    taps[…, t] = x[…, o · stride + tap t · dilation - pad]     one strided slice of x a tap
    index = begin(o) + offset(argmax of taps)                  two tables
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError

__all__ = ["UNPOOLING", "pool_places"]

op = relax.op


def pool_places(c: OnnxContext, shape: Any) -> Any:
    """The second output of MaxPool 8 to 22: indices into the flattened input.

    Args:
        c: The operator's context, `auto_pad` replaced by `pads`.
        shape: The dimensions of its first output.

    Raises:
        ValueError: Sizes of windows are known only at run time.
    """
    data = c[0]
    kernel = [int(k) for k in c.attrs["kernel_shape"]]
    rank = len(kernel)
    strides, dilations = ([int(n) for n in c.attrs.get(name) or [1] * rank]
                          for name in ("strides", "dilations"))  # fmt: skip
    pads = [int(p) for p in c.attrs.get("pads") or [0] * (2 * rank)]
    channels, sizes, counts = data.ty.shape.values[:2], data.ty.shape.values[2:], shape[2:]
    if not all(map(is_int, (*sizes, *counts))):
        raise ValueError("its second output, the indices, over symbolic heights and widths")
    sizes, counts = [int(d) for d in sizes], [int(d) for d in counts]
    taps = list(itertools.product(*map(range, kernel)))
    padded = _padded(c, data, sizes, counts, kernel, strides, dilations, pads)
    axes = list(range(2, 2 + rank))
    parts = []
    for tap in taps:
        begin = [t * d for t, d in zip(tap, dilations, strict=True)]
        end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, counts, strides, strict=True)]
        part = c.emit(op.strided_slice(padded, axes, begin, end, strides))
        parts.append(c.emit(op.expand_dims(part, -1)))
    chosen = c.emit(op.argmax(c.emit(op.concat(parts, -1)), -1))
    order = range(rank) if c.attrs.get("storage_order", 0) else reversed(range(rank))
    weights, step = [0] * rank, 1
    for axis in order:
        weights[axis], step = step, step * sizes[axis]
    offsets = [sum(t * d * w for t, d, w in zip(tap, dilations, weights, strict=True))
               for tap in taps]  # fmt: skip
    begins: Any = np.zeros(counts, np.int64)
    for grid, stride, pad, weight in zip(np.indices(counts), strides, pads, weights, strict=False):
        begins += (grid * stride - pad) * weight
    planes = _planes(c, channels, math.prod(sizes), rank)
    chosen = c.emit(op.take(const(offsets, np.int64), chosen, 0))
    chosen = c.emit(op.add(chosen, const(begins)))
    return c.emit(op.add(chosen, planes))


def _padded(
    c: OnnxContext,
    data: Any,
    sizes: list[int],
    counts: list[int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[int],
) -> Any:
    """The data with less than any number around it, as far as windows reach."""
    dtype = dtype_of(data)
    low = -math.inf if "float" in dtype else float(np.iinfo(dtype).min)
    width = [0, 0, 0, 0]
    for n, count, k, s, d, before in zip(
        sizes, counts, kernel, strides, dilations, pads, strict=False
    ):
        width += [before, max(0, (count - 1) * s + (k - 1) * d + 1 - n - before)]
    return c.emit(op.nn.pad(data, width, "constant", low)) if any(width) else data


def _planes(c: OnnxContext, channels: Any, size: int, rank: int) -> Any:
    """Where each plane of an image begins, [N, C, 1, …]."""
    shape = [*channels, *[1] * rank]
    if all(map(is_int, channels)):
        count = math.prod(int(d) for d in channels)
        return const((np.arange(count) * size).reshape([int(d) for d in shape]), np.int64)
    begins = c.emit(op.arange(0, channels[0] * channels[1] * size, size, dtype="int64"))
    return c.emit(op.reshape(begins, shape))


def max_unpool(c: OnnxContext) -> Any:
    """MaxUnpool 9 to 22: the maxima where they stood, 0 elsewhere."""
    if c[2] is not None:
        raise RefusedError(
            "with output_shape, engines read the indices in the shape before it, ONNX in that "
            "shape; leave output_shape out"
        )
    kernel = c.attrs["kernel_shape"]
    rank = len(kernel)
    strides = c.attrs.get("strides") or [1] * rank
    pads = c.attrs.get("pads") or [0] * (2 * rank)
    shape = list(c[0].ty.shape.values)
    for i in range(rank):
        shape[2 + i] = (shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[rank + i]
    total: Any = 1
    for dim in shape:
        total = total * (int(dim) if is_int(dim) else dim)
    empty = c.emit(op.full([total], scalar_like(0, c[0]), dtype_of(c[0])))
    places, values = (c.emit(op.reshape(v, [-1])) for v in (c[1], c[0]))
    return op.reshape(c.emit(op.scatter_elements(empty, places, values, 0)), shape)


UNPOOLING: Mapping[tuple[str, str], Converter] = {
    ("", "MaxUnpool"): max_unpool,
}
"""(domain, operator) → converter."""
