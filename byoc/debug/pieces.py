"""Pieces of a segment: some of its ops as a segment of their own, for the same vendor.

    segment   a ─ conv ─ b ─ relu ─ c ─ pool ─ d         units: composites, never torn apart
    piece 0 … 2            prefix: conv, relu
    piece 1 … 2            relu alone, fed with b

Units are taken in one topological order, so that any run of neighbours is convex: a path that left
it and came back would pass through a unit between two of them. Inside a unit a piece may have fewer
ops than the vendor's pattern; whether the vendor has a smaller pattern for these, partitioning them
once more tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from byoc.segment import Composite, Node, Segment

if TYPE_CHECKING:
    from byoc.vendor import Vendor

__all__ = ["Piece", "cut", "rematched", "units_of", "whole"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some ops of a segment, as the vendor may compile them alone.

    Attributes:
        segment: these ops as a segment.
        nodes: which of the whole segment's nodes they are.
        inputs: for each input, the value of the whole segment that it stands for.
        outputs: the same for the outputs.
    """

    segment: Segment
    nodes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def units_of(segment: Segment) -> tuple[tuple[int, ...], ...]:
    """Group a segment's nodes into what its vendor takes as one.

    Args:
        segment: any segment.

    Returns:
        The nodes of each composite, and each node that belongs to none, in topological order.
    """
    owner: dict[int, int] = {}
    groups = [tuple(sorted(c.nodes)) for c in segment.composites]
    for number, nodes in enumerate(groups):
        owner.update(dict.fromkeys(nodes, number))
    for n in range(len(segment.nodes)):
        if n not in owner:
            owner[n] = len(groups)
            groups.append((n,))
    made = {v: owner[n] for n, node in enumerate(segment.nodes) for v in node.outputs}
    before: list[set[int]] = [set() for _ in groups]
    after: list[set[int]] = [set() for _ in groups]
    for n, node in enumerate(segment.nodes):
        for value in node.inputs:
            source = made.get(value, owner[n])
            if source != owner[n]:
                before[owner[n]].add(source)
                after[source].add(owner[n])
    ready = [(groups[u][-1], u) for u in range(len(groups)) if not before[u]]
    ready.sort()
    order: list[tuple[int, ...]] = []
    while ready:
        _, unit = heappop(ready)
        order.append(groups[unit])
        for later in after[unit]:
            before[later].discard(unit)
            if not before[later]:
                heappush(ready, (groups[later][-1], later))
    return tuple(order)


def whole(segment: Segment) -> Piece:
    """Give a segment as a piece of itself."""
    return Piece(segment, tuple(range(len(segment.nodes))), segment.inputs, segment.outputs)


def cut(segment: Segment, nodes: Sequence[int], name: str) -> Piece:
    """Cut ops out of a segment.

    Args:
        segment: the whole.
        nodes: which of its nodes: whole composites, a convex set.
        name: of the piece.

    Returns:
        The piece. It returns what other ops of the segment read, or the segment returns.
    """
    chosen = tuple(sorted(nodes))
    inside = set(chosen)
    made = [v for n in chosen for v in segment.nodes[n].outputs]
    read = dict.fromkeys([v for n in chosen for v in segment.nodes[n].inputs])
    wanted = set(segment.outputs)
    for n, node in enumerate(segment.nodes):
        if n not in inside:
            wanted.update(node.inputs)
    inputs = [v for v in read if v not in set(made) and v not in segment.constants]
    outputs = [v for v in made if v in wanted] or list(segment.nodes[chosen[-1]].outputs)
    number: dict[int, int] = {}
    for value in (*inputs, *read, *made):
        number.setdefault(value, len(number))
    position = {n: k for k, n in enumerate(chosen)}
    piece = Segment(
        name=name,
        vendor=segment.vendor,
        values=tuple(segment.values[v] for v in number),
        nodes=tuple(_renumbered(segment.nodes[n], number) for n in chosen),
        composites=tuple(
            Composite(
                c.pattern,
                tuple(position[n] for n in c.nodes),
                {part: number[v] for part, v in c.parts.items() if v in number},
            )
            for c in segment.composites
            if inside.issuperset(c.nodes)
        ),
        inputs=tuple(number[v] for v in inputs),
        outputs=tuple(number[v] for v in outputs),
        constants={number[v]: a for v, a in segment.constants.items() if v in number},
    )
    return Piece(piece, chosen, tuple(inputs), tuple(outputs))


def _renumbered(node: Node, number: Mapping[int, int]) -> Node:
    return Node(
        node.op,
        tuple(number[v] for v in node.inputs),
        tuple(number[v] for v in node.outputs),
        node.attrs,
        node.source,
    )


def rematched(
    function: Any, segment: Segment, nodes: Sequence[int], vendor: Vendor, name: str
) -> Piece | None:
    """Offer ops of a segment to its vendor again, all others left to the host.

    Args:
        function: the segment as a Relax function, its nodes in the same order.
        segment: the whole.
        nodes: which of its nodes; they may be a part of a composite.
        vendor: whose patterns they must fit.
        name: of the piece.

    Returns:
        The piece as the vendor takes it now; None where it does not take exactly these ops as one.
    """
    from byoc.errors import ByocError
    from byoc.ir.lone_function import as_main
    from byoc.partition import partition_module
    from byoc.partition.placing import fixed

    places = fixed(dict.fromkeys(nodes, vendor.name))
    try:
        parts = partition_module(as_main(function), [vendor], placement=places, min_segment_ops=1)
    except ByocError:  # no pattern for these alone
        return None
    drafts = [d for placed in parts.placed for scope in placed.drafts.values() for d in scope]
    if len(parts.segments) != 1 or sorted(drafts[0].nodes) != sorted(nodes):
        return None
    (found,) = parts.segments
    value: dict[int, int] = {}  # of the piece → of the whole
    for k, n in enumerate(drafts[0].nodes):
        value.update(zip(found.nodes[k].inputs, segment.nodes[n].inputs, strict=True))
        value.update(zip(found.nodes[k].outputs, segment.nodes[n].outputs, strict=True))
    return Piece(
        replace(found, name=name),
        tuple(drafts[0].nodes),
        tuple(value[v] for v in found.inputs),
        tuple(value[v] for v in found.outputs),
    )
