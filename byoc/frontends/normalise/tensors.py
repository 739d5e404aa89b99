"""Arrays between numpy and TVM: never a copy that is not needed, always 64-byte aligned.

Kernels compiled by TVM use aligned vector loads without checking, so every constant in a
module must start on a 64-byte boundary; numpy promises 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi

__all__ = [
    "ALIGNMENT",
    "aligned_empty",
    "copy_tiles",
    "from_numpy",
    "is_aligned",
    "to_numpy",
    "transposed",
]

ALIGNMENT = 64
_TILE = 256

Array = npt.NDArray[Any]


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised, C-contiguous array whose data starts on a 64-byte boundary."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def copy_tiles(out: Array, source: Array) -> None:
    """``out[...] = source``, by tiles that fit the cache where one of them is a transpose."""
    if source.ndim != 2 or out.flags.c_contiguous == source.flags.c_contiguous:
        out[...] = source
        return
    for row in range(0, source.shape[0], _TILE):
        for column in range(0, source.shape[1], _TILE):
            part = (slice(row, row + _TILE), slice(column, column + _TILE))
            out[part] = source[part]


def transposed(array: Array, axes: tuple[int, ...] | None) -> Array:
    """A contiguous copy of ``array.transpose(axes)``."""
    view = array.transpose(axes)
    out = aligned_empty(view.shape, view.dtype)
    copy_tiles(out, view)
    return out


def is_aligned(array: Array) -> bool:
    """True for arrays that kernels of TVM can read in place."""
    whole = array.flags.c_contiguous and array.flags.writeable and array.size > 0
    return bool(whole and array.ctypes.data % ALIGNMENT == 0)


def from_numpy(array: Array) -> Any:
    """A TVM tensor of the array: the same memory when contiguous, writable and aligned."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:  # bool, bfloat16, float8
        return tvm.runtime.tensor(np.ascontiguousarray(array).reshape(array.shape))
    if not is_aligned(array):
        copy = aligned_empty(array.shape, array.dtype)
        copy[...] = array
        array = copy
    return tvm_ffi.from_dlpack(array)


def to_numpy(tensor: Any) -> Array:
    """The tensor's memory as an array; a copy for dtypes DLPack of numpy does not know."""
    try:
        array = np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError):
        return np.asarray(tensor.numpy())
    return array
