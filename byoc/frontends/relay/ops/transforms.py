"""Moving data: shapes, slices, gathers, constants made from shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.relay.ops.base import (
    Array,
    Context,
    Converter,
    array_of,
    axes_of,
    const,
    dims,
    dtype_of,
    integers,
    is_const,
    limited,
    rank,
    scalar_like,
    static_dims,
    transpose,
    unless,
)
from byoc.frontends.relay.syntax import known_dtype, numpy_dtype

__all__ = ["TRANSFORMS"]

op = relax.op


def _list(value: Any, what: str) -> list[Any]:
    """A shape or list: an attribute, or a constant tensor."""
    if is_const(value):
        return [int(v) for v in array_of(value, what).reshape(-1)]
    if isinstance(value, (int, str)):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return [None if v is None else int(v) for v in value]


def reshape_to(have: list[Any], want: list[int], allowzero: bool = False) -> list[Any]:
    """Dimensions after `reshape` with Relay's codes: 0 copy one, -1 infer, -2 copy the rest, -3
    multiply two, -4 split one in two.
    """
    out: list[Any] = []
    source = iter(have)
    codes = iter(want)

    def take() -> Any:
        try:
            return next(source)
        except StopIteration:
            raise ValueError(f"newshape {want} does not fit the shape {have}") from None

    for code in codes:
        if code > 0 or (code == 0 and allowzero):
            out.append(code)
            next(source, None)
        elif code == 0:
            out.append(take())
        elif code == -1:
            out.append(-1)
            next(source, None)
        elif code == -2:
            out.extend(source)
        elif code == -3:
            out.append(take() * take())
        elif code == -4:
            whole = take()
            parts = [next(codes, 0), next(codes, 0)]
            if parts.count(-1) > 1 or min(parts) < -1 or 0 in parts:
                raise ValueError(f"newshape {want} splits a dimension into {parts}")
            if -1 in parts:
                parts[parts.index(-1)] = whole // -math.prod(parts)
            out.extend(parts)
        else:
            raise ValueError(f"newshape {want} holds {code}")
    if out.count(-1) > 1:
        raise ValueError(f"newshape {want} leaves several dimensions open")
    return out


def reshape(c: Context, data: Any, shape: Any = None, *, newshape: Any = None,
            allowzero: Any = False) -> Any:  # fmt: skip
    """reshape, dyn.reshape with a constant shape."""
    want = _list(newshape if shape is None else shape, "newshape")
    return op.reshape(data, reshape_to(dims(data), want, bool(allowzero)))


def reverse_reshape(c: Context, data: Any, *, newshape: Any) -> Any:
    """reverse_reshape: codes are read from the back."""
    want = _list(newshape, "newshape")
    if any(code < -1 for code in want):
        raise ValueError(f"newshape {want}: only 0 and -1 are read from the back")
    return op.reshape(data, reshape_to(dims(data)[::-1], want[::-1])[::-1])


def reshape_like(c: Context, data: Any, like: Any, *, lhs_begin: int = 0, lhs_end: Any = None,
                 rhs_begin: int = 0, rhs_end: Any = None) -> Any:  # fmt: skip
    """reshape_like."""
    have, other = dims(data), dims(like)
    ends = [n if e is None else e for e, n in ((lhs_end, len(have)), (rhs_end, len(other)))]
    return op.reshape(data, have[:lhs_begin] + other[rhs_begin : ends[1]] + have[ends[0] :])


def transpose_(c: Context, data: Any, *, axes: Any = None) -> Any:
    """transpose."""
    count = rank(data)
    order = axes_of(axes, count) if axes else list(range(count))[::-1]
    if len(order) != count:
        raise ValueError(f"axes {axes} do not fit {count} dimensions")
    return transpose(data, order)


def expand_dims(c: Context, data: Any, at: Any = None, *, axis: Any = None,
                num_newaxis: int = 1) -> Any:  # fmt: skip
    """expand_dims, dyn.expand_dims with a constant axis."""
    axis = _list(axis if at is None else at, "axis")[0]
    count = int(num_newaxis)
    if not 0 <= count <= 16 or not -rank(data) - 1 <= axis <= rank(data):
        raise ValueError(f"axis {axis} and {count} new dimensions of {rank(data)}")
    first = axis if axis >= 0 else axis + rank(data) + 1
    return op.expand_dims(data, list(range(first, first + count))) if count else data


def squeeze(c: Context, data: Any, at: Any = None, *, axis: Any = None) -> Any:
    """squeeze, dyn.squeeze with constant axes."""
    axis = axis if at is None else _list(at, "axis")
    return op.squeeze(data, None if axis is None else axes_of(axis, rank(data)))


def concatenate(c: Context, data: Any, *, axis: int = 0) -> Any:
    """concatenate."""
    (axis,) = axes_of(axis, rank(data[0]))
    return op.concat(list(data), axis) if len(data) > 1 else data[0]


def stack(c: Context, data: Any, *, axis: int = 0) -> Any:
    """stack."""
    (axis,) = axes_of(axis, rank(data[0]) + 1)
    return op.concat([c.typed(op.expand_dims(part, axis)) for part in data], axis)


def split(c: Context, data: Any, *, indices_or_sections: Any, axis: int = 0) -> Any:
    """split."""
    (axis,) = axes_of(axis, rank(data))
    length = dims(data)[axis]
    if isinstance(indices_or_sections, int):
        if not isinstance(length, int) or not 0 < indices_or_sections <= max(length, 1):
            raise ValueError(f"{indices_or_sections} parts of a dimension of {length}")
        if length % indices_or_sections:
            raise ValueError(f"a dimension of {length} has no {indices_or_sections} equal parts")
        return op.split(data, indices_or_sections, axis)
    return op.split(data, _list(indices_or_sections, "indices_or_sections"), axis)


def _ends(begin: list[int], end: list[Any], mode: str) -> list[Any]:
    if mode == "end":
        return end
    if mode != "size":
        raise ValueError(f"slice_mode {mode!r} is neither 'end' nor 'size'")
    return [None if e is None or e < 0 else b + e for b, e in zip(begin, end, strict=True)]


def strided_slice(c: Context, data: Any, first: Any = None, last: Any = None, step: Any = None, *,
                  begin: Any = None, end: Any = None, strides: Any = None,
                  slice_mode: str = "end", axes: Any = None) -> Any:  # fmt: skip
    """strided_slice, dyn.strided_slice with constant bounds."""
    starts = _list(begin if first is None else first, "begin")
    ends = _list(unless(end, []) if last is None else last, "end")
    steps = _list(unless(strides, [1]) if step is None else step, "strides")
    count = len(starts)
    over = axes_of(axes, rank(data)) if axes else list(range(count))
    if len(over) != count or count > rank(data) or len(steps) not in (1, count):
        raise ValueError(f"begin {starts} and strides {steps} for {len(over)} axes")
    ends = _ends(starts, ends + [None] * (count - len(ends)), slice_mode)
    steps = [1] * count if slice_mode == "size" else steps * (count if len(steps) == 1 else 1)
    if 0 in steps:
        raise ValueError("a stride of 0")
    limit = np.iinfo(np.int64)
    starts = [(0 if t > 0 else limit.max) if s is None else s
              for s, t in zip(starts, steps, strict=True)]  # fmt: skip
    ends = [(limit.max if t > 0 else limit.min) if e is None else e
            for e, t in zip(ends, steps, strict=True)]  # fmt: skip
    return op.strided_slice(data, over, starts, ends, steps)


def slice_like(c: Context, data: Any, like: Any, *, axes: Any = None) -> Any:
    """slice_like."""
    over = axes_of(axes, rank(data)) if axes else list(range(min(rank(data), rank(like))))
    ends = [static_dims(like)[a] for a in over]
    return op.strided_slice(data, over, [0] * len(over), ends)


def take(c: Context, data: Any, indices: Any, *, batch_dims: int = 0, axis: Any = None,
         mode: str = "clip") -> Any:  # fmt: skip
    """take."""
    if batch_dims:
        raise ValueError(f"batch_dims={batch_dims} is not read")
    if mode not in ("clip", "wrap", "fast"):
        raise ValueError(f"mode {mode!r} is not one of clip, wrap, fast")
    if axis is None:
        data, axis = c.typed(op.reshape(data, [-1])), 0
    (axis,) = axes_of(axis, rank(data))
    return op.take(data, indices, axis, mode)


def gather(c: Context, data: Any, indices: Any, *, axis: int) -> Any:
    """gather."""
    (axis,) = axes_of(axis, rank(data))
    return op.gather_elements(data, indices, axis)


def _index_last(indices: Any) -> Any:
    """Relay keeps an index's parts in the first dimension, Relax in the last."""
    return transpose(indices, [*range(1, rank(indices)), 0])


