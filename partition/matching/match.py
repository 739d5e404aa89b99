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
from typing import Any, NamedTuple

from byoc.errors import VendorError, choices
from byoc.partition.matching.compile_pattern import compile_pattern
from byoc.partition.matching.matcher import CompiledPattern, MatchState
from byoc.partition.snapshot.bindings import ESCAPE
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import Refusal
from byoc.segment import Array, Node, TensorType
from byoc.vendor import Pattern, Reject, Vendor, check_patterns

__all__ = [
    "GraphMatch",
    "Likely",
    "MatchedComposite",
    "Matches",
    "VendorPatterns",
    "judge",
    "match_graph",
    "nodes_by_op",
]


class MatchedComposite(NamedTuple):
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

    @property
    def parts(self) -> Mapping[str, int]:
        """Named parts of this match as value ids."""
        return self._parts

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

    def take(self, composite: MatchedComposite) -> None:
        """Give the nodes of a match to it."""
        index = len(self.composites)
        self.composites.append(composite)
        for node in composite.nodes:
            self.owner[node] = index

    def refuse(self, nodes: Sequence[int], refusal: Refusal) -> None:
        """Record a refused match at each of its nodes."""
        last = nodes[-1]
        for node in nodes:
            self.refusals.setdefault(node, []).append((refusal, node == last))


def match_graph(graph: OpGraph, vendors: Sequence[VendorPatterns]) -> Matches:
    """Match one function. Raises VendorError when a `check` breaks its contract."""
    matches = Matches(len(graph))
    state = MatchState(graph, matches.owner)
    by_op = nodes_by_op(graph)
    for entry in vendors:
        for group in entry.classes:
            _sweep(graph, entry, [entry.patterns[k] for k in group], by_op, state, matches)
    return matches


class Likely:
    """Which patterns can fit where, by the op and the ops before it.

    nodes: where any can, from the last to the first.
    """

    def __init__(
        self,
        graph: OpGraph,
        patterns: Sequence[tuple[Pattern, CompiledPattern]],
        by_op: Mapping[str, list[int]],
    ) -> None:
        self._graph = graph
        self._rooted = {
            op: [p for p in patterns if p[1].roots is None or op in p[1].roots] for op in by_op
        }
        self._known: dict[tuple[str, ...], list[tuple[Pattern, CompiledPattern]]] = {}
        self.nodes = [node for op, found in self._rooted.items() if found for node in by_op[op]]
        self.nodes.sort(reverse=True)

    def __call__(self, node: int) -> list[tuple[Pattern, CompiledPattern]]:
        """Patterns whose root can be this node, in the order they are tried."""
        graph = self._graph
        ops, producer = graph.op, graph.producer
        before = [producer[a] for a in graph.args[node] if type(a) is int]
        key = (ops[node], *[ops[p] if p >= 0 else "" for p in before])
        found = self._known.get(key)
        if found is None:
            around = frozenset(key[1:])
            found = self._known[key] = [
                p for p in self._rooted[key[0]] if not any(n.isdisjoint(around) for n in p[1].needs)
            ]
        return found


def nodes_by_op(graph: OpGraph) -> dict[str, list[int]]:
    """The nodes a vendor may see, by op."""
    found: dict[str, list[int]] = {}
    for node, opaque in enumerate(graph.opaque):
        if not opaque:
            found.setdefault(graph.op[node], []).append(node)
    return found


def _sweep(
    graph: OpGraph,
    entry: VendorPatterns,
    patterns: Sequence[tuple[Pattern, CompiledPattern]],
    by_op: Mapping[str, list[int]],
    state: MatchState,
    matches: Matches,
) -> None:
    """Try patterns of one priority on every free op, from the last to the first."""
    likely = Likely(graph, patterns, by_op)
    owner = matches.owner
    for node in likely.nodes:
        if owner[node] >= 0:
            continue
        for pattern, compiled in likely(node):
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
    """Judge what the state matched; record the composite or the refusal."""
    nodes = compiled.nodes(state)
    parts = compiled.parts(state)
    reason = judge(graph, vendor, pattern, nodes, parts)
    if reason is not None:
        matches.refuse(nodes, Refusal(vendor.name, pattern.name, reason))
        return False
    matches.take(MatchedComposite(vendor.name, pattern.name, tuple(nodes), parts))
    return True


def judge(
    graph: OpGraph, vendor: Vendor, pattern: Pattern, nodes: Sequence[int], parts: Mapping[str, int]
) -> str | None:
    """Why this match is refused, or None: the rules that no pattern can express, then `check`."""
    reason = _leak(graph, nodes) or _untyped(graph, nodes)
    if reason is None:
        reason = _ask(graph, vendor, pattern, nodes, parts)
    return reason


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
