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

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from byoc.contract_checks import check_patterns, check_vendor
from byoc.errors import VendorError, choices
from byoc.partition.matching.compile_pattern import compile_pattern
from byoc.partition.matching.matcher import CompiledPattern, MatchState
from byoc.partition.snapshot.bindings import ESCAPE
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import Refusal
from byoc.segment import Array, Node, TensorType
from byoc.vendor import Match, Pattern, Reject, Vendor

__all__ = [
    "Attempt",
    "GraphMatch",
    "MatchedComposite",
    "Matches",
    "PatternIndex",
    "VendorPatterns",
    "ask_check",
    "compile_vendors",
    "first_come_first_served",
    "judge",
    "match_graph",
    "nodes_by_op",
]


class MatchedComposite(NamedTuple):
    """A match that was taken, or a candidate that may be.

    Attributes:
        vendor: name of the vendor.
        pattern: name of its pattern.
        nodes: the ops it covers, in topological order.
        parts: named parts of the pattern → values of the graph.
    """

    vendor: str
    pattern: str
    nodes: tuple[int, ...]
    parts: Mapping[str, int]


class VendorPatterns:
    """A vendor with its patterns compiled, once per partitioning.

    Attributes:
        vendor: the vendor.
        patterns: each pattern with its matcher, in the order they are tried.
        classes: indices into `patterns`, in one list per priority, the highest first.
    """

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


def compile_vendors(vendors: Sequence[Vendor]) -> list[VendorPatterns]:
    """Check vendors and compile their patterns.

    Raises:
        VendorError: a vendor is given twice, breaks the contract, or has a pattern that cannot
            be read.
    """
    names: set[str] = set()
    for vendor in vendors:
        check_vendor(vendor)
        if vendor.name in names:
            raise VendorError(f"vendor {vendor.name!r} is given twice; give each vendor once")
        names.add(vendor.name)
    return [VendorPatterns(vendor) for vendor in vendors]


class GraphMatch:
    """A match as the vendor's `check` sees it: `byoc.vendor.Match` over the snapshot."""

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
        """The matched ops in topological order."""
        return tuple([self._graph.node(n) for n in self._nodes])

    @property
    def parts(self) -> Mapping[str, int]:
        """Named parts that took part in this match → value ids."""
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
        """Whether a named part took part in this match."""
        return part in self._parts

    def node(self, part: str) -> Node:
        """The op that produces a named part.

        Raises:
            KeyError: the part is unknown, or an input or constant that no op produces.
        """
        value = self._value(part)
        node = self._graph.values.producer[value]
        if node < 0:
            raise KeyError(
                f"part {part!r} of pattern {self._pattern!r} of {self._who!r} is an input or a "
                f"constant, no node produces it; parts: {', '.join(sorted(self._parts))}"
            )
        return self._graph.node(node)

    def type(self, part: str | int) -> TensorType:
        """The type of a named part (of its first output), or of a value id.

        Raises:
            KeyError: the part is unknown, or no tensor.
        """
        found = self._graph.values.types[self._value(part)]
        if found is None:
            raise KeyError(f"value {part!r} of pattern {self._pattern!r} is no tensor")
        return found

    def constant(self, part: str | int) -> Array | None:
        """The array behind a constant part or value id; None when it is no constant."""
        return self._graph.array(self._value(part))


class Matches:
    """Who owns each op of a function, and why others were refused.

    Attributes:
        composites: the matches taken so far; an op's owner is an index into this list.
        owner: op → index of its composite; -1 on the host.
        refusals: op → (refusal, whether the op was the last of the refused match), as they came.
    """

    def __init__(self, count: int) -> None:
        self.composites: list[MatchedComposite] = []
        self.owner: list[int] = [-1] * count
        self.refusals: dict[int, list[tuple[Refusal, bool]]] = {}
        """Node -> refusals; True when the node was the last op of the refused match."""

    def take(self, composite: MatchedComposite) -> None:
        """Give the ops of a match to it."""
        index = len(self.composites)
        self.composites.append(composite)
        for node in composite.nodes:
            self.owner[node] = index

    def refuse(self, nodes: Sequence[int], refusal: Refusal) -> None:
        """Record a refused match at each of its ops.

        Args:
            nodes: the ops of the match, the last one last.
            refusal: who refused which pattern, and why.
        """
        last = nodes[-1]
        for node in nodes:
            self.refusals.setdefault(node, []).append((refusal, node == last))


def match_graph(graph: OpGraph, vendors: Sequence[VendorPatterns]) -> Matches:
    """Match one function as the strategy "order" does: first come, first served.

    Args:
        graph: snapshot of the function.
        vendors: in the order they come.

    Returns:
        Who owns which op, and the refusals met on the way.

    Raises:
        VendorError: a `check` breaks its contract.
    """
    matches = Matches(len(graph))
    state = MatchState(graph, matches.owner)
    by_op = nodes_by_op(graph)

    def offers(entry: VendorPatterns, group: Sequence[int]) -> tuple[Iterable[int], Attempt]:
        index = PatternIndex(graph, [entry.patterns[k] for k in group], by_op)

        def attempt(node: int) -> None:
            for pattern, compiled in index(node):
                if compiled.match(state, node) and _take(
                    graph, entry.vendor, pattern, compiled, state, matches
                ):
                    return

        return index.nodes, attempt

    first_come_first_served(matches.owner, vendors, offers)
    return matches


