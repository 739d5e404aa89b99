"""What converters of Relay share: dimensions, lists of numbers, layouts, limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax, tirx

from byoc.frontends.helpers import array_of, const, dtype_of, is_const
from byoc.frontends.normalise.tensors import transposed
from byoc.frontends.relay.context import RelayContext
from byoc.ir.arrays import to_numpy

__all__ = [
    "MAX_ELEMENTS",
    "dims",
    "integers",
    "letters",
    "limited",
    "list_of",
    "narrow",
    "rank",
    "static_dims",
    "transpose",
    "unless",
    "wide",
]

MAX_ELEMENTS = 1 << 44
"""Elements of one tensor: more than any machine holds."""

MAX_MADE = 1 << 26
"""Elements of a constant that a converter writes itself."""


def dims(value: Any) -> list[Any]:
    """Dimensions of a typed expression: ints, or TVM expressions where symbolic."""
    shape = getattr(value.ty, "shape", None)
    if shape is None:
        raise ValueError(f"the shape of an argument is not known, its type is {value.ty}")
    return [int(d) if isinstance(d, tirx.IntImm) else d for d in shape]


def static_dims(value: Any) -> list[int]:
    """Dimensions, all known."""
    found = dims(value)
    if not all(isinstance(d, int) for d in found):
        raise ValueError(f"it needs a static shape, found {found}")
    return found


def rank(value: Any) -> int:
    """Number of dimensions."""
    return len(dims(value))


def unless(given: Any, default: Any) -> Any:
    """Return an attribute, or a default where it is None or empty.

    Args:
        given: The attribute.
        default: What stands in for None, "" and [].
    """
    return default if given is None or given == "" or given == [] else given


def integers(value: Any, count: int, what: str) -> list[int]:
    """Return a list of `count` ints, made from one number or several.

    Args:
        value: An int, or a list of `count` or one.
        count: How many are needed.
        what: What they are, for the message.

    Raises:
        ValueError: There are neither one nor `count`.
    """
    found = [value] * count if isinstance(value, int) else [int(v) for v in value]
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise ValueError(f"{what} must hold {count} numbers, found {found}")
    return found


def list_of(value: Any, what: str) -> list[Any]:
    """Return a shape or list as a list of numbers, from an attribute or a constant tensor.

    Args:
        value: A constant tensor, a number, a text, or a list of ints and Nones.
        what: What it is, for the message.

    Raises:
        ValueError: The model computes the value.
    """
    if is_const(value):
        return [int(v) for v in array_of(value, what).reshape(-1)]
    if isinstance(value, (int, str)):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return [None if v is None else int(v) for v in value]


def letters(layout: Any, expected: str, what: str) -> list[int]:
    """Return where each letter of a layout stands in another: ``NHWC`` for ``NCHW`` is 0, 3, 1, 2.

    Args:
        layout: The layout that the operator has.
        expected: The letters of the wanted layout, in its order.
        what: The attribute, for the message.

    Raises:
        ValueError: The layout is no permutation of `expected`.
    """
    if sorted(str(layout)) != sorted(expected):
        raise ValueError(f"{what} {layout!r}; byoc reads permutations of {expected}")
    return [str(layout).index(letter) for letter in expected]


def transpose(value: Any, axes: Sequence[int]) -> Any:
    """Return a value with permuted dimensions; constants are permuted at once.

    Args:
        value: A Relax tensor.
        axes: The old axis of each dimension of the result.
    """
    order = list(axes)
    if order == list(range(len(order))):
        return value
    if is_const(value):
        return const(transposed(to_numpy(value.value), tuple(order)))
    return relax.op.permute_dims(value, order)


def wide(c: RelayContext, value: Any) -> Any:
    """Whole numbers as float64, for an average; `narrow` cuts it, as Relay's division does."""
    return value if "float" in dtype_of(value) else c.emit(relax.op.astype(value, "float64"))


def narrow(c: RelayContext, value: Any, like: Any) -> Any:
    """A value in the dtype of `like`."""
    value, dtype = c.typed(value), dtype_of(like)
    return value if dtype_of(value) == dtype else relax.op.astype(value, dtype)


def limited(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a constant to make now; ValueError when it is too large for that."""
    found = tuple(int(d) for d in shape)
    if min(found, default=0) < 0 or math.prod(found) > MAX_MADE:
        raise ValueError(f"a constant of shape {found}")
    return found
