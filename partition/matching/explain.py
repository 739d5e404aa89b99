"""Why an op is on the host: per vendor, the reason that came nearest to taking it.

In order of nearness: a refusal of a pattern that ended at the op; one of a pattern that had it
inside; what kept the smallest pattern of this op from fitting; that no pattern covers it at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from byoc.partition.matching.match import Matches, VendorPatterns
from byoc.partition.matching.matcher import CompiledPattern, MatchState
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import Refusal

__all__ = ["Explainer"]


class Explainer:
    """Says why an op is on the host, for one function.

    Reasons that depend on the kind of op alone are worked out once.
    """

    def __init__(self, graph: OpGraph, vendors: Sequence[VendorPatterns], matches: Matches) -> None:
        self._graph = graph
        self._vendors = vendors
        self._matches = matches
        # A free table: an op placed elsewhere is no reason for a shape that does not fit.
        self._state = MatchState(graph, [-1] * len(graph))
        self._by_name: dict[tuple[str, str], Refusal | CompiledPattern] = {}

    def __call__(self, node: int) -> tuple[Refusal, ...]:
        """The refusals of an op that is on the host, one per vendor, the nearest miss each."""
        graph = self._graph
        if graph.ops.opaque[node]:
            return ()
        seen = self._matches.refusals.get(node, ())
        found = []
        for entry in self._vendors:
            mine = [r for r in seen if r[0].vendor == entry.vendor.name]
            if mine:
                found.append(next((r for r, last in reversed(mine) if last), mine[-1][0]))
            else:
                found.append(self._unmatched(entry, node))
        return tuple(found)

    def _unmatched(self, entry: VendorPatterns, node: int) -> Refusal:
        op, vendor = self._graph.ops.kind[node], entry.vendor.name
        known = self._by_name.get((vendor, op))
        if known is None:
            known = self._by_name[vendor, op] = self._candidate(entry, op)
        if isinstance(known, Refusal):
            return known
        best = (-1, "")

        def note(depth: int, reason: str) -> None:
            nonlocal best
            if depth > best[0]:
                best = (depth, reason)

        self._state.note = note
        fits = known.match(self._state, node)
        self._state.note = None
        if fits:  # it was held by another vendor when this one was asked
            return Refusal(vendor, known.name, "an op it needs was placed elsewhere")
        return Refusal(vendor, known.name, best[1] or "does not fit here")

    @staticmethod
    def _candidate(entry: VendorPatterns, op: str) -> Refusal | CompiledPattern:
        """The smallest pattern that ends with this op, or the reason when there is none."""
        vendor = entry.vendor.name
        ends = [c for _, c in entry.patterns if c.roots is None or op in c.roots]
        if ends:
            return min(ends, key=lambda c: c.calls)
        inside = [c.name for _, c in entry.patterns if op in c.ops]
        if inside:
            shown = ", ".join(inside[:3]) + (", …" if len(inside) > 3 else "")
            return Refusal(vendor, inside[0], f"{op} is taken only inside of: {shown}")
        return Refusal(vendor, "", f"no pattern of {vendor} covers {op}")
