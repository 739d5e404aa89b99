"""Why two neighbouring segments of one vendor are two: the path that forbids joining them.

    v_0 ── relu (a) ──▶ add (b)      a, b of one vendor, e on the host: joined, a and b would wait
                 └─▶ exp (e) ─┘      for e and e for them. The path a → e → b is the reason.

Looked at after placement, on the graph whose items are segments and host ops. Neighbours of a
segment B are, per vendor: those it reads from; the nearest behind each of its other inputs (one
label per item, set in topological order: distance and where it came from); and those that read a
value which B reads as well. Paths may run through segments of other vendors, and there from one
op to another that does not depend on it: a segment runs as one call.

One pass over the edges per vendor, plus searches that share one budget: near-linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from byoc.partition.grouping.group import SEARCH_LIMIT
from byoc.partition.snapshot.graph import OpGraph
from byoc.partition.snapshot.topological import topological_order
from byoc.report.records import HOST, SplitRecord

__all__ = ["NamedSegment", "find_splits"]

_SHOWN = 12
"""Steps of a path that are kept; of a longer one the first and the last."""

_BUDGET = 4096
"""Edges looked at for one pair, to find a path or to prove that there is none."""

PathStep = tuple[str, str, str]
"""(kind of op, its name, where it is: a segment's name or "host"): a step of `SplitRecord.path`."""


class NamedSegment(NamedTuple):
    """A segment that has its name: nodes are its ops, in topological order."""

    name: str
    vendor: str
    nodes: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Label:
    """The nearest segment of the vendor behind an item.

    distance: items from it, this one included. origin: the segment. first: the item after it.
    before: the item this label came from.
    """

    distance: int
    origin: int
    first: int
    before: int


def find_splits(graph: OpGraph, segments: Sequence[NamedSegment]) -> tuple[SplitRecord, ...]:
    """Explain for each pair of neighbouring segments of one vendor why they are two.

    Args:
        graph: snapshot of the function.
        segments: all segments of the function.

    Returns:
        One record per pair, with the path that forbids joining them or another reason.
    """
    by_scope: dict[int, list[NamedSegment]] = {}
    for segment in segments:
        by_scope.setdefault(graph.ops.scope[segment.nodes[0]], []).append(segment)
    found: list[SplitRecord] = []
    for scope, inside in by_scope.items():
        if len(inside) > 1:
            found += _Splits(graph, graph.scopes[scope].nodes, inside).result()
    return tuple(found)


class _Splits:
    """One scope. Items are numbered topologically."""

    def __init__(
        self, graph: OpGraph, nodes: Sequence[int], segments: Sequence[NamedSegment]
    ) -> None:
        self.graph = graph
        self.names = [name for name, _, _ in segments]
        self.vendors = [vendor for _, vendor, _ in segments]
        unit: dict[int, int] = {}
        for k, (_, _, members) in enumerate(segments):
            unit.update(dict.fromkeys(members, k))
        for node in nodes:
            unit.setdefault(node, len(segments) + node)
        edges: dict[int, dict[int, tuple[int, int]]] = {unit[node]: {} for node in nodes}
        for node in nodes:
            here = edges[unit[node]]
            for before in graph.preds(node):
                at = unit.get(before)
                if at is not None and at != unit[node]:
                    here.setdefault(at, (before, node))
        order = topological_order(edges)
        number = {at: k for k, at in enumerate(order)}
        self.segment = [at if at < len(segments) else -1 for at in order]
        self.preds = [{number[p]: edge for p, edge in edges[at].items()} for at in order]
        self.members: list[Sequence[int]] = [
            segments[at].nodes if at < len(segments) else () for at in order
        ]
        self.unit = {node: number[at] for node, at in unit.items()}
        self.budget = _BUDGET + 16 * len(nodes)

    def result(self) -> list[SplitRecord]:
        found: dict[tuple[int, int], SplitRecord] = {}
        for vendor in dict.fromkeys(self.vendors):
            if self.vendors.count(vendor) > 1:
                self._vendor(vendor, found)
        return [found[pair] for pair in sorted(found)]

    def _vendor(self, vendor: str, found: dict[tuple[int, int], SplitRecord]) -> None:
        mine = [k >= 0 and self.vendors[k] == vendor for k in self.segment]
        labels = self._labels(mine)
        for item, ours in enumerate(mine):
            if not ours:
                continue
            best: dict[int, _Label] = {}
            for before in self.preds[item]:
                label = labels[before]
                if not mine[before] and label is not None:
                    known = best.get(label.origin)
                    if known is None or label.distance < known.distance:
                        best[label.origin] = _Label(
                            label.distance, label.origin, label.first, before
                        )
            for origin, label in best.items():
                found[origin, item] = self._path(origin, item, self._walk(label, labels), label)
            for before in self.preds[item]:
                if mine[before] and (before, item) not in found:
                    found[before, item] = self._touching(before, item)
        self._siblings(mine, found)

    def _labels(self, mine: Sequence[bool]) -> list[_Label | None]:
        labels: list[_Label | None] = [None] * len(mine)
        for item, preds in enumerate(self.preds):
            if mine[item]:
                continue
            best: _Label | None = None
            for before in preds:
                behind = labels[before]
                if mine[before]:
                    label = _Label(1, before, item, before)
                elif behind is not None:
                    label = _Label(behind.distance + 1, behind.origin, behind.first, before)
                else:
                    continue
                # The nearest; of equally near ones the latest.
                if best is None or (label.distance, -label.origin) < (best.distance, -best.origin):
                    best = label
            labels[item] = best
        return labels

    def _walk(self, label: _Label, labels: Sequence[_Label | None]) -> list[int]:
        """Items between the two segments, in order; only the ends of a long path, with a gap
        marked by -1.
        """
        items: list[int] = []
        at = label.before
        while at != label.origin and len(items) < _SHOWN:
            items.append(at)
            behind = labels[at]
            assert behind is not None
            at = behind.before
        if at != label.origin:
            items = [*items[: _SHOWN - 2], -1, label.first]
        return items[::-1]

    # -- sentences ---------------------------------------------------------------------------------

    def _path(
        self, first: int, second: int, items: Sequence[int], label: _Label | None = None
    ) -> SplitRecord:
        steps: list[PathStep] = []
        whole = [first, *items, second]
        length = label.distance if label else len(items)
        for k, item in enumerate(whole):
            if item == -1:
                steps.append(("…", f"{length - _SHOWN + 1} more", ""))
                continue
            into = self.preds[item].get(whole[k - 1]) if k else None
            out = self.preds[whole[k + 1]].get(item) if k + 1 < len(whole) else None
            ends = [into[1] if into else None, out[0] if out else None]
            for node in dict.fromkeys(n for n in ends if n is not None):
                steps.append(self._step(node, item))
        one, other = self._name(first), self._name(second)
        shown = " → ".join(_shown(step) for step in steps)
        text = f"{one} and {other} cannot be one segment: a path leaves and comes back, {shown}"
        return SplitRecord(one, other, tuple(steps), text)

    def _step(self, node: int, item: int) -> PathStep:
        k = self.segment[item]
        home = self.names[k] if k >= 0 else HOST
        return self.graph.ops.kind[node], self.graph.ops.names[node], home

    def _name(self, item: int) -> str:
        return self.names[self.segment[item]]

    def _touching(self, first: int, second: int) -> SplitRecord:
        """The split of two segments with an edge between them and no labelled path beside it."""
        items, looked, ended = self._search(first, second)
        if items:
            return self._path(first, second, items)
        one, other = self._name(first), self._name(second)
        before, after = self.preds[second][first]
        steps = (self._step(before, first), self._step(after, second))
        if not ended or looked > SEARCH_LIMIT:
            text = (
                f"{one} feeds {other}, and whether a path forbids joining them is not known: the "
                f"search for one ends after {SEARCH_LIMIT} edges"
            )
            return SplitRecord(one, other, steps, text, "limit")
        text = (
            f"{one} feeds {other}, and nothing forbids joining them: the placement kept them apart"
        )
        return SplitRecord(one, other, steps, text, "choice")

    def _siblings(self, mine: Sequence[bool], found: dict[tuple[int, int], SplitRecord]) -> None:
        """Readers of one value that no path links."""
        graph = self.graph
        readers: dict[int, list[int]] = {}
        for item, ours in enumerate(mine):
            if ours:
                values = {v: None for node in self.members[item] for v in graph.ops.ins[node]}
                for value in values:
                    maker = self.unit.get(graph.values.producer[value])
                    if value not in graph.values.constants and maker != item:
                        readers.setdefault(value, []).append(item)
        for value, items in readers.items():
            for one, other in pairwise(items):
                if (one, other) in found:
                    continue
                path, _, ended = self._search(one, other)
                if path or not ended or one in self.preds[other]:
                    continue
                first, second = self._name(one), self._name(other)
                text = (
                    f"{first} and {second} both read {self._value(value)}, and no path forbids "
                    f"joining them; but they are on different depths, and readers of one value "
                    f"are joined on one depth only"
                )
                found[one, other] = SplitRecord(first, second, (), text, "depth")

    def _value(self, value: int) -> str:
        node = self.graph.values.producer[value]
        if node >= 0:
            return f"{self.graph.named(node)}"
        return str(getattr(self.graph.values.typed_by[value], "name", "one input"))

    def _search(self, first: int, second: int) -> tuple[list[int], int, bool]:
        """Items of a path from `first` to `second` beside their edge: (path, edges looked at,
        whether the search ended by itself).
        """
        came: dict[int, int] = {}
        front = [p for p in self.preds[second] if p > first]
        came.update(dict.fromkeys(front, second))
        looked = len(self.preds[second])
        for item in front:  # breadth first: the shortest path
            for before in self.preds[item]:
                looked += 1
                if before == first:
                    path = [item]
                    while came[path[-1]] != second:
                        path.append(came[path[-1]])
                    self.budget -= looked
                    return path, looked, True
                if before > first and before not in came:
                    came[before] = item
                    front.append(before)
            if looked > _BUDGET or looked > self.budget:
                self.budget -= looked
                return [], looked, False
        self.budget -= looked
        return [], looked, True


def _shown(step: PathStep) -> str:
    op, name, home = step
    return f"{op} {name}" if not home else f"{op} ({name}, {home})"
