"""What the walk does with values: nested tuples and shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tvm import relax

from byoc.frontends.relay.ops.helpers import MAX_ELEMENTS
from byoc.frontends.relay.syntax import At, PlaceError

__all__ = ["check_shape", "checked_tuple", "flat", "packed", "structure"]

_PARTS = 1 << 16
"""Values that a tuple may hold, those of its tuples included."""


def check_shape(shape: tuple[int | None, ...], at: At) -> None:
    """Refuse a tensor that no machine holds.

    Args:
        shape: Its sizes, None where not known.
        at: Where it stands in the file.

    Raises:
        PlaceError: It has more than 16 dimensions, a negative size, or too many elements.
    """
    sizes = [d for d in shape if d is not None]
    if len(shape) > 16:
        raise PlaceError(at, f"a tensor of {len(shape)} dimensions; byoc takes up to 16")
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise PlaceError(at, f"a tensor of shape {list(shape)} is larger than any machine holds")


def checked_tuple(value: tuple[Any, ...], at: At) -> tuple[Any, ...]:
    """Return a tuple as it is; tuples that hold each other twice grow without end.

    Args:
        value: The tuple, whose own tuples were checked.
        at: Where it stands in the file.

    Raises:
        PlaceError: It holds too many tensors.
    """
    if next(islice(flat(value), _PARTS, None), None) is not None:
        raise PlaceError(at, f"a tuple that holds more than {_PARTS} values")
    return value


def flat(value: Any) -> Iterator[Any]:
    """The parts of nested tuples."""
    if isinstance(value, tuple):
        for part in value:
            yield from flat(part)
    else:
        yield value


def structure(value: Any, at: At) -> Any:
    """Return the form of nested tuples: None for a tensor, a tuple of forms for a tuple.

    Args:
        value: The result of a branch.
        at: Where it stands in the file.

    Raises:
        PlaceError: A part of it is a function.
    """
    if isinstance(value, tuple):
        return tuple(structure(v, at) for v in value)
    if not isinstance(value, relax.Expr):
        raise PlaceError(at, "a branch returns a function, no tensor")
    return None


def packed(value: Any) -> Any:
    """Nested tuples as one of Relax."""
    return relax.Tuple([packed(v) for v in value]) if isinstance(value, tuple) else value
