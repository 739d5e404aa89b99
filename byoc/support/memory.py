"""Memory that compiled kernels can read: aligned arrays, and the one figure that says how.

In: shapes and sizes. Out: fresh arrays, and sizes rounded up. Kernels compiled by TVM load whole
vectors without checking where they begin; numpy promises 16 bytes only. So every array that a
kernel may see, in memory, in an arena or in a file, begins at a multiple of `ALIGNMENT`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ALIGNMENT", "aligned_empty", "aligned_zeros", "is_aligned", "round_up"]

ALIGNMENT = 64
"""Bytes: the widest vector, and a cache line. ``kAlignment`` in runtime/src/core/buffer.h."""


def round_up(size: int, to: int = ALIGNMENT) -> int:
    """Return the smallest multiple of `to` that is at least `size`.

    Args:
        size: In bytes, 0 or more.
        to: In bytes, above 0.
    """
    return -(-size // to) * to


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised, C-contiguous array whose first byte is aligned for kernels.

    Args:
        shape: The array's shape.
        dtype: The array's dtype.

    Returns:
        An array whose address is a multiple of `ALIGNMENT` bytes.
    """
    dtype = np.dtype(dtype)
    nbytes = prod(map(int, shape)) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -_address(raw) % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a C-contiguous array of zeros whose first byte is aligned for kernels.

    Args:
        shape: The array's shape.
        dtype: The array's dtype.

    Returns:
        An array whose address is a multiple of `ALIGNMENT` bytes.
    """
    out = aligned_empty(shape, dtype)
    out[...] = 0
    return out


def is_aligned(array: npt.NDArray[Any]) -> bool:
    """Return whether an array, of any layout, begins at a multiple of `ALIGNMENT`."""
    return _address(array) % ALIGNMENT == 0


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
