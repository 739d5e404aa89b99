"""Operators that move elements, or make them from shapes: nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.tflite.call import Call, Converter, InexpressibleError, const

__all__ = ["CONVERTERS", "scalar"]

op = relax.op
_MOST = 1 << 24
"""Elements of a constant that an operator may make from numbers."""


def reshape(x: Call) -> Any:
    """RESHAPE to the constant it is given, or to what the file declares for the result."""
    size = prod(x.shape(0))
    wanted: Sequence[int] = x.out().shape
    if x.has(1) and x.constant(1) is not None:
        wanted = x.ints(1)
    elif not x.has(1) and (o := x.options("ReshapeOptions")) is not None and o.NewShapeLength():
        wanted = [int(d) for d in o.NewShapeAsNumpy()]
    if prod(wanted) == size and -1 not in wanted:
        return op.reshape(x.real(0), list(wanted))
    known = prod(d for d in wanted if d != -1)
    if list(wanted).count(-1) != 1 or not known or size % known:
        raise InexpressibleError(f"{x.shape(0)} does not reshape to {tuple(wanted)}")
    return op.reshape(x.real(0), [size // known if d == -1 else d for d in wanted])


def squeeze(x: Call) -> Any:
    """SQUEEZE of the named dimensions, of all of length 1 when none is."""
    o, shape = x.options("SqueezeOptions"), x.shape(0)
    named = o.SqueezeDimsAsNumpy() if o is not None else 0
    axes = [x.axis(int(a), len(shape)) for a in named] if isinstance(named, np.ndarray) else []
    axes = axes or [i for i, d in enumerate(shape) if d == 1]
    return op.squeeze(x.real(0), axes) if axes else x.real(0)


def expand_dims(x: Call) -> Any:
    """EXPAND_DIMS."""
    (axis,) = x.ints(1)
    return op.expand_dims(x.real(0), [x.axis(axis, len(x.shape(0)) + 1)])


def transpose(x: Call) -> Any:
    """TRANSPOSE."""
    axes, rank = x.ints(1), len(x.shape(0))
    if sorted(axes) != list(range(rank)):
        raise InexpressibleError(f"{axes} do not permute {rank} dimensions")
    return op.permute_dims(x.real(0), axes)


def concatenation(x: Call) -> Any:
    """CONCATENATION."""
    o = x.needed("ConcatenationOptions")
    axis = x.axis(int(o.Axis()), len(x.shape(0)))
    result = op.concat([x.real(i) for i in range(len(x))], axis)
    return x.activation(result, o.FusedActivationFunction())


def pack(x: Call) -> Any:
    """PACK: along a new axis."""
    axis = x.axis(int(x.needed("PackOptions").Axis()), len(x.shape(0)) + 1)
    return op.concat([op.expand_dims(x.real(i), [axis]) for i in range(len(x))], axis)


def unpack(x: Call) -> Any:
    """UNPACK."""
    shape = x.shape(0)
    axis = x.axis(int(x.needed("UnpackOptions").Axis()), len(shape))
    return [op.squeeze(v, [axis]) for v in _cut(x, 0, axis, [1] * shape[axis])]


def _cut(x: Call, i: int, axis: int, sizes: Sequence[int]) -> list[Any]:
    """Input i in pieces; each reads it for itself, so that each has its own quantisation."""
    length = x.shape(i)[axis]
    if min(sizes, default=0) < 0 or sum(sizes) != length:
        raise InexpressibleError(f"parts of {list(sizes)} do not make {length}")
    if len(sizes) == 1:
        return [x.real(i)]
    ends = np.cumsum(sizes)
    return [
        op.strided_slice(x.real(i), [axis], [int(e - s)], [int(e)])
        for s, e in zip(sizes, ends, strict=True)
    ]


def split(x: Call) -> Any:
    """SPLIT: (axis, data)."""
    (axis,) = x.ints(0)
    shape, count = x.shape(1), len(x.operator.outputs)
    axis = x.axis(axis, len(shape))
    return _cut(x, 1, axis, [shape[axis] // max(count, 1)] * count)


def split_v(x: Call) -> Any:
    """SPLIT_V: (data, sizes, axis); one size may be -1."""
    sizes = x.ints(1)
    (axis,) = x.ints(2)
    shape = x.shape(0)
    axis = x.axis(axis, len(shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(s for s in sizes if s != -1)
    return _cut(x, 0, axis, sizes)


def slice_(x: Call) -> Any:
    """SLICE: (data, begin, size); size -1 reaches to the end."""
    shape, begin, size = x.shape(0), x.ints(1), x.ints(2)
    if not len(shape) == len(begin) == len(size):
        raise InexpressibleError(f"a slice from {begin} of {size} in {shape}")
    end = [d if s == -1 else b + s for d, b, s in zip(shape, begin, size, strict=True)]
    if any(not 0 <= b <= e <= d for b, e, d in zip(begin, end, shape, strict=True)):
        raise InexpressibleError(f"a slice from {begin} of {size} leaves {shape}")
    axes = [i for i, d in enumerate(shape) if (begin[i], end[i]) != (0, d)]
    if not axes:
        return x.real(0)
    return op.strided_slice(x.real(0), axes, [begin[a] for a in axes], [end[a] for a in axes])


def strided_slice(x: Call) -> Any:
    """STRIDED_SLICE: Python's slices, with bit masks for what is left out."""
    o, shape = x.needed("StridedSliceOptions"), x.shape(0)
    begin, end, step = x.ints(1), x.ints(2), x.ints(3)
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
    result = x.real(0)
    if axes:
        result = op.strided_slice(result, *(list(column) for column in zip(*axes, strict=True)))
    return result if list(x.shape(result)) == dims else op.reshape(result, dims)


