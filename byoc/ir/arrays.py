"""Constants of a module as numpy arrays over the module's own memory.

In: tensors of TVM. Out: arrays that are not copies. Programs store arrays by identity: two views
of one constant must become one array.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from byoc.segment import Array

__all__ = ["as_numpy", "same_array"]


def as_numpy(tensor: Any) -> Array:
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
