"""What became of each pattern of a vendor in a model: for the author of the patterns.

Every pattern is tried at every op as if it were the only one, so that one which never fits shows,
and one which another match always precedes as well:

    fits ──check──▶ refused (reasons, counted)
           └─────▶ accepted ──▶ of these, taken: in a segment of the result
    fits nowhere ──▶ the nearest miss, or that no op of the model can end it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from byoc.partition.matching.match import PatternIndex, VendorPatterns, judge, nodes_by_op
from byoc.partition.matching.matcher import CompiledPattern, MatchState
from byoc.partition.result import PartitionResult
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["PatternUse", "pattern_use"]


@dataclass(frozen=True, slots=True)
class PatternUse:
    """What became of one pattern.

    Attributes:
        vendor: whose it is.
        pattern: its name.
        taken: composites of it in the segments of the result.
        accepted: where it fits and its check agrees, whoever took the ops; 0 or more.
        refused: where it fits and is refused.
        reasons: reason of a refusal → how often, the most frequent first.
        nearest: why it fits nowhere; "" when it fits somewhere.
    """

    vendor: str
    pattern: str
    taken: int
    accepted: int
    refused: int
    reasons: tuple[tuple[str, int], ...] = ()
    nearest: str = ""

    @property
    def text(self) -> str:
        """One sentence about it."""
        if self.nearest:
            return f"fits nowhere: {self.nearest}"
        if self.refused:
            shown = [f"{reason} ({count})" for reason, count in self.reasons[:3]]
            more = len(self.reasons) - len(shown)
            return "refused: " + "; ".join(shown) + (f"; {more} more" if more > 0 else "")
        if not self.taken:
            return "other matches take its ops, or its segments are too small"
        return ""


@dataclass(slots=True)
class _Tally:
    """Figures of one pattern while the functions are gone through."""

    ends: str
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    nearest: tuple[int, str] = (-1, "")


def pattern_use(result: PartitionResult) -> tuple[PatternUse, ...]:
    """Tell what became of each pattern of each vendor.

    Examples:
        >>> [use.taken for use in pattern_use(partition_module(mod, [vendor]))]
        [1]

    Args:
        result: of `partition_module`.

    Returns:
        One value per pattern: vendors in their order, patterns in the order they are tried.

    Raises:
        VendorError: a `check` breaks its contract where it was not asked before.
    """
    taken = Counter((s.vendor, c.pattern) for s in result.segments for c in s.composites)
    tallies: dict[tuple[str, str], _Tally] = {}
    for placed in result.placed:
        for entry in placed.context.vendors:
            for _, compiled in entry.patterns:
                ends = " or ".join(sorted(compiled.roots or ()))
                tallies.setdefault((entry.vendor.name, compiled.name), _Tally(ends))
            _try_all(placed.context.graph, entry, tallies)
    return tuple(
        PatternUse(
            vendor,
            pattern,
            taken[vendor, pattern],
            tally.accepted,
            tally.reasons.total(),
            tuple(tally.reasons.most_common()),
            _nowhere(tally),
        )
        for (vendor, pattern), tally in tallies.items()
    )


def _nowhere(tally: _Tally) -> str:
    if tally.accepted or tally.reasons:
        return ""
    return tally.nearest[1] or f"the model has no {tally.ends or 'op'}"


def _try_all(graph: OpGraph, entry: VendorPatterns, tallies: dict[tuple[str, str], _Tally]) -> None:
    """Try each pattern wherever it may end, as if all ops were free."""
    state = MatchState(graph, [-1] * len(graph))
    by_op = nodes_by_op(graph)
    for pattern, compiled in entry.patterns:
        tally = tallies[entry.vendor.name, compiled.name]
        index = PatternIndex(graph, [(pattern, compiled)], by_op)
        for node in index.nodes:
            if not index(node) or not compiled.match(state, node):
                continue
            nodes, parts = compiled.nodes(state), compiled.parts(state)
            reason = judge(graph, entry.vendor, pattern, nodes, parts)
            if reason is None:
                tally.accepted += 1
            else:
                tally.reasons[reason] += 1
        if not tally.accepted and not tally.reasons:
            tally.nearest = max(tally.nearest, _nearest(graph, compiled, state, index.nodes))


def _nearest(
    graph: OpGraph, compiled: CompiledPattern, state: MatchState, nodes: Sequence[int]
) -> tuple[int, str]:
    """How far the pattern gets at the op where it gets furthest, and what stops it there."""
    best, where = (-1, ""), ""

    def note(depth: int, reason: str) -> None:
        nonlocal best
        if depth > best[0]:
            best = depth, f"{where}: {reason}"

    state.note = note
    for node in nodes:
        where = f"{graph.ops.kind[node]} ({graph.ops.names[node]})"
        compiled.match(state, node)
    state.note = None
    return best