def gather_nd(c: Context, data: Any, indices: Any, *, batch_dims: int = 0,
              index_rank: Any = None) -> Any:  # fmt: skip
    """gather_nd."""
    last = c.typed(_index_last(indices))
    if dtype_of(last) != "int64":
        last = c.typed(op.astype(last, "int64"))
    return op.gather_nd(data, last, int(batch_dims))


def scatter_nd(c: Context, data: Any, indices: Any, updates: Any, *, mode: str = "update") -> Any:
    """scatter_nd."""
    return op.scatter_nd(data, c.typed(_index_last(indices)), updates, str(mode))


def scatter_elements(c: Context, data: Any, indices: Any, updates: Any, *, axis: int = 0,
                     reduction: str = "update") -> Any:  # fmt: skip
    """scatter_elements, scatter."""
    (axis,) = axes_of(axis, rank(data))
    return op.scatter_elements(data, indices, updates, axis, str(reduction))


def scatter_add(c: Context, data: Any, indices: Any, updates: Any, *, axis: int = 0) -> Any:
    """scatter_add."""
    return scatter_elements(c, data, indices, updates, axis=axis, reduction="add")


def broadcast_to(c: Context, data: Any, to: Any = None, *, shape: Any = None,
                 dtype: Any = None) -> Any:  # fmt: skip
    """broadcast_to, dyn.broadcast_to with a constant shape."""
    return op.broadcast_to(data, _list(shape if to is None else to, "shape"))


