"""Pass 2 where several backends compete: every match of every vendor, overlapping ones too.

    a ─ conv ─ add ─ relu      acme.conv2d_relu   ──────────▓▓▓▓▓▓▓▓▓▓▓▓▓▓
                               acme.conv2d        ──────────▓▓▓▓
                               acme.relu          ──────────────────▓▓▓▓
                               other.conv2d_add   ──────────▓▓▓▓▓▓▓▓

In: a snapshot and the vendors' compiled patterns. Out: `Candidates`, from which strategies choose.
`match.py` takes the first match that fits and passes over what it covers. Here nothing is taken:
each pattern is tried at each op, and what passes is a *candidate*. `Candidates.greedy` gives what
`match.py` would have taken, from the same answers: a match that touches a taken op is asked for
again, as the matcher may then choose another alternative of the pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from byoc.partition.matching.match import (
    Attempt,
    MatchedComposite,
    Matches,
    PatternIndex,
    VendorPatterns,
    first_come_first_served,
    judge,
    nodes_by_op,
)
from byoc.partition.matching.matcher import CompiledPattern, MatchState
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import Refusal
from byoc.vendor import Pattern

__all__ = ["Candidates", "find_candidates"]


class _Try(NamedTuple):
    """A pattern that fits at a node: its index, the nodes, the candidate or -1 when refused."""

    pattern: int
    nodes: tuple[int, ...]
    candidate: int


class Candidates:
    """Every match of every vendor in one function, overlapping ones too.

    Attributes:
        graph: snapshot of the function.
        vendors: name → the vendor with its compiled patterns, in the order they were given.
        found: all candidates, in the order vendor, last op from the last to the first, pattern.
        covering: op → indices of the candidates that cover it.
        matches: refusals only; nothing is taken.
    """

    def __init__(self, graph: OpGraph, vendors: Sequence[VendorPatterns]) -> None:
        self.graph = graph
        self.vendors = {entry.vendor.name: entry for entry in vendors}
        self.found: list[MatchedComposite] = []
        self.covering: list[list[int]] = [[] for _ in range(len(graph))]
        self.matches = Matches(len(graph))
        self._tries: dict[str, dict[int, list[_Try]]] = {}

    def __len__(self) -> int:
        return len(self.found)

    def _add(self, composite: MatchedComposite) -> int:
        index = len(self.found)
        self.found.append(composite)
        for node in composite.nodes:
            self.covering[node].append(index)
        return index

    def _same(self, composite: MatchedComposite) -> int | None:
        """The index of the candidate of the same pattern on the same nodes."""
        for index in self.covering[composite.nodes[0]]:
            other = self.found[index]
            if (
                other.nodes == composite.nodes
                and other.pattern == composite.pattern
                and other.vendor == composite.vendor
            ):
                return index
        return None

    def collect(self, entry: VendorPatterns, by_op: Mapping[str, list[int]]) -> None:
        """Find the candidates of one vendor and append them.

        Args:
            entry: the vendor with its compiled patterns.
            by_op: kind of op → the nodes of that kind a vendor may take.
        """
        graph, vendor = self.graph, entry.vendor
        state = MatchState(graph, [-1] * len(graph))
        position = {id(compiled): k for k, (_, compiled) in enumerate(entry.patterns)}
        index = PatternIndex(graph, entry.patterns, by_op)
        tries: dict[int, list[_Try]] = {}
        for node in index.nodes:
            found = []
            for pattern, compiled in index(node):
                if compiled.match(state, node):
                    nodes = tuple(compiled.nodes(state))
                    passed = self._judge(entry, pattern, compiled, state, nodes)
                    # Each pattern is tried once at each op: what passes is new.
                    candidate = -1 if passed is None else self._add(passed)
                    found.append(_Try(position[id(compiled)], nodes, candidate))
            if found:
                tries[node] = found
        self._tries[vendor.name] = tries

    def _judge(
        self,
        entry: VendorPatterns,
        pattern: Pattern,
        compiled: CompiledPattern,
        state: MatchState,
        nodes: tuple[int, ...],
    ) -> MatchedComposite | None:
        """The match that `state` holds as a composite; None when it is refused."""
        parts = compiled.parts(state)
        reason = judge(self.graph, entry.vendor, pattern, nodes, parts)
        if reason is not None:
            self.matches.refuse(nodes, Refusal(entry.vendor.name, pattern.name, reason))
            return None
        return MatchedComposite(entry.vendor.name, pattern.name, nodes, parts)

    def greedy(
        self,
        vendors: Iterable[str],
        allowed: Callable[[int], bool] = lambda index: True,
        chosen: Iterable[int] = (),
    ) -> list[int]:
        """Choose candidates as the strategy "order" does: first come, first served.

        Args:
            vendors: names, in the order they come.
            allowed: index of a candidate → whether it may be taken.
            chosen: candidates taken already; they stay.

        Returns:
            Indices of candidates, no two of which share an op: `chosen`, then those added.
        """
        taken = [-1] * len(self.graph)
        result = list(chosen)
        for index in result:
            for node in self.found[index].nodes:
                taken[node] = index
        state = MatchState(self.graph, taken)

        def offers(entry: VendorPatterns, group: Sequence[int]) -> tuple[Iterable[int], Attempt]:
            tries, first, last = self._tries[entry.vendor.name], group[0], group[-1]

            def attempt(node: int) -> None:
                for one in tries[node]:
                    if first <= one.pattern <= last:
                        index = self._free(entry, one, state, node)
                        if index >= 0 and allowed(index):
                            result.append(index)
                            for inner in self.found[index].nodes:
                                taken[inner] = index
                            return

            return tries, attempt

        first_come_first_served(taken, [self.vendors[name] for name in vendors], offers)
        return result

    def _free(self, entry: VendorPatterns, one: _Try, state: MatchState, node: int) -> int:
        """The candidate of a try as far as its nodes are free, else -1."""
        taken = state.taken
        if all(taken[n] < 0 for n in one.nodes):
            return one.candidate
        pattern, compiled = entry.patterns[one.pattern]
        if not compiled.match(state, node):
            return -1
        passed = self._judge(entry, pattern, compiled, state, tuple(compiled.nodes(state)))
        if passed is None:
            return -1
        index = self._same(passed)
        return self._add(passed) if index is None else index


def find_candidates(graph: OpGraph, vendors: Sequence[VendorPatterns]) -> Candidates:
    """List all candidates of a function, those that "order" would take among them.

    Args:
        graph: snapshot of the function.
        vendors: the vendors' compiled patterns.

    Raises:
        VendorError: a `check` breaks its contract.
    """
    candidates = Candidates(graph, vendors)
    by_op = nodes_by_op(graph)
    for entry in vendors:
        candidates.collect(entry, by_op)
    return candidates
