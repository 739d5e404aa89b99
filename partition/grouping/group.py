"""Pass 3: group. Neighbouring composites of one vendor become the largest convex segments.

A segment runs as one call, so no path may leave it and come back::

        a ── b          a, b, d of one vendor, h on the host. {a, b, d} is no segment: h needs
        │    │          a and d needs h. {a, b} and {d} are; or {a} and {b, d}.
        h ── d

*Items* are composites and single host ops; they form a DAG (a composite's inner values are not
used outside, so every path out of it starts at its last op, which comes after all others).

Step 1, levels. For vendor V, ``level(i) = max over p before i of level(p) + [p is V, i is not]``:
the level rises exactly where a path leaves V. Join V-items of one level along their edges.
  - Convex: a path from one to another that left V would arrive on a higher level; so it stays in
    V and on the level, edge by edge inside the group.
  - No cycle among groups: levels never fall along an edge, so a cycle lies on one level; it does
    not leave V there, so all its items are linked by edges of V on that level: one group.

Step 2, edges. Levels are as early as possible, so a side branch that only feeds a later group
ends up on an earlier level::

        a ── h ── d        level(a) = level(s) = 0, level(d) = 1: s can join d
             s ───┘

For each edge u → v between groups of V: when no other path leads from u to v, contracting the
edge keeps the graph acyclic. The search runs from both ends and gives up (does not merge) after
`SEARCH_LIMIT` steps, so the pass stays linear.

Step 3, siblings. Groups that read the same value, say the three projections of an attention,
become one when they are on one level of the contracted graph: the value is read once. Groups of
a level that an edge links are joined as well (a merge may have lifted one to the level of
another), so both points of step 1 hold as they stand.

Vendors take turns on the contracted graph, which is again a DAG.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from byoc.partition.matching.match import Matches
from byoc.partition.snapshot.graph import OpGraph
from byoc.partition.snapshot.topological import topological_order

__all__ = ["SEARCH_LIMIT", "SegmentDraft", "group_scope"]

SEARCH_LIMIT = 256
"""Edges looked at, per pair of groups, to prove that they may merge."""


class SegmentDraft(NamedTuple):
    """A segment before it has a name.

    Attributes:
        vendor: the vendor that will run it.
        nodes: its ops in topological order, all of one scope.
    """

    vendor: str
    nodes: tuple[int, ...]


class _Dag:
    """Items of one scope with their edges; contraction renumbers them topologically.

    label: vendor of an item, "" on the host. members: its nodes. order is topological.
    """

    def __init__(self, graph: OpGraph, nodes: Sequence[int], matches: Matches) -> None:
        owner, composites = matches.owner, matches.composites
        item_of: dict[int, int] = {}
        last: dict[int, int] = {}
        for node in nodes:
            if owner[node] >= 0:
                last[owner[node]] = node
        self.label: list[str] = []
        self.members: list[list[int]] = []
        # In order of last node: everything an item reads comes from items that ended before.
        for node in nodes:
            composite = owner[node]
            if composite < 0:
                members, label = [node], ""
            elif last[composite] == node:
                members, label = list(composites[composite].nodes), composites[composite].vendor
            else:
                continue
            for member in members:
                item_of[member] = len(self.label)
            self.label.append(label)
            self.members.append(members)
        self.preds: list[list[int]] = []
        for item, members in enumerate(self.members):
            found: dict[int, None] = {}
            for member in members:
                for pred in graph.preds(member):
                    before = item_of.get(pred, item)
                    if before != item:
                        found[before] = None
            self.preds.append(list(found))

    def __len__(self) -> int:
        return len(self.label)

    def succs(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.label]
        for item, preds in enumerate(self.preds):
            for pred in preds:
                found[pred].append(item)
        return found

    def contract(self, root: Sequence[int]) -> None:
        """Make one item of all items with the same root; renumber in topological order."""
        members: dict[int, list[int]] = {}
        edges: dict[int, dict[int, None]] = {}
        for item, at in enumerate(root):
            members.setdefault(at, []).extend(self.members[item])
            into = edges.setdefault(at, {})
            for pred in self.preds[item]:
                if root[pred] != at:
                    into[root[pred]] = None
        order = topological_order(edges)
        if len(order) != len(members):
            raise AssertionError(
                "grouping made a cycle; this is a bug in byoc.partition.grouping.group"
            )
        number = {at: k for k, at in enumerate(order)}
        self.label = [self.label[at] for at in order]
        self.members = [sorted(members[at]) for at in order]
        self.preds = [[number[p] for p in edges[at]] for at in order]


class _Union:
    """Disjoint sets of items."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, item: int) -> int:
        parent = self.parent
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    def join(self, one: int, other: int) -> None:
        self.parent[self.find(other)] = self.find(one)

    def roots(self) -> list[int]:
        return [self.find(item) for item in range(len(self.parent))]