def pad(x: Call) -> Any:
    """PAD, PADV2."""
    widths = x.ints(1)
    value = float(scalar(x, 2)) if x.has(2) else 0.0
    if len(widths) != 2 * len(x.shape(0)) or min(widths, default=0) < 0:
        raise InexpressibleError(f"widths {widths} on {x.shape(0)}")
    return op.nn.pad(x.real(0), widths, pad_value=value)


def scalar(x: Call, i: int) -> Any:
    """The number in input i, which must be a constant of one; a real one where quantised."""
    array, found = x.array(i), x.tensor(i).quantisation
    if array.size != 1:
        raise InexpressibleError(f"its input {i} holds {array.size} numbers, expected one")
    number = array.reshape(()).item()
    return number if found is None else (number - int(found.zero[0])) * float(found.scale[0])


def mirror_pad(x: Call) -> Any:
    """MIRROR_PAD: a lookup along each axis that grows; mode 0 leaves the edge out."""
    widths, shape = x.ints(1), x.shape(0)
    edge = int(x.needed("MirrorPadOptions").Mode())
    if len(widths) != 2 * len(shape) or edge not in (0, 1):
        raise InexpressibleError(f"widths {widths} on {shape}, mode {edge}")
    result = x.real(0)
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


def tile(x: Call) -> Any:
    """TILE."""
    repeats = x.ints(1)
    if len(repeats) != len(x.shape(0)) or min(repeats, default=1) < 1:
        raise InexpressibleError(f"{repeats} copies of {x.shape(0)}")
    return op.tile(x.real(0), repeats)


def broadcast_to(x: Call) -> Any:
    """BROADCAST_TO."""
    return op.broadcast_to(x.real(0), x.ints(1))


def _made(shape: Sequence[int]) -> None:
    if min(shape, default=0) < 0 or prod(shape) > _MOST:
        raise InexpressibleError(f"a constant of shape {tuple(shape)}")


def fill(x: Call) -> Any:
    """FILL: (shape, value)."""
    shape = x.ints(0)
    _made(shape)
    return np.full(shape, scalar(x, 1), x.out().dtype)


def zeros_like(x: Call) -> Any:
    """ZEROS_LIKE."""
    _made(x.shape(0))
    return np.zeros(x.shape(0), x.out().dtype)


def range_(x: Call) -> Any:
    """RANGE of constants."""
    start, limit, step = (scalar(x, i) for i in range(3))
    if step == 0 or not abs((limit - start) / step) <= _MOST:
        raise InexpressibleError(f"a range from {start} to {limit} by {step}")
    return np.arange(start, limit, step).astype(x.out().dtype)


def shape_of(x: Call) -> Any:
    """SHAPE, known when the model is compiled."""
    return np.array(x.shape(0), x.out().dtype)


def rank(x: Call) -> Any:
    """RANK."""
    return np.array(len(x.shape(0)), x.out().dtype)


def reverse(x: Call) -> Any:
    """REVERSE_V2."""
    result, count = x.real(0), len(x.shape(0))
    for axis in x.ints(1):
        result = op.flip(result, x.axis(axis, count))
    return result


CONVERTERS: Mapping[str, Converter] = {
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
