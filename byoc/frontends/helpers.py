"""Constants and dimensions, as converters of every format ask for and write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.ir.arrays import from_numpy, to_numpy
from byoc.segment import Array

__all__ = [
    "array_of",
    "axes_of",
    "const",
    "dtype_of",
    "is_const",
    "is_int",
    "scalar_like",
    "uncast",
]


def const(value: Any, dtype: Any = None) -> Any:
    """Make a Relax constant of an array or a number; memory is shared where alignment allows.

    Args:
        value: An array, a number, or nested lists of numbers.
        dtype: Element type of the constant; None keeps the value's own.
    """
    return relax.const(from_numpy(np.asarray(value, dtype)))


def is_const(value: Any) -> bool:
    """True for a constant tensor."""
    return isinstance(value, GenericConst)


def array_of(value: Any, what: str) -> Array:
    """The array behind a constant.

    Args:
        value: A Relax value.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: The model computes the value.
    """
    if not isinstance(value, GenericConst):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return to_numpy(value.value)


def dtype_of(value: Any) -> str:
    """The element type of a typed tensor, as numpy spells it."""
    return str(value.ty.dtype)


def scalar_like(value: float, like: Any) -> Any:
    """Make a scalar constant of the dtype of another tensor.

    Args:
        value: The number.
        like: A typed Relax tensor whose dtype the constant gets.
    """
    return relax.const(value, dtype_of(like))


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes counted from the front.

    Args:
        axes: One axis or several, negative ones counted from the end.
        rank: The number of dimensions.

    Raises:
        ValueError: An axis lies outside `rank` dimensions, or is named twice.
    """
    given = [axes] if isinstance(axes, int) else list(axes)
    out = [int(a) + rank if int(a) < 0 else int(a) for a in given]
    if any(not 0 <= a < rank for a in out) or len(set(out)) != len(out):
        raise ValueError(f"axes {given} do not fit {rank} dimensions")
    return out


def is_int(dim: Any) -> bool:
    """True for a dimension that is a number."""
    try:
        int(dim)
    except TypeError:
        return False
    return True


def uncast(dim: Any) -> Any:
    """A number over dimensions without casts around it, which is an int64.

    Args:
        dim: An expression of TVM.
    """
    while isinstance(dim, tirx.Cast):
        dim = dim.value
    return dim
