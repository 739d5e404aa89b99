"""Arrays between numpy and TVM: never a copy that is not needed, always 64-byte aligned.

Kernels compiled by TVM use aligned vector loads without checking, so every constant in a
module must start on a 64-byte boundary; numpy promises 16.
"""

from __future__ import annotations

from byoc.runtime.io.mapped_memory import drop_pages
from byoc.segment import Array
from byoc.support.memory import aligned_empty

__all__ = [
    "copy_tiles",
    "transposed",
]

_TILE = 256


def copy_tiles(out: Array, source: Array) -> None:
    """Copy an array into another, by tiles that fit the cache where one of them is a transpose.

    Args:
        out: The array that is written.
        source: An array of the same shape.
    """
    if source.ndim != 2 or out.flags.c_contiguous == source.flags.c_contiguous:
        out[...] = source
        return
    for row in range(0, source.shape[0], _TILE):
        for column in range(0, source.shape[1], _TILE):
            part = (slice(row, row + _TILE), slice(column, column + _TILE))
            out[part] = source[part]


def transposed(array: Array, axes: tuple[int, ...] | None) -> Array:
    """Return a contiguous copy of ``array.transpose(axes)``.

    Args:
        array: The array; where it is mapped from a model file, its pages may leave memory.
        axes: The old axis of each dimension of the result; None reverses all.
    """
    view = array.transpose(axes)
    out = aligned_empty(view.shape, view.dtype)
    copy_tiles(out, view)
    drop_pages(array)
    return out