def broadcast_to_like(c: Context, data: Any, like: Any) -> Any:
    """broadcast_to_like."""
    return op.broadcast_to(data, dims(like))


def tile(c: Context, data: Any, given: Any = None, *, reps: Any = None) -> Any:
    """tile, dyn.tile with constant repetitions."""
    return op.tile(data, _list(reps if given is None else given, "reps"))


def repeat(c: Context, data: Any, *, repeats: int, axis: Any = 0) -> Any:
    """repeat."""
    (axis,) = axes_of(0 if axis is None else axis, rank(data))
    return op.repeat(data, int(repeats), axis)


def reverse(c: Context, data: Any, *, axis: int) -> Any:
    """reverse."""
    (axis,) = axes_of(axis, rank(data))
    return op.flip(data, axis)


def reverse_sequence(c: Context, data: Any, lengths: Any, *, seq_axis: int = 1,
                     batch_axis: int = 0) -> Any:  # fmt: skip
    """reverse_sequence."""
    axes_of([seq_axis, batch_axis], rank(data))
    return op.reverse_sequence(data, lengths, int(seq_axis), int(batch_axis))


def one_hot(c: Context, indices: Any, on: Any, off: Any, count: Any = None, *, depth: Any = None,
            axis: int = -1, dtype: Any = None) -> Any:  # fmt: skip
    """one_hot, dyn.one_hot with a constant depth: a comparison with 0, 1, ..."""
    length = _list(depth if count is None else count, "depth")[0]
    (axis,) = axes_of(axis, rank(indices) + 1)
    shape = [1] * (rank(indices) + 1)
    shape[axis] = length
    limited(shape)
    steps = const(np.arange(length).reshape(shape), dtype_of(indices))
    hit = op.equal(c.typed(op.expand_dims(indices, axis)), steps)
    chosen = c.typed(op.where(hit, on, off))
    to = known_dtype(dtype) or dtype_of(on)
    return chosen if dtype_of(chosen) == to else op.astype(chosen, to)


