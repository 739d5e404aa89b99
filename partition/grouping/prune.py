"""Pass 4: prune. Segments that are not worth the call, or cannot be called, go to the host.

A segment of a cheap op or two work more at its border (a call, a reorder, a copy) than it
saves. Heavy ops are exempt: a lone convolution is worth a segment. Where a dimension is symbolic
the work is counted as if it were 1: a lower bound.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from byoc.kit.foreign_op import FOREIGN
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.grouping.size_inputs import size_inputs
from byoc.partition.matching.match import Matches
from byoc.partition.snapshot.flops import Work
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import Refusal

__all__ = ["HEAVY_FLOPS", "prune_scope"]

HEAVY_FLOPS = 1_000_000
"""A segment with at least this much work is kept however few ops it has."""


def prune_scope(
    graph: OpGraph,
    drafts: Sequence[SegmentDraft],
    matches: Matches,
    work: Work,
    *,
    min_ops: int,
    min_flops: float,
    exempt: Collection[int] = (),
) -> list[SegmentDraft]:
    """Keep the segments that are worth a call and can be called.

    Args:
        graph: snapshot of the function.
        drafts: the segments of one scope.
        matches: who owns each op. Changed: ops of segments that are not kept lose their owner,
            and the refusal is recorded.
        work: operations and bytes of each op.
        min_ops: segments with fewer ops fall, unless they do `HEAVY_FLOPS` of work.
        min_flops: segments with fewer operations fall.
        exempt: ops whose segment may be small.

    Returns:
        The segments kept, in their order.
    """
    kept, demanded = [], frozenset(exempt)
    for vendor, nodes in drafts:
        opaque = any(graph.ops.kind[n] in FOREIGN for n in nodes)  # the host could not run it
        wanted = opaque or not demanded.isdisjoint(nodes)
        small = None if wanted else _too_small(work, nodes, min_ops, min_flops)
        reason = small or size_inputs(graph, nodes).missing
        if reason is None:
            kept.append(SegmentDraft(vendor, nodes))
            continue
        for node in nodes:
            pattern = matches.composites[matches.owner[node]].pattern
            matches.refuse([node], Refusal(vendor, pattern, reason))
            matches.owner[node] = -1
    return kept


def _too_small(work: Work, nodes: Sequence[int], min_ops: int, min_flops: float) -> str | None:
    if len(nodes) >= min_ops and min_flops <= 0:
        return None
    flops = sum(work[n].least for n in nodes)
    if flops < min_flops:
        return f"its segment has {flops} FLOPs, below min_segment_flops={min_flops:g}"
    if len(nodes) < min_ops and flops < HEAVY_FLOPS:
        return (
            f"its segment has {len(nodes)} op{'s' if len(nodes) > 1 else ''} and {flops} FLOPs, "
            f"below min_segment_ops={min_ops} and {HEAVY_FLOPS} FLOPs"
        )
    return None
