"""Operators that move elements, or make them from shapes: nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter, InexpressibleError
from byoc.frontends.helpers import const
from byoc.frontends.tflite.context import TfliteContext

__all__ = ["DATA_MOVEMENT", "scalar"]

op = relax.op
_MOST = 1 << 24
"""Elements of a constant that an operator may make from numbers."""


def reshape(c: TfliteContext) -> Any:
    """RESHAPE to the constant it is given, or to what the file declares for the result."""
    size = prod(c.shape(0))
    wanted: Sequence[int] = c.out().shape
    if c.has(1) and c.constant(1) is not None:
        wanted = c.ints(1)
    elif not c.has(1) and (o := c.options("ReshapeOptions")) is not None and o.NewShapeLength():
        wanted = [int(d) for d in o.NewShapeAsNumpy()]
    if prod(wanted) == size and -1 not in wanted:
        return op.reshape(c.real(0), list(wanted))
    known = prod(d for d in wanted if d != -1)
    if list(wanted).count(-1) != 1 or not known or size % known:
        raise InexpressibleError(f"{c.shape(0)} does not reshape to {tuple(wanted)}")
    return op.reshape(c.real(0), [size // known if d == -1 else d for d in wanted])


def squeeze(c: TfliteContext) -> Any:
    """SQUEEZE of the named dimensions, of all of length 1 when none is."""
    o, shape = c.options("SqueezeOptions"), c.shape(0)
    named = o.SqueezeDimsAsNumpy() if o is not None else 0
    axes = [c.axis(int(a), len(shape)) for a in named] if isinstance(named, np.ndarray) else []
    axes = axes or [i for i, d in enumerate(shape) if d == 1]
    return op.squeeze(c.real(0), axes) if axes else c.real(0)


def expand_dims(c: TfliteContext) -> Any:
    """EXPAND_DIMS."""
    (axis,) = c.ints(1)
    return op.expand_dims(c.real(0), [c.axis(axis, len(c.shape(0)) + 1)])


def transpose(c: TfliteContext) -> Any:
    """TRANSPOSE."""
    axes, rank = c.ints(1), len(c.shape(0))
    if sorted(axes) != list(range(rank)):
        raise InexpressibleError(f"{axes} do not permute {rank} dimensions")
    return op.permute_dims(c.real(0), axes)


def concatenation(c: TfliteContext) -> Any:
    """CONCATENATION."""
    o = c.needed("ConcatenationOptions")
    axis = c.axis(int(o.Axis()), len(c.shape(0)))
    result = op.concat([c.real(i) for i in range(len(c))], axis)
    return c.activation(result, o.FusedActivationFunction())


def pack(c: TfliteContext) -> Any:
    """PACK: along a new axis."""
    axis = c.axis(int(c.needed("PackOptions").Axis()), len(c.shape(0)) + 1)
    return op.concat([op.expand_dims(c.real(i), [axis]) for i in range(len(c))], axis)


def unpack(c: TfliteContext) -> Any:
    """UNPACK."""
    shape = c.shape(0)
    axis = c.axis(int(c.needed("UnpackOptions").Axis()), len(shape))
    return [op.squeeze(v, [axis]) for v in _cut(c, 0, axis, [1] * shape[axis])]


def _cut(c: TfliteContext, i: int, axis: int, sizes: Sequence[int]) -> list[Any]:
    """Input i in pieces; each reads it for itself, so that each has its own quantisation."""
    length = c.shape(i)[axis]
    if min(sizes, default=0) < 0 or sum(sizes) != length:
        raise InexpressibleError(f"parts of {list(sizes)} do not make {length}")
    if len(sizes) == 1:
        return [c.real(i)]
    ends = np.cumsum(sizes)
    return [
        op.strided_slice(c.real(i), [axis], [int(e - s)], [int(e)])
        for s, e in zip(sizes, ends, strict=True)
    ]


def split(c: TfliteContext) -> Any:
    """SPLIT: (axis, data)."""
    (axis,) = c.ints(0)
    shape, count = c.shape(1), len(c.operator.outputs)
    axis = c.axis(axis, len(shape))
    return _cut(c, 1, axis, [shape[axis] // max(count, 1)] * count)


def split_v(c: TfliteContext) -> Any:
    """SPLIT_V: (data, sizes, axis); one size may be -1."""
    sizes = c.ints(1)
    (axis,) = c.ints(2)
    shape = c.shape(0)
    axis = c.axis(axis, len(shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(s for s in sizes if s != -1)
    return _cut(c, 0, axis, sizes)


def slice_(c: TfliteContext) -> Any:
    """SLICE: (data, begin, size); size -1 reaches to the end."""
    shape, begin, size = c.shape(0), c.ints(1), c.ints(2)
    if not len(shape) == len(begin) == len(size):
        raise InexpressibleError(f"a slice from {begin} of {size} in {shape}")
    end = [d if s == -1 else b + s for d, b, s in zip(shape, begin, size, strict=True)]
    if any(not 0 <= b <= e <= d for b, e, d in zip(begin, end, shape, strict=True)):
        raise InexpressibleError(f"a slice from {begin} of {size} leaves {shape}")
    axes = [i for i, d in enumerate(shape) if (begin[i], end[i]) != (0, d)]
    if not axes:
        return c.real(0)
    return op.strided_slice(c.real(0), axes, [begin[a] for a in axes], [end[a] for a in axes])


def strided_slice(c: TfliteContext) -> Any:
    """STRIDED_SLICE: Python's slices, with bit masks for what is left out."""
    o, shape = c.needed("StridedSliceOptions"), c.shape(0)
    begin, end, step = c.ints(1), c.ints(2), c.ints(3)
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise InexpressibleError(f"a slice from {begin} to {end} by {step}")
    count = len(begin)
    if getattr(o, "Offset", lambda: False)():
        end = [b + e for b, e in zip(begin, end, strict=True)]
    ellipsis, new = o.EllipsisMask(), o.NewAxisMask()
    spread = len(shape) - count + bin(new & ((1 << count) - 1)).count("1")
    axes: list[tuple[int, int, int, int]] = []
    dims: list[int] = []  # of the result
    position = 0
    for i in range(count):
        if ellipsis >> i & 1:
            skipped = spread + 1
            dims += shape[position : position + skipped]
            position += skipped
        elif new >> i & 1:
            dims.append(1)
        elif position >= len(shape):
            raise InexpressibleError(f"{count} slices of {len(shape)} dimensions")
        else:
            length = shape[position]
            if o.ShrinkAxisMask() >> i & 1:
                first = begin[i] + length if begin[i] < 0 else begin[i]
                if not 0 <= first < length:
                    raise InexpressibleError(f"index {begin[i]} of {length}")
                axes.append((position, first, first + 1, 1))
            else:
                low = None if o.BeginMask() >> i & 1 else begin[i]
                high = None if o.EndMask() >> i & 1 else end[i]
                b, e, s = slice(low, high, step[i]).indices(length)
                size = len(range(b, e, s))
                if size == 0:
                    raise InexpressibleError(f"a slice of {length} that is empty")
                dims.append(size)
                if (b, size, s) != (0, length, 1):
                    # Relax counts a negative end from behind; "before the first" lies further.
                    axes.append((position, b, e if e >= 0 else -length - 1, s))
            position += 1
    dims += shape[position:]
    result = c.real(0)
    if axes:
        result = op.strided_slice(result, *(list(column) for column in zip(*axes, strict=True)))
    return result if list(c.shape(result)) == dims else op.reshape(result, dims)


