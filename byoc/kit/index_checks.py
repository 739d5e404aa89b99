"""Indices of look-ups, for engines that do not check them: what is legal, and the error else.

In: a segment, when it is compiled. Out: `IndexCheck` records, plain enough to be stored with the
artifact, and `check_index`, which the runtime calls with each array of indices. The words and the
rules are those of byoc's host kernels: an index outside its axis is an error, negative ones count
from the end where the op says so ("wrap"), modes that say what an illegal index gives are let be.
"""

from __future__ import annotations

from dataclasses import dataclass

from byoc.errors import ExecutionError
from byoc.segment import Array, Segment

__all__ = ["IndexCheck", "check_index", "index_checks"]


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """One array of indices that must be looked at.

    Attributes:
        op: The op that looks up.
        index: Value id of the indices.
        table: Value id of what they point into.
        axis: The axis of the table, counted from 0.
        size: Its length; None where it is known at run time only.
        from_end: Whether negative indices count from the end.

    """

    op: str
    index: int
    table: int
    axis: int
    size: int | None
    from_end: bool


def index_checks(segment: Segment) -> tuple[IndexCheck, ...]:
    """Return what must be checked when a segment runs, each once.

    Args:
        segment: The segment; constant indices that are legal need no check.

    """
    found: dict[IndexCheck, None] = {}
    for node in segment.nodes:
        mode = str(node.attrs.get("mode", "fast"))
        if node.op != "take" or mode not in ("wrap", "fast") or node.attrs.get("axis") is None:
            continue
        table, index = node.inputs
        shape = segment.type(table).shape
        axis = int(node.attrs["axis"]) % len(shape)
        size = shape[axis]
        known = size if isinstance(size, int) else None
        check = IndexCheck(node.op, index, table, axis, known, mode == "wrap")
        if index not in segment.constants or not _legal(check, segment.constants[index], known):
            found[check] = None
    return tuple(found)


def check_index(check: IndexCheck, indices: Array, size: int) -> None:
    """Raise where an index is illegal.

    Args:
        check: What is legal.
        indices: The numbers.
        size: Length of the axis.

    Raises:
        ExecutionError: An index lies outside; op, axis and legal numbers are named.

    """
    if _legal(check, indices, size):
        return
    first = -size if check.from_end else 0
    legal = f"{first} to {size - 1}" if size else "none, the axis is empty"
    bad = indices[(indices < first) | (indices >= size)]
    raise ExecutionError(
        f"{check.op}: index {bad.flat[0]} lies outside axis {check.axis} of size {size}; "
        f"legal: {legal}"
    )


def _legal(check: IndexCheck, indices: Array, size: int | None) -> bool:
    if size is None:
        return False
    if indices.size == 0:
        return True
    return bool(indices.min() >= (-size if check.from_end else 0) and indices.max() < size)
