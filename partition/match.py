"""Pass 2: match. Every op gets a composite of some vendor, or the reasons why not.

    for vendor in order given:                 who comes first wins a conflict
        for priority, high to low:
            for op, last to first:             the longest chain ends furthest down
                for pattern in list order:     the first that fits and passes is taken

A pattern that fits is still refused when an inner value is used outside the match (by another
op, by a branch, or as a result), when a tensor's rank is unknown, or when its `check` says so.
Each refusal is kept; an op that stays on the host shows the nearest one of each vendor.

Which patterns can fit is looked up by the op and the ops before it: most tries never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byoc.errors import VendorError, choices
from byoc.partition.compile import compile_pattern
from byoc.partition.graph import ESCAPE, OpGraph
from byoc.partition.matcher import CompiledPattern, MatchState
from byoc.partition.report import Refusal
from byoc.segment import Array, Node, TensorType
from byoc.vendor import Pattern, Reject, Vendor, check_patterns

__all__ = ["GraphMatch", "MatchedComposite", "Matches", "VendorPatterns", "match_graph"]


@dataclass(frozen=True, slots=True)
class MatchedComposite:
    """A taken match: nodes of the graph, topological; parts as value ids of the graph."""

    vendor: str
    pattern: str
    nodes: tuple[int, ...]
    parts: Mapping[str, int]


class VendorPatterns:
    """A vendor with its patterns compiled, once per partitioning."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.patterns: list[tuple[Pattern, CompiledPattern]] = [
            (p, compile_pattern(p.name, p.expr, p.parts, vendor.name))
            for p in check_patterns(vendor)
        ]
        self.classes: list[list[int]] = []
        last: int | None = None
        for k, (pattern, _) in enumerate(self.patterns):
            if pattern.priority != last:
                self.classes.append([])
                last = pattern.priority
            self.classes[-1].append(k)


