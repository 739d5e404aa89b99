"""Pass 6: the records of one function: where each op went, what each vendor says, what it costs.

In: a `PlacedFunction` and its outlined segments. Out: the records of a report (see
`byoc.report.records`). A record's *place* is a backend: a vendor's name, or "host".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from byoc.kit.foreign_op import FOREIGN, TORCH
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.explain import Explainer
from byoc.partition.outlining.outline import Outlined
from byoc.partition.placing.context import PlacedFunction
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
    """Where an op is: backend, segment, pattern, and the seconds that are its part."""

    backend: str
    segment: str | None
    pattern: str | None
    cost: float


class Recorder:
    """Makes the records of one placed function.

    Args:
        placed: the function, and who owns each op.
        outlined: its segments.
    """

    def __init__(self, placed: PlacedFunction, outlined: Sequence[Outlined]) -> None:
        context, matches = placed.context, placed.matches
        self.context = context
        self.graph = context.graph
        self.vendors = context.names
        self.matches = matches
        self.outlined = outlined
        self.cost_model = context.cost_model
        self.work = context.work
        self.candidates = context.candidates if context.competing else None
        self.order = not context.request.strategy.costed
        self.first = context.first
        self.explain = Explainer(context.graph, context.vendors, matches)
        self.unit: dict[int, int] = {}
        for k, one in enumerate(outlined):
            self.unit.update(dict.fromkeys(one.nodes, k))
        self.decided = [self._decide(node) for node in range(len(context.graph))]
        self._texts: dict[tuple[str, float, float], str] = {}
        self._taken: dict[tuple[str, str | None, float, str], Verdict] = {}

    # -- where things are --------------------------------------------------------------------------

    def _decide(self, node: int) -> _Decided:
        at = self.unit.get(node)
        if at is None:
            fed = self.cost_model.fused_with(node)
            fused = fed >= 0 and fed not in self.unit
            return _Decided(HOST, None, None, self.cost_model.host(node, fused))
        composite = self.matches.composites[self.matches.owner[node]]
        cost = self.cost_model.composite(composite)
        if len(composite.nodes) > 1:
            cost *= self.cost_model.share(composite, node)
        return _Decided(composite.vendor, self.outlined[at].name, composite.pattern, cost)

    # -- ops ---------------------------------------------------------------------------------------

    def ops(self) -> list[OpRecord]:
        """One record per op, in order."""
        graph, work, first = self.graph, self.work, self.first
        producer = graph.values.producer
        found = []
        for node, op in enumerate(graph.ops.kind):
            at, done = self.decided[node], work[node]
            verdicts, refusals = self._verdicts(node, at)
            before = {producer[v]: None for v in graph.ops.ins[node]}
            before.pop(-1, None)
            found.append(
                OpRecord(
                    index=first + node,
                    function=graph.name,
                    op=op,
                    name=graph.ops.names[node],
                    place=at.backend,
                    segment=at.segment,
                    pattern=at.pattern,
                    flops=done.flops,
                    bytes=done.bytes,
                    type=done.text,
                    refusals=refusals,
                    verdicts=verdicts,
                    cost=at.cost,
                    inputs=tuple([first + n for n in before]),
                )
            )
        return found

    def _verdicts(self, node: int, at: _Decided) -> tuple[tuple[Verdict, ...], tuple[Refusal, ...]]:
        """What each vendor says of an op; the refusals when the host has it."""
        if self.graph.ops.opaque[node]:
            return (), ()
        why = self._foreign(node)
        if len(self.vendors) == 1 and at.backend != HOST:
            return (self._mine(at, why),), ()
        offers = self._offers(node)
        said: list[Verdict] = []
        explained: Mapping[str, Refusal] | None = None
        for vendor in self.vendors:
            if vendor == at.backend:
                said.append(self._mine(at, why))
                continue
            offer = offers.get(vendor)
            if offer is not None:
                said.append(self._lost(vendor, *offer, at))
                continue
            if explained is None:
                explained = {r.vendor: r for r in self.explain(node)}
            refusal = explained[vendor]
            said.append(Verdict(vendor, "refused", refusal.pattern, refusal.reason))
        if at.backend != HOST:
            return tuple(said), ()
        return tuple(said), tuple([Refusal(v.vendor, v.pattern, v.reason) for v in said])

    def _foreign(self, node: int) -> str:
        """Of an op that was kept whole: what it holds, and why; empty for others."""
        if self.graph.ops.kind[node] not in FOREIGN:
            return ""
        attrs = self.graph.attrs(node)
        return f"{attrs['op']}; {attrs['reason']}"

    def kept_whole(self) -> list[tuple[str, str, str]]:
        """The operators of torch that vendors run: what they are, the op's name, its place."""
        return [
            (str(self.graph.attrs(node)["op"]), self.graph.ops.names[node], at.backend)
            for node, at in enumerate(self.decided)
            if self.graph.ops.kind[node] == TORCH and at.backend != HOST
        ]

    def _mine(self, at: _Decided, why: str) -> Verdict:
        key = (at.backend, at.pattern, at.cost, why)
        found = self._taken.get(key)
        if found is None:
            found = Verdict(at.backend, _TAKEN, at.pattern or "", why, at.cost)
            self._taken[key] = found
        return found

    def _offers(self, node: int) -> dict[str, tuple[int, float]]:
        """Vendor → its cheapest candidate over a node, by share, and that candidate's seconds."""
        if self.candidates is None:
            return {}
        best: dict[str, tuple[int, float]] = {}
        share: dict[str, float] = {}
        known = self._candidate_seconds
        for index in self.candidates.covering[node]:
            vendor, seconds, part = known[index]
            if vendor not in share or part < share[vendor]:
                share[vendor] = part
                best[vendor] = (index, seconds)
        return best

    @cached_property
    def _candidate_seconds(self) -> list[tuple[str, float, float]]:
        """Per candidate: vendor, seconds, seconds per op."""
        assert self.candidates is not None
        found = []
        for composite in self.candidates.found:
            seconds = self.cost_model.composite(composite)
            found.append((composite.vendor, seconds, seconds / len(composite.nodes)))
        return found

    def _lost(self, vendor: str, index: int, seconds: float, at: _Decided) -> Verdict:
        """A vendor that would have taken the op."""
        assert self.candidates is not None
        composite = self.candidates.found[index]
        constraints = self.context.request.constraints
        reason = None
        if constraints is not None:
            reason = constraints.forbids(self.graph, self.candidates, index)
        if reason is None and self.order:
            reason = self._by_order(composite.nodes, vendor, at)
        if reason is None:
            here = sum([self.decided[n].cost for n in composite.nodes])
            reason = self._compared(at.backend, here, seconds)
        return Verdict(vendor, "offered", composite.pattern, reason, seconds)

    def _by_order(self, nodes: Sequence[int], vendor: str, at: _Decided) -> str:
        for refusal, _ in reversed(self.matches.refusals.get(nodes[-1], [])):
            if refusal.vendor == vendor and at.backend == HOST:
                return refusal.reason
        if at.backend != HOST:
            return f"{at.backend} comes first"
        return "an op it needs was placed elsewhere"

    def _compared(self, backend: str, here: float, there: float) -> str:
        key = (backend, here, there)
        found = self._texts.get(key)
        if found is None:
            ours, theirs = text.seconds(here), text.seconds(there)
            if there > here:
                found = f"{backend} gains {text.seconds(there - here)}: {ours} against {theirs}"
            elif there == here:
                found = f"no faster than {backend}: {theirs}"
            else:
                found = (
                    f"{theirs} against {ours} on {backend}, but launch and borders would cost more "
                    f"than the {text.seconds(here - there)} it gains"
                )
            self._texts[key] = found
        return found

    # -- segments and borders ----------------------------------------------------------------------

    def segment(self, at: int, segment: Segment, parts: int) -> SegmentRecord:
        """The record of one segment.

        Args:
            at: its index among the outlined ones.
            segment: as the vendor receives it.
            parts: how many composites it has.
        """
        one, cost_model, work = self.outlined[at], self.cost_model, self.work
        predicted = cost_model.segment(one.vendor, one.nodes)
        if predicted is None:
            predicted = cost_model.launch(one.vendor) + sum(
                [self.decided[n].cost for n in one.nodes]
            )
        inside = set(one.nodes)
        on_host: float | None = None
        if not any(self.graph.ops.kind[n] in FOREIGN for n in one.nodes):  # the host could not
            on_host = sum(
                [cost_model.host(n, cost_model.fused_with(n) in inside) for n in one.nodes]
            )
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
            processor=cost_model.processor(one.vendor),
            predicted=predicted,
            on_host=on_host,
        )

    def borders(self) -> list[BorderRecord]:
        """What crosses from one backend to another; a value counts once per backend it goes to."""
        graph, cost_model, unit = self.graph, self.cost_model, self.unit
        crossing: dict[tuple[str, str], list[int]] = {}
        for one in self.outlined:
            for value in one.inputs:
                before = graph.values.producer[value]
                if before not in unit:
                    source = "input" if before < 0 else HOST
                    crossing.setdefault((source, one.name), []).append(value)
            for value in one.outputs:
                targets: dict[str, None] = {}
                for user in graph.values.users[value]:
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
                        cost_model.border(
                            vendor.get(source, HOST), vendor.get(target, HOST), cost_model.size(v)
                        )
                        for v in values
                    ]
                ),
            )
            for (source, target), values in crossing.items()
        ]

    def predicted(self, records: Sequence[SegmentRecord], borders: Sequence[BorderRecord]) -> float:
        """Predicted seconds of one run of the function.

        Args:
            records: of its segments.
            borders: its borders.
        """
        graph, cost_model = self.graph, self.cost_model
        if len({cost_model.processor(backend) for backend in (HOST, *self.vendors)}) == 1:
            parts = [at.cost for at in self.decided if at.segment is None]
            parts += [record.predicted or 0.0 for record in records]
            parts += [border.predicted or 0.0 for border in borders]
            return sum(parts)
        owner, composites = self.matches.owner, self.matches.composites
        total = 0.0
        for index, scope in enumerate(graph.scopes):
            grouped = [
                SegmentDraft(one.vendor, one.nodes)
                for one in self.outlined
                if graph.ops.scope[one.nodes[0]] == index
            ]
            kept = dict.fromkeys([owner[n] for _, nodes in grouped for n in nodes])
            tasks = make_tasks(
                graph, scope.nodes, cost_model, grouped, [composites[k] for k in kept]
            )
            total += elapsed(tasks)
        return total


def _total(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
