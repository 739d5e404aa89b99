"""Counterfactuals: what would change if a vendor took ops that the host has now?

    v_0 ── exp ── v_1 ── exp ── v_2        "if exp were supported by v: 3 segments → 1"

A trial takes every host op of some kinds for the vendor, each alone, at the vendor's rates, groups
and prunes again, and compares predicted times; all else stays where it is, so the gain is what
support alone brings. Kinds to try: what stands on the paths between the vendor's segments, all of
a path together (one of two is no use), and each kind that the vendor refused. The most promising
go first, and only so many are tried: a trial is one pass over the ops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from byoc.partition.grouping.form import form_segments
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.match import MatchedComposite, Matches
from byoc.partition.placing.context import FunctionContext, PlacedFunction
from byoc.partition.placing.makespan import elapsed
from byoc.partition.placing.tasks import make_tasks
from byoc.partition.result import PartitionResult
from byoc.partition.snapshot.bindings import ESCAPE
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.partition_report import PartitionReport
from byoc.report.records import HOST, Counterfactual
from byoc.support.text import change

__all__ = ["TRIALS", "what_if"]

TRIALS = 12
"""How many suppositions are tried."""

_TOGETHER = 3
"""Kinds of op that are supposed at once, at most."""

_PATTERN = "what if"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Segments, seconds and border bytes of a scope or the model; count: ops supposed."""

    segments: int = 0
    seconds: float = 0.0
    border: int = 0
    count: int = 0

    def __add__(self, other: _Outcome) -> _Outcome:
        return _Outcome(
            self.segments + other.segments,
            self.seconds + other.seconds,
            self.border + other.border,
            self.count + other.count,
        )


def what_if(result: PartitionResult, *, trials: int = TRIALS) -> PartitionReport:
    """Work out what would change if vendors took ops that the host has now.

    Examples:
        >>> report = what_if(partition_module(mod, [vendor]))
        >>> [counterfactual.text for counterfactual in report.counterfactuals]  # all is offloaded
        []

    Args:
        result: of `partition_module`.
        trials: how many suppositions to work out, at most.

    Returns:
        The report of `result` with its counterfactuals, the largest gain first; those that change
        nothing are left out.
    """
    report = result.report
    tables = [_Scopes(placed) for placed in result.placed]
    before = _sum([outcome for scopes in tables for outcome in scopes.now])
    found = []
    for vendor, kinds in _suppositions(report)[:trials]:
        after = _sum([scopes.outcome(vendor, kinds) for scopes in tables])
        gain = before.seconds - after.seconds
        if after.count and (gain > 0 or after.segments < before.segments):
            found.append(_counterfactual(report, vendor, kinds, before, after))
    found.sort(key=lambda c: (-(c.gain or 0.0), c.segments_after, c.vendor, c.op))
    return replace(report, counterfactuals=tuple(found))


def _counterfactual(
    report: PartitionReport,
    vendor: str,
    kinds: tuple[str, ...],
    before: _Outcome,
    after: _Outcome,
) -> Counterfactual:
    gain = before.seconds - after.seconds
    were = " and ".join([", ".join(kinds[:-1]), kinds[-1]]) if len(kinds) > 1 else kinds[0]
    changed = (
        f"{before.segments} segment{'s' * (before.segments != 1)} → {after.segments}"
        if before.segments != after.segments
        else f"still {before.segments} segment{'s' * (before.segments != 1)}"
    )
    text = (
        f"{_condition(report, vendor, kinds, were)}: {changed}, est. {change(-gain)} "
        f"({after.count} op{'s' * (after.count != 1)})"
    )
    return Counterfactual(
        vendor=vendor,
        op=", ".join(kinds),
        count=after.count,
        segments=before.segments,
        segments_after=after.segments,
        gain=gain,
        text=text,
        border_bytes=before.border,
        border_bytes_after=after.border,
    )


def _condition(report: PartitionReport, vendor: str, kinds: tuple[str, ...], were: str) -> str:
    """What would have to change, by what keeps these ops on the host now."""
    told = [
        verdict
        for op in report.host_ops
        if op.op in kinds
        for verdict in op.verdicts
        if verdict.vendor == vendor
    ]
    if told and all(verdict.reason.startswith("policy: ") for verdict in told):
        return f"if the policy let {were} go to {vendor}"
    if told and all(verdict.kind == "offered" for verdict in told):
        return f"if {were} were on {vendor}, which would take {'it' if len(kinds) == 1 else 'them'}"
    return f"if {were} were supported by {vendor}"


def _suppositions(report: PartitionReport) -> list[tuple[str, tuple[str, ...]]]:
    """(vendor, kinds of op), the most promising first: by splits that go away, then by the
    seconds (or else the number) of host ops.
    """
    vendor_of = {segment.name: segment.vendor for segment in report.segments}
    resolved: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for split in report.splits:
        between = [step for step in split.path[1:-1] if step[2] not in (split.first, split.second)]
        kinds = tuple(sorted({op for op, _, _ in between}))
        if (
            between
            and len(kinds) <= _TOGETHER
            and all(backend == HOST for _, _, backend in between)
        ):
            resolved[vendor_of[split.first], kinds] += 1
    weight: dict[tuple[str, tuple[str, ...]], float] = {}
    kind_weight: dict[str, float] = {}
    for op in report.host_ops:
        part = 1e-12 + (op.cost or 0.0)
        kind_weight[op.op] = kind_weight.get(op.op, 0.0) + part
        for vendor in report.vendors:
            told = next((v for v in op.verdicts if v.vendor == vendor), None)
            if told.kind == "refused" if told else any(r.vendor == vendor for r in op.refusals):
                key = (vendor, (op.op,))
                weight[key] = weight.get(key, 0.0) + part
    for vendor, kinds in resolved:
        weight.setdefault((vendor, kinds), sum(kind_weight.get(kind, 0.0) for kind in kinds))
    return sorted(weight, key=lambda key: (-resolved[key], -weight[key], key))


