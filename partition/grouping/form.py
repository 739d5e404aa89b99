"""Passes 3 and 4 together: from who owns which op to the segments that are worth a call.

    owners of ops ──▶ group ──▶ prune ──▶ segments
                        ▲         │
                        └─────────┘  repeated while something falls, where asked for

Whoever needs segments (a placement strategy's choice, the search's evaluation of a plan, a
counterfactual) asks here, so that all of them mean the same by "the segments of this choice".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from byoc.partition.grouping.group import SegmentDraft, group_scope
from byoc.partition.grouping.prune import prune_scope
from byoc.partition.matching.match import Matches
from byoc.partition.snapshot.flops import Work
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["form_segments"]


def form_segments(
    graph: OpGraph,
    nodes: Sequence[int],
    matches: Matches,
    vendors: Sequence[str],
    work: Work,
    *,
    min_ops: int,
    min_flops: float,
    exempt: Collection[int] = (),
    repeat: bool = False,
) -> list[SegmentDraft]:
    """Group the owned ops of one scope and send what is not worth a call to the host.

    Args:
        graph: snapshot of the function.
        nodes: ops of the scope, in topological order.
        matches: who owns each op. Changed: ops of a pruned segment lose their owner, and the
            refusal is recorded.
        vendors: names, in the order in which they take turns at grouping.
        work: operations and bytes of each op.
        min_ops: segments with fewer ops are pruned, unless they are heavy.
        min_flops: segments with fewer operations are pruned.
        exempt: ops whose segment may be small.
        repeat: group again after pruning, until nothing more falls. Ops that fell may have kept
            two segments apart; so the same owners, given as they are, make the same segments.

    Returns:
        The segments that stay, in topological order.
    """
    while True:
        groups = group_scope(graph, nodes, matches, vendors)
        kept = prune_scope(
            graph, groups, matches, work, min_ops=min_ops, min_flops=min_flops, exempt=exempt
        )
        if not repeat or len(kept) == len(groups):
            return kept
