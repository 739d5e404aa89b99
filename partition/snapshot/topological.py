"""Sorting: items so that each comes after all it needs.

In: a table, item → the items it needs. Out: the items in such an order. Grouping (contracted
segments), the explanation of splits, the makespan and stock pattern checks all sort by this one
function, so that they agree on what a cycle is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["topological_order"]


def topological_order(preds: Mapping[int, Collection[int]]) -> list[int]:
    """Sort items so that each comes after all items it needs (Kahn's algorithm).

    Of items that are ready at the same time the one that stands first in `preds` comes first, so
    equal input gives equal output. The cost is linear in items and edges.

    Args:
        preds: item → the items it needs; each of those must be a key too.

    Returns:
        The items in order. Items on a cycle, or behind one, are left out: a result shorter than
        `preds` means that there is a cycle.
    """
    succs: dict[int, list[int]] = {at: [] for at in preds}
    waiting = {at: len(needed) for at, needed in preds.items()}
    for at, needed in preds.items():
        for pred in needed:
            succs[pred].append(at)
    order = [at for at, count in waiting.items() if count == 0]
    for at in order:
        for succ in succs[at]:
            waiting[succ] -= 1
            if waiting[succ] == 0:
                order.append(succ)
    return order