Attempt = Callable[[int], None]
"""Try to take a match that ends at this op; what is taken shows in the table of taken ops."""

Offers = Callable[[VendorPatterns, Sequence[int]], tuple[Iterable[int], Attempt]]
"""(vendor, patterns of one priority) → the ops at which one of them may end, and how to try."""


def first_come_first_served(
    taken: Sequence[int], vendors: Iterable[VendorPatterns], offers: Offers
) -> None:
    """Give out the ops of a function in the order of the strategy "order".

    This loop is that strategy. `match_graph` runs it while it asks the patterns, and
    `Candidates.greedy` over the matches that were found before.

    Args:
        taken: op → 0 or more once it is taken; changed by the attempts.
        vendors: in the order they come.
        offers: where the patterns of one priority may end, from the last op to the first, and
            how to try one op.
    """
    for entry in vendors:
        for group in entry.classes:
            nodes, attempt = offers(entry, group)
            for node in nodes:
                if taken[node] < 0:
                    attempt(node)


class PatternIndex:
    """Which patterns can fit where, looked up by the op and the ops before it.

    Attributes:
        nodes: ops at which any pattern can end, from the last to the first.
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
        """The patterns whose last op can be this one, in the order they are tried."""
        graph = self._graph
        ops, producer = graph.ops.kind, graph.values.producer
        before = [producer[a] for a in graph.ops.args[node] if type(a) is int]
        key = (ops[node], *[ops[p] if p >= 0 else "" for p in before])
        found = self._known.get(key)
        if found is None:
            around = frozenset(key[1:])
            found = self._known[key] = [
                p for p in self._rooted[key[0]] if not any(n.isdisjoint(around) for n in p[1].needs)
            ]
        return found


def nodes_by_op(graph: OpGraph) -> dict[str, list[int]]:
    """Kind of op → the nodes of that kind that a vendor may take, in order."""
    found: dict[str, list[int]] = {}
    for node, opaque in enumerate(graph.ops.opaque):
        if not opaque:
            found.setdefault(graph.ops.kind[node], []).append(node)
    return found


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
    """Say why a match that fits is refused all the same.

    The rules that no pattern can express come first (an inner value is used outside, a rank is
    unknown), then the pattern's own `check`.

    Args:
        graph: snapshot of the function.
        vendor: whose pattern it is.
        pattern: the pattern that fits.
        nodes: the matched ops, topological.
        parts: named parts → values.

    Returns:
        The reason, or None when the match stands.

    Raises:
        VendorError: the `check` raises, or returns what it must not.
    """
    reason = _leak(graph, nodes) or _untyped(graph, nodes)
    if reason is None:
        reason = _ask(graph, vendor, pattern, nodes, parts)
    return reason


def _ask(
    graph: OpGraph, vendor: Vendor, pattern: Pattern, nodes: Sequence[int], parts: Mapping[str, int]
) -> str | None:
    """The vendor's own verdict."""
    match = GraphMatch(graph, pattern.name, nodes, parts, vendor.name)
    where = f"on {graph.ops.kind[nodes[-1]]} ({graph.ops.names[nodes[-1]]} in {graph.name})"
    return ask_check(vendor.name, pattern, match, where)


def ask_check(vendor: str, pattern: Pattern, match: Match, where: str = "") -> str | None:
    """Ask a pattern's `check` about a match.

    Args:
        vendor: name of the vendor, for messages.
        pattern: the pattern that fits.
        match: where it fits.
        where: the same in words ("on add (/down/Add in main)"), for messages.

    Returns:
        The reason for a refusal, or None when the match is taken.

    Raises:
        VendorError: the `check` raises, or returns what it must not.
    """
    who = f"vendor author: check of pattern {pattern.name!r} of {vendor!r}"
    where = f" {where}" if where else ""
    try:
        verdict: Any = pattern.check(match)
    except VendorError as error:  # what Reject says of its reason
        raise VendorError(f"{who} failed{where}: {error}") from error
    except Exception as error:
        raise VendorError(
            f"{who} raised {type(error).__name__}{where}: {error}; return Reject(reason) to refuse"
        ) from error
    if verdict is None:
        return None
    if isinstance(verdict, Reject):
        return verdict.reason
    raise VendorError(f"{who} returned {verdict!r}{where}; expected None or Reject(reason)")


def _leak(graph: OpGraph, nodes: Sequence[int]) -> str | None:
    """Why the match cannot be one unit: an inner value is used outside."""
    if len(nodes) == 1:
        return None
    inside = set(nodes)
    users = graph.values.users
    for node in nodes[:-1]:
        for value in graph.ops.outs[node]:
            for user in users[value]:
                if user not in inside:
                    by = "as a result" if user == ESCAPE else f"by {graph.named(user)}"
                    return f"{graph.named(node)} is also used outside the pattern, {by}"
    return None


def _untyped(graph: OpGraph, nodes: Sequence[int]) -> str | None:
    """Why the match cannot be compiled ahead: a value is no tensor of known rank."""
    for node in nodes:
        for value in graph.ops.ins[node]:
            if graph.values.types[value] is None:
                return f"an argument of {graph.named(node)} is no tensor of known rank"
        for value in graph.ops.outs[node]:
            if graph.values.types[value] is None:
                return f"the rank of the result of {graph.named(node)} is unknown"
    return None
