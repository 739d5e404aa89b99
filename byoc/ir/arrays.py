"""Constants of a module as numpy arrays, and back, over the same memory.

In: tensors of TVM, or arrays. Out: arrays, or tensors, that are copies only where they must be.
Programs store arrays by identity: two views of one constant must become one array. Kernels load
aligned vectors without checking, so every constant begins at a multiple of
`byoc.support.memory.ALIGNMENT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tvm
import tvm_ffi

from byoc.segment import Array
from byoc.support.memory import aligned_empty, is_aligned

__all__ = ["from_numpy", "is_readable", "same_array", "to_numpy"]


def to_numpy(tensor: Any) -> Array:
    """Return a tensor of TVM as an array over the same memory.

    Args:
        tensor: A `tvm.runtime.Tensor` on the CPU.

    Returns:
        The array; a copy for dtypes that numpy's DLPack does not know (bfloat16, float8).

    """
    try:
        return np.asarray(np.from_dlpack(tensor))
    except (BufferError, RuntimeError, TypeError):
        return np.asarray(tensor.numpy())


def same_array(array: Array, known: Iterable[Array]) -> Array:
    """Return the array that is over the same memory as another, where it is known already.

    Args:
        array: The array to look for.
        known: Arrays that are in use.

    Returns:
        The one of `known` with the address, shape and dtype of `array`; else `array` itself.

    """
    key = (array.__array_interface__["data"][0], array.shape, array.dtype)
    for other in known:
        if (other.__array_interface__["data"][0], other.shape, other.dtype) == key:
            return other
    return array


def is_readable(array: Array) -> bool:
    """Return whether kernels of TVM can read an array in place: dense, writable, aligned."""
    whole = array.flags.c_contiguous and array.flags.writeable and array.size > 0
    return bool(whole and is_aligned(array))


def from_numpy(array: Array) -> Any:
    """Return a TVM tensor of an array.

    Args:
        array: Of any dtype, bfloat16 and float8 included.

    Returns:
        A tensor over the same memory where `is_readable` and DLPack allow it, else over a copy.

    """
    array = np.asarray(array)
    own = array.dtype.isbuiltin != 2  # of numpy, which bfloat16 and float8 are not
    if not own or array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        return tvm.runtime.tensor(np.ascontiguousarray(array).reshape(array.shape))
    if not is_readable(array):
        copy = aligned_empty(array.shape, array.dtype)
        copy[...] = array
        array = copy
    return tvm_ffi.from_dlpack(array)
