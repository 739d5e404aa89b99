"""What the checks of all ops are made of: small predicates that answer with a sentence.

A check looks at metadata only. It reads a node and a `Tensors` (a match, or a segment), and
gives None, or the first `Reject` it meets. Reasons are public text: users read them in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from byoc.dims import UNKNOWN, is_legal
from byoc.segment import Array, Dim, Node, TensorType
from byoc.vendor import Reject

__all__ = [
    "DTYPES",
    "MAX_RANK",
    "Check",
    "Tensors",
    "axis_of",
    "check_dtypes",
    "check_float",
    "check_layout",
    "check_one_of",
    "check_rank",
    "check_tensors",
    "first",
    "is_static",
    "normal_axes",
]

MAX_RANK = 6
"""Most dimensions a tensor may have: oneDNN's optimised primitives go no further."""

DTYPES = ("float32", "bool", "int8", "uint8", "int32", "int64")


class Tensors(Protocol):
    """Where a check finds the types and constants behind value ids."""

    def type(self, part: int, /) -> TensorType:
        """Type of a value."""
        ...

    def constant(self, part: int, /) -> Array | None:
        """The array of a constant, else None."""
        ...


Check = Callable[[Node, Tensors], Reject | None]


def first(*answers: Reject | None) -> Reject | None:
    """The first refusal, or None."""
    return next((a for a in answers if a is not None), None)


def check_tensors(node: Node, tensors: Tensors) -> Reject | None:
    """What holds for every op: rank, dims that programs can express, elements, dtypes.

    Args:
        node: Its inputs and outputs are looked at.
        tensors: Where their types are found.

    Returns:
        None, or the first tensor's refusal.

    """
    for value in (*node.inputs, *node.outputs):
        kind = tensors.type(value)
        if len(kind.shape) > MAX_RANK:
            return Reject(
                f"{node.op}: tensor {kind} has {len(kind.shape)} dimensions, "
                f"at most {MAX_RANK} are supported"
            )
        if kind.dtype not in DTYPES:
            return Reject(
                f"{node.op}: dtype {kind.dtype} is not supported (supported: {', '.join(DTYPES)})"
            )
        for dim in kind.shape:
            if dim == UNKNOWN:
                return Reject(f"{node.op}: the shape of {kind} depends on data")
            if not is_legal(dim):
                return Reject(
                    f"{node.op}: dimension {dim!r} is not an expression over + - * // % max min"
                )
            if dim == 0:
                return Reject(f"{node.op}: tensor {kind} has no elements")
    return None


def check_dtypes(
    node: Node, tensors: Tensors, values: Iterable[int], legal: Sequence[str]
) -> Reject | None:
    """Refuse unless the dtype of each of `values` is among the legal ones.

    Args:
        node: The op, which messages name.
        tensors: Where types are found.
        values: Value ids to look at.
        legal: Dtypes that are accepted.

    Returns:
        None, or the refusal of the first value with another dtype.
    """
    for value in values:
        dtype = tensors.type(value).dtype
        if dtype not in legal:
            return Reject(f"{node.op}: needs {' or '.join(legal)}, found {dtype}")
    return None


def check_float(node: Node, tensors: Tensors) -> Reject | None:
    """Refuse unless every input and output is float32.

    Args:
        node: Its inputs and outputs are looked at.
        tensors: Where their types are found.

    Returns:
        None, or the refusal of the first value with another dtype.
    """
    return check_dtypes(node, tensors, (*node.inputs, *node.outputs), ("float32",))


def check_rank(
    node: Node, tensors: Tensors, value: int, low: int, high: int = MAX_RANK
) -> Reject | None:
    """Refuse unless the rank of a value lies between two bounds.

    Args:
        node: The op, which messages name.
        tensors: Where types are found.
        value: Value id to look at.
        low: Least rank, included.
        high: Largest rank, included.
    """
    rank = len(tensors.type(value).shape)
    if low <= rank <= high:
        return None
    wanted = f"{low} to {high}" if high > low else str(low)
    return Reject(f"{node.op}: needs a tensor of {wanted} dimensions, found {rank}")


def check_one_of(node: Node, attr: str, legal: Sequence[object]) -> Reject | None:
    """Refuse unless an attribute has one of the legal values.

    Args:
        node: The op that has the attribute.
        attr: Name of the attribute; a missing one counts as None.
        legal: Values that are accepted.
    """
    found = node.attrs.get(attr)
    if found in legal:
        return None
    names = ", ".join(map(repr, legal))
    return Reject(f"{node.op}: {attr} {found!r} is not supported (supported: {names})")


def check_layout(node: Node, attr: str, letters: str) -> Reject | None:
    """Refuse unless a layout attribute is some order of the given letters, not a blocked one.

    Args:
        node: The op that has the attribute.
        attr: Name of the attribute.
        letters: The letters, in any order (``"NCHW"``).
    """
    layout = node.attrs.get(attr)
    if isinstance(layout, str) and sorted(layout) == sorted(letters):
        return None
    return Reject(f"{node.op}: {attr} {layout!r} is not supported (any order of {letters} is)")


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    Args:
        axis: The axis; a negative one counts from the end.
        rank: Number of dimensions.
    """
    return axis + rank if axis < 0 else axis


def normal_axes(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return axes counted from the front, in ascending order.

    Args:
        axes: One axis or several, negative ones counted from the end; None means all.
        rank: Number of dimensions.
    """
    if axes is None:
        return tuple(range(rank))
    if isinstance(axes, int):
        axes = (axes,)
    return tuple(sorted(axis_of(int(a), rank) for a in axes))


def is_static(dims: Iterable[Dim]) -> bool:
    """True when no dim is symbolic."""
    return all(isinstance(d, int) for d in dims)
