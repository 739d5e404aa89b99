"""Pass 6: the records of one function: where each op went, what each vendor says, what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from byoc.partition.context import Scene
from byoc.partition.matching.explain import Explainer
from byoc.partition.matching.match import Matches
from byoc.partition.outlining.outline import Outlined
from byoc.partition.placing.makespan import elapsed
from byoc.partition.placing.tasks import make_tasks
from byoc.partition.snapshot.bindings import ESCAPE
from byoc.report.records import (
    HOST,
    BorderRecord,
    OpRecord,
    Refusal,
    SegmentRecord,
    Verdict,
)
from byoc.segment import Segment
from byoc.support import text

__all__ = ["Recorder"]

_TAKEN = "taken"


class _Decided(NamedTuple):
    """Where an op is: place, segment, pattern, and the seconds that are its part."""

    place: str
    segment: str | None
    pattern: str | None
    cost: float


class Recorder:
    """Makes the records of one function."""

    def __init__(self, scene: Scene, matches: Matches, outlined: Sequence[Outlined]) -> None:
        self.scene = scene
        self.graph = scene.graph
        self.vendors = scene.names
        self.matches = matches
        self.outlined = outlined
        self.prices = scene.prices
        self.work = scene.work
        self.candidates = scene.candidates if scene.competing else None
        self.order = not scene.want.strategy.costed
        self.first = scene.first
        self.explain = Explainer(scene.graph, scene.vendors, matches)
        self.unit: dict[int, int] = {}
        for k, one in enumerate(outlined):
            self.unit.update(dict.fromkeys(one.nodes, k))
        self.decided = [self._decide(node) for node in range(len(scene.graph))]
        self._texts: dict[tuple[str, float, float], str] = {}
        self._taken: dict[tuple[str, str | None, float], Verdict] = {}

    # -- where things are --------------------------------------------------------------------------

    def _decide(self, node: int) -> _Decided:
        at = self.unit.get(node)
        if at is None:
            fed = self.prices.fused_with(node)
            fused = fed >= 0 and fed not in self.unit
            return _Decided(HOST, None, None, self.prices.host(node, fused))
        composite = self.matches.composites[self.matches.owner[node]]
        cost = self.prices.composite(composite)
        if len(composite.nodes) > 1:
            cost *= self.prices.share(composite, node)
        return _Decided(composite.vendor, self.outlined[at].name, composite.pattern, cost)

    # -- ops ---------------------------------------------------------------------------------------

    def ops(self) -> list[OpRecord]:
        """One record per op."""
        graph, work, first = self.graph, self.work, self.first
        producer = graph.producer
        found = []
        for node, op in enumerate(graph.op):
            at, cost = self.decided[node], work[node]
            verdicts, refusals = self._verdicts(node, at)
            before = {producer[v]: None for v in graph.ins[node]}
            before.pop(-1, None)
            found.append(
                OpRecord(
                    first + node,
                    graph.name,
                    op,
                    graph.names[node],
                    at.place,
                    at.segment,
                    at.pattern,
                    cost.flops,
                    cost.bytes,
                    cost.text,
                    refusals,
                    verdicts,
                    at.cost,
                    tuple([first + n for n in before]),
                )
            )
        return found

    def _verdicts(self, node: int, at: _Decided) -> tuple[tuple[Verdict, ...], tuple[Refusal, ...]]:
        """What each vendor says of an op; the refusals when the host has it."""
        if self.graph.opaque[node]:
            return (), ()
        if len(self.vendors) == 1 and at.place != HOST:
            return (self._mine(at),), ()
        offers = self._offers(node)
        said: list[Verdict] = []
        explained: Mapping[str, Refusal] | None = None
        for vendor in self.vendors:
            if vendor == at.place:
                said.append(self._mine(at))
                continue
            offer = offers.get(vendor)
            if offer is not None:
                said.append(self._lost(vendor, *offer, at))
                continue
            if explained is None:
                explained = {r.vendor: r for r in self.explain(node)}
            refusal = explained[vendor]
            said.append(Verdict(vendor, "refused", refusal.pattern, refusal.reason))
        if at.place != HOST:
            return tuple(said), ()
        return tuple(said), tuple([Refusal(v.vendor, v.pattern, v.reason) for v in said])

    def _mine(self, at: _Decided) -> Verdict:
        key = (at.place, at.pattern, at.cost)
        found = self._taken.get(key)
        if found is None:
            found = self._taken[key] = Verdict(at.place, _TAKEN, at.pattern or "", "", at.cost)
        return found

    def _offers(self, node: int) -> dict[str, tuple[int, float]]:
        """Vendor → its cheapest candidate over a node, by share, and that candidate's seconds."""
        if self.candidates is None:
            return {}
        best: dict[str, tuple[int, float]] = {}
        share: dict[str, float] = {}
        priced = self._priced
        for index in self.candidates.covering[node]:
            vendor, seconds, part = priced[index]
            if vendor not in share or part < share[vendor]:
                share[vendor] = part
                best[vendor] = (index, seconds)
        return best

    @cached_property
    def _priced(self) -> list[tuple[str, float, float]]:
        """Per candidate: vendor, seconds, seconds per op."""
        assert self.candidates is not None
        found = []
        for composite in self.candidates.found:
            seconds = self.prices.composite(composite)
            found.append((composite.vendor, seconds, seconds / len(composite.nodes)))
        return found

    def _lost(self, vendor: str, index: int, seconds: float, at: _Decided) -> Verdict:
        """A vendor that would have taken the op."""
        assert self.candidates is not None
        composite = self.candidates.found[index]
        wishes = self.scene.want.wishes
        reason = None
        if wishes is not None:
            reason = wishes.forbids(self.graph, self.candidates, index)
        if reason is None and self.order:
            reason = self._by_order(composite.nodes, vendor, at)
        if reason is None:
            here = sum([self.decided[n].cost for n in composite.nodes])
            reason = self._compared(at.place, here, seconds)
        return Verdict(vendor, "offered", composite.pattern, reason, seconds)

    def _by_order(self, nodes: Sequence[int], vendor: str, at: _Decided) -> str:
        for refusal, _ in reversed(self.matches.refusals.get(nodes[-1], [])):
            if refusal.vendor == vendor and at.place == HOST:
                return refusal.reason
        if at.place != HOST:
            return f"{at.place} comes first"
        return "an op it needs was placed elsewhere"

    def _compared(self, place: str, here: float, there: float) -> str:
        key = (place, here, there)
        found = self._texts.get(key)
        if found is None:
            ours, theirs = text.seconds(here), text.seconds(there)
            if there > here:
                found = f"{place} gains {text.seconds(there - here)}: {ours} against {theirs}"
            elif there == here:
                found = f"no faster than {place}: {theirs}"
            else:
                found = (
                    f"{theirs} against {ours} on {place}, but launch and borders would cost more "
                    f"than the {text.seconds(here - there)} it gains"
                )
            self._texts[key] = found
        return found

    # -- segments and borders ----------------------------------------------------------------------

    def segment(self, at: int, segment: Segment, parts: int) -> SegmentRecord:
        """The record of an outlined segment; parts: its composites."""
        one, prices, work = self.outlined[at], self.prices, self.work
        predicted = prices.segment(one.vendor, one.nodes)
        if predicted is None:
            predicted = prices.launch(one.vendor) + sum([self.decided[n].cost for n in one.nodes])
        inside = set(one.nodes)
        on_host = sum([prices.host(n, prices.fused_with(n) in inside) for n in one.nodes])
        return SegmentRecord(
            name=one.name,
            vendor=one.vendor,
            function=self.graph.name,
            ops=len(one.nodes),
            composites=parts,
            flops=_total([work[n].flops for n in one.nodes]),
            weight_bytes=sum([a.nbytes for a in segment.constants.values()]),
            input_bytes=_total([work.size(v) for v in one.inputs]),
            output_bytes=_total([work.size(v) for v in one.outputs]),
            inputs=len(segment.inputs),
            outputs=len(segment.outputs),
            processor=prices.processor(one.vendor),
            predicted=predicted,
            on_host=on_host,
        )

    def borders(self) -> list[BorderRecord]:
        """What crosses, from place to place; a value counts once per place it goes to."""
        graph, prices, unit = self.graph, self.prices, self.unit
        crossing: dict[tuple[str, str], list[int]] = {}
        for one in self.outlined:
            for value in one.inputs:
                before = graph.producer[value]
                if before not in unit:
                    source = "input" if before < 0 else HOST
                    crossing.setdefault((source, one.name), []).append(value)
            for value in one.outputs:
                targets: dict[str, None] = {}
                for user in graph.users[value]:
                    if user in unit:
                        targets[self.outlined[unit[user]].name] = None
                    else:
                        targets["output" if user == ESCAPE else HOST] = None
                targets.pop(one.name, None)
                if HOST in targets:  # results are on the host: it is there already
                    targets.pop("output", None)
                for target in targets:
                    crossing.setdefault((one.name, target), []).append(value)
        vendor = {one.name: one.vendor for one in self.outlined}
        return [
            BorderRecord(
                function=graph.name,
                source=source,
                target=target,
                tensors=len(values),
                bytes=_total([self.work.size(v) for v in values]),
                predicted=sum(
                    [
                        prices.border(
                            vendor.get(source, HOST), vendor.get(target, HOST), prices.size(v)
                        )
                        for v in values
                    ]
                ),
            )
            for (source, target), values in crossing.items()
        ]

    def predicted(self, records: Sequence[SegmentRecord], borders: Sequence[BorderRecord]) -> float:
        """Seconds of one run of the function, whose records these are."""
        graph, prices = self.graph, self.prices
        if len({prices.processor(place) for place in (HOST, *self.vendors)}) == 1:
            parts = [at.cost for at in self.decided if at.segment is None]
            parts += [record.predicted or 0.0 for record in records]
            parts += [border.predicted or 0.0 for border in borders]
            return sum(parts)
        owner, composites = self.matches.owner, self.matches.composites
        total = 0.0
        for index, scope in enumerate(graph.scopes):
            grouped = [
                (one.vendor, one.nodes)
                for one in self.outlined
                if graph.scope_of[one.nodes[0]] == index
            ]
            kept = dict.fromkeys([owner[n] for _, nodes in grouped for n in nodes])
            tasks = make_tasks(graph, scope.nodes, prices, grouped, [composites[k] for k in kept])
            total += elapsed(tasks)
        return total


def _total(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