def arange(c: Context, first: Any = None, last: Any = None, by: Any = None, *, start: Any = None,
           stop: Any = None, step: Any = None, dtype: Any = None) -> Any:  # fmt: skip
    """arange with constant bounds."""
    parts = [
        array_of(v, "a bound").item() if is_const(v) else v
        for v in (first if first is not None else start, last if last is not None else stop,
                  by if by is not None else step)
    ]  # fmt: skip
    if not all(isinstance(p, (int, float)) for p in parts):
        raise ValueError(f"its bounds are {parts}; byoc needs three constants")
    begin, end, stride = parts
    limited([max(0, math.ceil((end - begin) / stride))])
    return const(np.arange(begin, end, stride, dtype=numpy_dtype(known_dtype(dtype) or "float32")))


def full(c: Context, value: Any, size: Any = None, *, shape: Any = None, dtype: Any = None) -> Any:
    """full, dyn.full with a constant shape."""
    want = _list(shape if size is None else size, "shape")
    return op.full(want, value, known_dtype(dtype) or dtype_of(value))


def full_like(c: Context, data: Any, value: Any) -> Any:
    """full_like."""
    return op.full_like(data, value, dtype_of(data))


def _filled(number: int) -> Converter:
    def convert(c: Context, size: Any = None, *, shape: Any = None, dtype: str = "float32") -> Any:
        want = _list(shape if size is None else size, "shape")
        kind = known_dtype(dtype) or "float32"
        return op.full(want, const(number, numpy_dtype(kind)), kind)

    return convert


def shape_of(c: Context, data: Any, *, dtype: str = "int32") -> Any:
    """shape_of; a constant where the shape is known."""
    found = dims(data)
    if all(isinstance(d, int) for d in found):
        return const(np.array(found), numpy_dtype(known_dtype(dtype) or "int32"))
    return op.astype(op.shape_to_tensor(relax.ShapeExpr(found)), known_dtype(dtype) or "int32")


def ndarray_size(c: Context, data: Any, *, dtype: str = "int32") -> Any:
    """ndarray_size."""
    return const(math.prod(static_dims(data)), numpy_dtype(known_dtype(dtype) or "int32"))


def layout_transform(c: Context, data: Any, *, src_layout: str, dst_layout: str) -> Any:
    """layout_transform between permutations of one set of letters."""
    if sorted(src_layout) != sorted(dst_layout) or not src_layout.isalpha():
        raise ValueError(f"from {src_layout!r} to {dst_layout!r}; byoc reads permutations")
    return transpose_(c, data, axes=[src_layout.index(letter) for letter in dst_layout])


def meshgrid(c: Context, data: Any, *, indexing: str = "ij") -> Any:
    """meshgrid."""
    if indexing != "ij":
        raise ValueError(f"indexing {indexing!r} is not 'ij'")
    return op.meshgrid(list(data), "ij")


def trilu(c: Context, data: Any, k: Any, *, upper: Any = True) -> Any:
    """trilu."""
    offset = int(array_of(k, "k").item())
    return op.triu(data, offset) if upper else op.tril(data, offset)


def einsum(c: Context, data: Any, *, equation: str) -> Any:
    """einsum."""
    return op.einsum(list(data), str(equation).replace(" ", ""))