def group_scope(
    graph: OpGraph, nodes: Sequence[int], matches: Matches, vendors: Sequence[str]
) -> list[SegmentDraft]:
    """Join neighbouring composites of each vendor into the largest convex segments.

    Args:
        graph: snapshot of the function.
        nodes: ops of the scope, in topological order.
        matches: who owns each op; not changed.
        vendors: names, in the order in which they take turns.

    Returns:
        The segments in topological order. No path leaves one and comes back.
    """
    dag = _Dag(graph, nodes, matches)
    for vendor in vendors:
        if vendor in dag.label:
            dag.contract(_by_level(dag, vendor, _levels(dag, vendor)).roots())
            joined = _by_edge(dag, vendor)
            if joined is not None:
                dag.contract(joined)
            joined = _by_input(graph, dag, vendor)
            if joined is not None:
                dag.contract(joined)
    return [
        SegmentDraft(label, tuple(members))
        for label, members in zip(dag.label, dag.members, strict=True)
        if label
    ]


def _levels(dag: _Dag, vendor: str) -> list[int]:
    """How often the longest path to each item left the vendor."""
    mine = [label == vendor for label in dag.label]
    level = [0] * len(dag)
    for item, preds in enumerate(dag.preds):
        here, at = mine[item], 0
        for pred in preds:
            before = level[pred] + (mine[pred] and not here)
            if before > at:
                at = before
        level[item] = at
    return level


def _by_level(dag: _Dag, vendor: str, level: Sequence[int]) -> _Union:
    """Step 1: join along edges within a level."""
    label, sets = dag.label, _Union(len(dag))
    for item, preds in enumerate(dag.preds):
        if label[item] == vendor:
            for pred in preds:
                if label[pred] == vendor and level[pred] == level[item]:
                    sets.join(pred, item)
    return sets


def _by_edge(dag: _Dag, vendor: str) -> list[int] | None:
    """Step 2: the root of every item after joining along edges; None when nothing joins."""
    succs = [set(s) for s in dag.succs()]
    preds = [set(p) for p in dag.preds]
    sets = _Union(len(dag))
    joined = False
    for item, label in enumerate(dag.label):
        if label != vendor:
            continue
        for pred in dag.preds[item]:
            if dag.label[pred] != vendor:
                continue
            one, other = sets.find(pred), sets.find(item)
            if one == other or not _only_edge(one, other, succs, preds):
                continue
            joined = True
            if len(succs[one]) + len(preds[one]) < len(succs[other]) + len(preds[other]):
                one, other = other, one  # the smaller goes into the larger: linear in total
            _absorb(one, other, succs, preds)
            sets.join(one, other)
    return sets.roots() if joined else None


def _by_input(graph: OpGraph, dag: _Dag, vendor: str) -> list[int] | None:
    """Step 3: the root of every item after joining readers of one value within a level; None
    when nothing joins.
    """
    groups = [item for item, label in enumerate(dag.label) if label == vendor]
    if len(groups) < 2:
        return None
    level, constants = _levels(dag, vendor), graph.values.constants
    sets = _by_level(dag, vendor, level)
    readers: dict[tuple[int, int], int] = {}
    joined = False
    for item in groups:
        made = {value for node in dag.members[item] for value in graph.ops.outs[node]}
        for node in dag.members[item]:
            for value in graph.ops.ins[node]:
                if value not in made and value not in constants:
                    first = readers.setdefault((value, level[item]), item)
                    if first != item:
                        sets.join(first, item)
                        joined = True
    return sets.roots() if joined else None


def _only_edge(u: int, v: int, succs: Sequence[set[int]], preds: Sequence[set[int]]) -> bool:
    """True when the edge u → v is proved to be the only path from u to v."""
    steps = len(succs[u]) + len(preds[v])
    if len(succs[u]) == 1 or len(preds[v]) == 1:
        return True
    if steps > SEARCH_LIMIT:
        return False
    ahead, behind = [s for s in succs[u] if s != v], [p for p in preds[v] if p != u]
    seen_ahead, seen_behind = set(ahead), set(behind)
    if not seen_ahead.isdisjoint(seen_behind):
        return False
    # Whichever side runs dry first without meeting the other has seen every path.
    while ahead and behind:
        if steps > SEARCH_LIMIT:
            return False
        forward = len(ahead) <= len(behind)
        front, seen, other = (
            (ahead, seen_ahead, seen_behind) if forward else (behind, seen_behind, seen_ahead)
        )
        edges = succs if forward else preds
        for near in edges[front.pop()]:
            steps += 1
            if near in other:
                return False
            if near not in seen:
                seen.add(near)
                front.append(near)
    return True


def _absorb(one: int, other: int, succs: Sequence[set[int]], preds: Sequence[set[int]]) -> None:
    """Contract `other` into `one`, keeping both edge tables in step."""
    for forward, backward in ((succs, preds), (preds, succs)):
        for near in forward[other]:
            backward[near].discard(other)
            if near != one:
                backward[near].add(one)
                forward[one].add(near)
        forward[other].clear()
        forward[one].discard(other)
        forward[one].discard(one)