class _Scopes:
    """One function, and what its scopes cost now."""

    def __init__(self, placed: PlacedFunction) -> None:
        self.context, self.matches = placed.context, placed.matches
        self.limits = placed.context.request.limits
        graph = placed.context.graph
        self.kinds: dict[str, list[int]] = {}
        for node, owner in enumerate(self.matches.owner):
            typed = not graph.ops.opaque[node] and all(
                graph.values.types[v] is not None
                for v in (*graph.ops.ins[node], *graph.ops.outs[node])
            )
            if owner < 0 and typed:
                self.kinds.setdefault(graph.ops.kind[node], []).append(node)
        self.now = [self._scope(k, _copy(self.matches), {}) for k in range(len(graph.scopes))]

    def outcome(self, vendor: str, kinds: Sequence[str]) -> _Outcome:
        """The function with every host op of these kinds on `vendor`."""
        graph = self.context.graph
        nodes = sorted(node for kind in kinds for node in self.kinds.get(kind, ()))
        touched = {graph.ops.scope[node] for node in nodes}
        trial, supposed = self._suppose(vendor, nodes)
        return _sum(
            [
                self._scope(k, trial, supposed) if k in touched else known
                for k, known in enumerate(self.now)
            ]
        )

    def _suppose(self, vendor: str, nodes: Sequence[int]) -> tuple[Matches, dict[int, float]]:
        """The matches of a trial, and the seconds of the ops that it supposes."""
        trial = Matches(len(self.context.graph))
        trial.composites = list(self.matches.composites)
        trial.owner = list(self.matches.owner)
        supposed = {}
        for node in nodes:
            trial.take(MatchedComposite(vendor, _PATTERN, (node,), {}))
            supposed[node] = self._seconds(vendor, node)
        # What was too small alone may be large enough beside them.
        for index, composite in enumerate(self.matches.composites):
            if composite.vendor == vendor and all(trial.owner[n] < 0 for n in composite.nodes):
                for node in composite.nodes:
                    trial.owner[node] = index
        return trial, supposed

    def _seconds(self, vendor: str, node: int) -> float:
        """Seconds of one op at a vendor's rates."""
        entry = next(e for e in self.context.vendors if e.vendor.name == vendor)
        rates, work = self.context.request.costs.of(vendor, entry.vendor), self.context.work[node]
        rate = rates.by_op.get(self.context.graph.ops.kind[node], rates.flops)
        return max(work.least / rate, (work.bytes or 0) / rates.bytes)

    def _scope(self, index: int, matches: Matches, supposed: dict[int, float]) -> _Outcome:
        """Form the segments of a scope and work out its cost; pruning changes `matches`."""
        context, graph = self.context, self.context.graph
        nodes = graph.scopes[index].nodes
        segments = form_segments(
            graph,
            nodes,
            matches,
            context.names,
            context.work,
            min_ops=self.limits.min_ops,
            min_flops=self.limits.min_flops,
        )
        inside = [n for _, members in segments for n in members]
        kept = dict.fromkeys([matches.owner[n] for n in inside])
        composites = [matches.composites[k] for k in kept]
        real = [c for c in composites if c.pattern != _PATTERN]
        tasks = make_tasks(graph, nodes, context.cost_model, segments, real)
        unit = {node: k for k, (_, members) in enumerate(segments) for node in members}
        count = 0
        for node, seconds in supposed.items():
            if node in unit:
                tasks[unit[node]].seconds += seconds
                count += 1
        border = _border(graph, context, segments, unit)
        return _Outcome(len(segments), elapsed(tasks), border, count)


def _copy(matches: Matches) -> Matches:
    copy = Matches(len(matches.owner))
    copy.composites, copy.owner = list(matches.composites), list(matches.owner)
    return copy


def _border(
    graph: OpGraph, context: FunctionContext, segments: Sequence[SegmentDraft], unit: dict[int, int]
) -> int:
    """Bytes that enter or leave segments; a value counts once per backend it goes to."""
    total = 0
    for at, (_, members) in enumerate(segments):
        entering: dict[int, None] = {}
        for node in members:
            for value in graph.ops.ins[node]:
                if value not in graph.values.constants and graph.values.producer[value] not in unit:
                    entering[value] = None
            for value in graph.ops.outs[node]:
                readers = {unit.get(user, ESCAPE) for user in graph.values.users[value]} - {at}
                total += context.cost_model.size(value) * len(readers)
        total += sum([context.cost_model.size(value) for value in entering])
    return total


def _sum(outcomes: Sequence[_Outcome]) -> _Outcome:
    total = _Outcome()
    for outcome in outcomes:
        total = total + outcome
    return total