def pad(c: TfliteContext) -> Any:
    """PAD, PADV2."""
    widths = c.ints(1)
    value = float(scalar(c, 2)) if c.has(2) else 0.0
    if len(widths) != 2 * len(c.shape(0)) or min(widths, default=0) < 0:
        raise InexpressibleError(f"widths {widths} on {c.shape(0)}")
    return op.nn.pad(c.real(0), widths, pad_value=value)


def scalar(c: TfliteContext, i: int) -> Any:
    """Return the number that an input holds, as a real one where it is quantised.

    Args:
        c: The operator.
        i: Number of the input, which must be a constant of one element.

    Raises:
        InexpressibleError: It is computed by the model, or holds more.
    """
    array, found = c.array(i), c.tensor(i).quantisation
    if array.size != 1:
        raise InexpressibleError(f"its input {i} holds {array.size} numbers, expected one")
    number = array.reshape(()).item()
    return number if found is None else (number - int(found.zero[0])) * float(found.scale[0])


def mirror_pad(c: TfliteContext) -> Any:
    """MIRROR_PAD: a lookup along each axis that grows; mode 0 leaves the edge out."""
    widths, shape = c.ints(1), c.shape(0)
    edge = int(c.needed("MirrorPadOptions").Mode())
    if len(widths) != 2 * len(shape) or edge not in (0, 1):
        raise InexpressibleError(f"widths {widths} on {shape}, mode {edge}")
    result = c.real(0)
    for axis, (size, before, after) in enumerate(
        zip(shape, widths[::2], widths[1::2], strict=True)
    ):
        most = size if edge else size - 1
        if not (0 <= before <= most and 0 <= after <= most):
            raise InexpressibleError(f"{before} and {after} mirrored around {size}")
        if before or after:
            index = np.pad(np.arange(size), (before, after), "symmetric" if edge else "reflect")
            result = op.take(result, const(index, np.int64), axis, mode="wrap")
    return result