def _blocks(data: Any, layout: str) -> tuple[Any, list[int], bool]:
    last = layout == "NHWC"
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f"layout {layout!r} is neither NCHW nor NHWC")
    data = transpose(data, [0, 3, 1, 2]) if last else data
    return data, [], last


def depth_to_space(c: Context, data: Any, *, block_size: int, layout: str = "NCHW",
                   mode: str = "DCR") -> Any:  # fmt: skip
    """nn.depth_to_space."""
    data, _, last = _blocks(data, layout)
    n, depth, h, w = dims(c.typed(data))
    (b,) = integers(block_size, 1, "block_size")
    if mode == "DCR":
        cut = op.reshape(data, [n, b, b, depth // (b * b), h, w])
        moved = op.permute_dims(cut, [0, 3, 4, 1, 5, 2])
    elif mode == "CDR" or mode == "CRD":
        cut = op.reshape(data, [n, depth // (b * b), b, b, h, w])
        moved = op.permute_dims(cut, [0, 1, 4, 2, 5, 3])
    else:
        raise ValueError(f"mode {mode!r} is neither DCR nor CDR")
    result = op.reshape(moved, [n, depth // (b * b), h * b, w * b])
    return op.permute_dims(result, [0, 2, 3, 1]) if last else result


def space_to_depth(c: Context, data: Any, *, block_size: int, layout: str = "NCHW") -> Any:
    """nn.space_to_depth."""
    data, _, last = _blocks(data, layout)
    n, depth, h, w = dims(c.typed(data))
    (b,) = integers(block_size, 1, "block_size")
    cut = op.reshape(data, [n, depth, h // b, b, w // b, b])
    moved = op.permute_dims(cut, [0, 3, 5, 1, 2, 4])
    result = op.reshape(moved, [n, depth * b * b, h // b, w // b])
    return op.permute_dims(result, [0, 2, 3, 1]) if last else result


def _pairs(value: Any, count: int, what: str) -> list[list[int]]:
    found = [[int(v) for v in pair] for pair in value]
    if len(found) != count or any(len(pair) != 2 for pair in found):
        raise ValueError(f"{what} {found} do not fit {count} dimensions")
    return found


def space_to_batch_nd(c: Context, data: Any, *, block_shape: Any, paddings: Any,
                      pad_value: float = 0.0) -> Any:  # fmt: skip
    """nn.space_to_batch_nd."""
    blocks = _list(block_shape, "block_shape")
    pads = _pairs(paddings, len(blocks), "paddings")
    rest = rank(data) - 1 - len(blocks)
    width = [0, 0, *(v for pair in pads for v in pair), *[0, 0] * rest]
    if any(width):
        data = c.typed(op.nn.pad(data, width, "constant", float(pad_value)))
    n, *sizes = dims(data)
    inner, tail = sizes[: len(blocks)], sizes[len(blocks) :]
    cut: list[Any] = [n]
    for size, block in zip(inner, blocks, strict=True):
        cut += [size // block, block]
    m = len(blocks)
    order = [*(2 + 2 * i for i in range(m)), 0, *(1 + 2 * i for i in range(m)),
             *range(1 + 2 * m, 1 + 2 * m + rest)]  # fmt: skip
    moved = op.permute_dims(op.reshape(data, [*cut, *tail]), order)
    out = [s // b for s, b in zip(inner, blocks, strict=True)]
    return op.reshape(moved, [n * math.prod(blocks), *out, *tail])


def batch_to_space_nd(c: Context, data: Any, *, block_shape: Any, crops: Any) -> Any:
    """nn.batch_to_space_nd."""
    blocks = _list(block_shape, "block_shape")
    cuts = _pairs(crops, len(blocks), "crops")
    n, *sizes = static_dims(data)
    m = len(blocks)
    inner, tail = sizes[:m], sizes[m:]
    batch = n // math.prod(blocks)
    split_ = op.reshape(data, [*blocks, batch, *inner, *tail])
    order = [m]
    for i in range(m):
        order += [m + 1 + i, i]
    order += range(2 * m + 1, 2 * m + 1 + len(tail))
    whole = [s * b for s, b in zip(inner, blocks, strict=True)]
    result = op.reshape(op.permute_dims(split_, order), [batch, *whole, *tail])
    if not any(v for pair in cuts for v in pair):
        return result
    ends = [w - pair[1] for w, pair in zip(whole, cuts, strict=True)]
    return op.strided_slice(result, list(range(1, m + 1)), [p[0] for p in cuts], ends)


def batch_flatten(c: Context, data: Any) -> Any:
    """nn.batch_flatten."""
    n, *rest = dims(data)
    return op.reshape(data, [n, math.prod(rest)])


def sequence_mask(c: Context, data: Any, lengths: Any, *, mask_value: float = 0.0,
                  axis: int = 0) -> Any:  # fmt: skip
    """sequence_mask: what lies behind each sequence's length becomes mask_value."""
    if axis not in (0, 1):
        raise ValueError(f"axis {axis} is neither 0 nor 1")
    count = rank(data)
    steps = [1] * count
    steps[axis] = static_dims(data)[axis]
    ends = [1] * count
    ends[1 - axis] = -1
    at = const(np.arange(steps[axis]).reshape(steps), dtype_of(lengths))
    inside = op.less(at, c.typed(op.reshape(lengths, ends)))
    return op.where(inside, data, scalar_like(mask_value, data))


def unravel_index(c: Context, indices: Any, shape: Any) -> Any:
    """unravel_index of constants."""
    flat: Array = array_of(indices, "indices")
    sizes = _list(shape, "shape")
    return const(np.array(np.unravel_index(flat, sizes)), dtype_of(indices))


def collapse_sum(c: Context, data: Any, like: Any) -> Any:
    """collapse_sum_like."""
    return op.collapse_sum_like(data, like)


TRANSFORMS: Mapping[str, Converter] = {
    "arange": arange,
    "broadcast_to": broadcast_to,
    "broadcast_to_like": broadcast_to_like,
    "collapse_sum_like": collapse_sum,
    "concatenate": concatenate,
    "contrib_reverse_reshape": reverse_reshape,
    "dyn.broadcast_to": broadcast_to,
    "dyn.expand_dims": expand_dims,
    "dyn.full": full,
    "dyn.one_hot": one_hot,
    "dyn.ones": _filled(1),
    "dyn.reshape": reshape,
    "dyn.squeeze": squeeze,
    "dyn.strided_slice": strided_slice,
    "dyn.tile": tile,
    "dyn.zeros": _filled(0),
    "einsum": einsum,
    "expand_dims": expand_dims,
    "full": full,
    "full_like": full_like,
    "gather": gather,
    "gather_nd": gather_nd,
    "layout_transform": layout_transform,
    "meshgrid": meshgrid,
    "ndarray_size": ndarray_size,
    "nn.batch_flatten": batch_flatten,
    "nn.batch_to_space_nd": batch_to_space_nd,
    "nn.depth_to_space": depth_to_space,
    "nn.space_to_batch_nd": space_to_batch_nd,
    "nn.space_to_depth": space_to_depth,
    "one_hot": one_hot,
    "ones": _filled(1),
    "repeat": repeat,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse": reverse,
    "reverse_reshape": reverse_reshape,
    "reverse_sequence": reverse_sequence,
    "scatter": scatter_elements,
    "scatter_add": scatter_add,
    "scatter_elements": scatter_elements,
    "scatter_nd": scatter_nd,
    "sequence_mask": sequence_mask,
    "shape_of": shape_of,
    "slice_like": slice_like,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "strided_slice": strided_slice,
    "take": take,
    "tile": tile,
    "transpose": transpose_,
    "trilu": trilu,
    "unravel_index": unravel_index,
    "zeros": _filled(0),
}
"""Operator → converter."""