class GraphMatch:
    """`byoc.vendor.Match` over the snapshot."""

    __slots__ = ("_graph", "_nodes", "_parts", "_pattern", "_who")

    def __init__(
        self, graph: OpGraph, pattern: str, nodes: Sequence[int], parts: Mapping[str, int], who: str
    ) -> None:
        self._graph = graph
        self._pattern = pattern
        self._nodes = nodes
        self._parts = parts
        self._who = who

    @property
    def pattern(self) -> str:
        """Name of the pattern that fits."""
        return self._pattern

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The matched nodes, topological."""
        return tuple([self._graph.node(n) for n in self._nodes])

    def _value(self, part: str | int) -> int:
        if isinstance(part, int):
            return part
        try:
            return self._parts[part]
        except KeyError:
            raise KeyError(
                f"pattern {self._pattern!r} of {self._who!r} has no part {part!r} in this match; "
                f"{choices(part, self._parts)}"
            ) from None

    def has(self, part: str) -> bool:
        """True when the part took part in this match."""
        return part in self._parts

    def node(self, part: str) -> Node:
        """The node that produces a named part."""
        value = self._value(part)
        node = self._graph.producer[value]
        if node < 0:
            raise KeyError(
                f"part {part!r} of pattern {self._pattern!r} of {self._who!r} is an input or a "
                f"constant, no node produces it; parts: {', '.join(sorted(self._parts))}"
            )
        return self._graph.node(node)

    def type(self, part: str | int) -> TensorType:
        """Type of a named part (of its first output), or of a value id."""
        found = self._graph.types[self._value(part)]
        if found is None:
            raise KeyError(f"value {part!r} of pattern {self._pattern!r} is no tensor")
        return found

    def constant(self, part: str | int) -> Array | None:
        """The array behind a constant, else None."""
        return self._graph.array(self._value(part))


class Matches:
    """Result of the pass: composites, the composite of each node, refusals per node."""

    def __init__(self, count: int) -> None:
        self.composites: list[MatchedComposite] = []
        self.owner: list[int] = [-1] * count
        self.refusals: dict[int, list[tuple[Refusal, bool]]] = {}
        """Node -> refusals; True when the node was the last op of the refused match."""

    def refuse(self, nodes: Sequence[int], refusal: Refusal) -> None:
        """Record a refused match at each of its nodes."""
        last = nodes[-1]
        for node in nodes:
            self.refusals.setdefault(node, []).append((refusal, node == last))


def match_graph(graph: OpGraph, vendors: Sequence[VendorPatterns]) -> Matches:
    """Match one function. Raises VendorError when a `check` breaks its contract."""
    matches = Matches(len(graph))
    state = MatchState(graph, matches.owner)
    by_op: dict[str, list[int]] = {}
    for node in range(len(graph)):
        if not graph.opaque[node]:
            by_op.setdefault(graph.op[node], []).append(node)
    for entry in vendors:
        for group in entry.classes:
            _sweep(graph, entry, [entry.patterns[k] for k in group], by_op, state, matches)
    return matches


def _sweep(
    graph: OpGraph,
    entry: VendorPatterns,
    patterns: Sequence[tuple[Pattern, CompiledPattern]],
    by_op: Mapping[str, list[int]],
    state: MatchState,
    matches: Matches,
) -> None:
    """Try patterns of one priority on every free op, from the last to the first."""
    rooted = {op: [p for p in patterns if p[1].roots is None or op in p[1].roots] for op in by_op}
    todo = [node for op, found in rooted.items() if found for node in by_op[op]]
    todo.sort(reverse=True)
    owner, producer, op_names, args = matches.owner, graph.producer, graph.op, graph.args
    likely: dict[tuple[str, ...], list[tuple[Pattern, CompiledPattern]]] = {}
    for node in todo:
        if owner[node] >= 0:
            continue
        op = op_names[node]
        before = [producer[a] for a in args[node] if type(a) is int]
        key = (op, *[op_names[p] if p >= 0 else "" for p in before])
        found = likely.get(key)
        if found is None:
            around = frozenset(key[1:])
            found = [p for p in rooted[op] if not any(n.isdisjoint(around) for n in p[1].needs)]
            likely[key] = found
        for pattern, compiled in found:
            if compiled.match(state, node) and _take(
                graph, entry.vendor, pattern, compiled, state, matches
            ):
                break


def _take(
    graph: OpGraph,
    vendor: Vendor,
    pattern: Pattern,
    compiled: CompiledPattern,
    state: MatchState,
    matches: Matches,
) -> bool:
    """Apply the rules that no pattern can express; record the composite or the refusal."""
    nodes = compiled.nodes(state)
    reason = _leak(graph, nodes) or _untyped(graph, nodes)
    parts = compiled.parts(state)
    if reason is None:
        reason = _ask(graph, vendor, pattern, nodes, parts)
    if reason is not None:
        matches.refuse(nodes, Refusal(vendor.name, pattern.name, reason))
        return False
    index = len(matches.composites)
    matches.composites.append(MatchedComposite(vendor.name, pattern.name, tuple(nodes), parts))
    for node in nodes:
        matches.owner[node] = index
    return True


def _ask(
    graph: OpGraph, vendor: Vendor, pattern: Pattern, nodes: Sequence[int], parts: Mapping[str, int]
) -> str | None:
    """The vendor's own verdict."""
    match = GraphMatch(graph, pattern.name, nodes, parts, vendor.name)
    where = f"on {graph.op[nodes[-1]]} ({graph.names[nodes[-1]]} in {graph.name})"
    try:
        verdict: Any = pattern.check(match)
    except Exception as error:
        raise VendorError(
            f"vendor author: check of pattern {pattern.name!r} of {vendor.name!r} raised "
            f"{type(error).__name__} {where}: {error}; return Reject(reason) to refuse"
        ) from error
    if verdict is None:
        return None
    if isinstance(verdict, Reject):
        return verdict.reason
    raise VendorError(
        f"vendor author: check of pattern {pattern.name!r} of {vendor.name!r} returned "
        f"{verdict!r} {where}; expected None or Reject(reason)"
    )


def _leak(graph: OpGraph, nodes: Sequence[int]) -> str | None:
    """Why the match cannot be one unit: an inner value is used outside."""
    if len(nodes) == 1:
        return None
    inside = set(nodes)
    users = graph.users
    for node in nodes[:-1]:
        for value in graph.outs[node]:
            for user in users[value]:
                if user not in inside:
                    by = "as a result" if user == ESCAPE else f"by {_named(graph, user)}"
                    return f"{_named(graph, node)} is also used outside the pattern, {by}"
    return None


def _named(graph: OpGraph, node: int) -> str:
    return f"{graph.op[node]} ({graph.names[node]})"


def _untyped(graph: OpGraph, nodes: Sequence[int]) -> str | None:
    """Why the match cannot be compiled ahead: a value is no tensor of known rank."""
    for node in nodes:
        for value in graph.ins[node]:
            if graph.types[value] is None:
                return f"an argument of {_named(graph, node)} is no tensor of known rank"
        for value in graph.outs[node]:
            if graph.types[value] is None:
                return f"the rank of the result of {_named(graph, node)} is unknown"
    return None