def tile(c: TfliteContext) -> Any:
    """TILE."""
    repeats = c.ints(1)
    if len(repeats) != len(c.shape(0)) or min(repeats, default=1) < 1:
        raise InexpressibleError(f"{repeats} copies of {c.shape(0)}")
    return op.tile(c.real(0), repeats)


def broadcast_to(c: TfliteContext) -> Any:
    """BROADCAST_TO."""
    return op.broadcast_to(c.real(0), c.ints(1))


def _made(shape: Sequence[int]) -> None:
    if min(shape, default=0) < 0 or prod(shape) > _MOST:
        raise InexpressibleError(f"a constant of shape {tuple(shape)}")


def fill(c: TfliteContext) -> Any:
    """FILL: (shape, value)."""
    shape = c.ints(0)
    _made(shape)
    return np.full(shape, scalar(c, 1), c.out().dtype)


def zeros_like(c: TfliteContext) -> Any:
    """ZEROS_LIKE."""
    _made(c.shape(0))
    return np.zeros(c.shape(0), c.out().dtype)


def range_(c: TfliteContext) -> Any:
    """RANGE of constants."""
    start, limit, step = (scalar(c, i) for i in range(3))
    if step == 0 or not abs((limit - start) / step) <= _MOST:
        raise InexpressibleError(f"a range from {start} to {limit} by {step}")
    return np.arange(start, limit, step).astype(c.out().dtype)


def shape_of(c: TfliteContext) -> Any:
    """SHAPE, known when the model is compiled."""
    return np.array(c.shape(0), c.out().dtype)


def rank(c: TfliteContext) -> Any:
    """RANK."""
    return np.array(len(c.shape(0)), c.out().dtype)


def reverse(c: TfliteContext) -> Any:
    """REVERSE_V2."""
    result, count = c.real(0), len(c.shape(0))
    for axis in c.ints(1):
        result = op.flip(result, c.axis(axis, count))
    return result


DATA_MOVEMENT: Mapping[str, Converter] = {
    "BROADCAST_TO": broadcast_to,
    "CONCATENATION": concatenation,
    "EXPAND_DIMS": expand_dims,
    "FILL": fill,
    "MIRROR_PAD": mirror_pad,
    "PACK": pack,
    "PAD": pad,
    "PADV2": pad,
    "RANGE": range_,
    "RANK": rank,
    "RESHAPE": reshape,
    "REVERSE_V2": reverse,
    "SHAPE": shape_of,
    "SLICE": slice_,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SQUEEZE": squeeze,
    "STRIDED_SLICE": strided_slice,
    "TILE": tile,
    "TRANSPOSE": transpose,
    "UNPACK": unpack,
    "ZEROS_LIKE": zeros_like,
}
