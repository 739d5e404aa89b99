"""The passes in order: snapshot, match, group, prune, outline, report."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tvm
from tvm import relax

from byoc.errors import OptionError, VendorError
from byoc.partition.decode import Decoder
from byoc.partition.explain import Explainer
from byoc.partition.flops import Costs
from byoc.partition.graph import OpGraph
from byoc.partition.group import group_scope
from byoc.partition.match import Matches, VendorPatterns, match_graph
from byoc.partition.outline import Draft, Outlined, outline_function
from byoc.partition.place.costs import Costs as PlaceCosts
from byoc.partition.place.strategy import Strategy, resolve_strategy
from byoc.partition.prune import prune_scope
from byoc.partition.report import HOST, OpRecord, PartitionReport, Refusal, SegmentRecord
from byoc.partition.segments import build_segment
from byoc.segment import Segment
from byoc.vendor import Vendor, check_vendor

if TYPE_CHECKING:
    from byoc.partition.policy import Policy

__all__ = ["PartitionResult", "partition_module"]

_LEFT_ALONE = ("Codegen", "Composite", "Primitive")


@dataclass(frozen=True)
class PartitionResult:
    """mod: the module with one private function per segment. segments: in the order they are
    named, topological within a function. report: where every op went.
    """

    mod: tvm.IRModule
    segments: tuple[Segment, ...]
    report: PartitionReport


def partition_module(
    mod: tvm.IRModule,
    vendors: Sequence[Vendor],
    *,
    placement: str | Strategy = "order",
    policy: Policy | None = None,
    costs: PlaceCosts | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> PartitionResult:
    """Split `mod` among `vendors`.

    mod: Relax in A-normal form with types, as every frontend delivers; not changed. Functions
        with the attribute Codegen, Composite or Primitive are left alone.
    vendors: may be empty (everything stays on the host). Names must differ.
    placement: who gets an op that several could take. "order": who comes first in `vendors`;
        "model": what makes the predicted time least; or a `Strategy`.
    policy: wishes to obey; its minimums count where the two below are None.
    costs: figures to predict from, the vendors' own when None.
    min_segment_ops: segments with fewer ops go to the host, unless they are heavy (1 MFLOP).
        None: 2, and 1 where the strategy weighs costs. min_segment_flops: segments with less work
        go to the host. None: 0.

    Raises VendorError when a vendor breaks the contract (a pattern that cannot be read, a check
    that raises), OptionError on a negative threshold.
    """
    strategy = resolve_strategy(placement)
    if min_segment_ops is None:
        min_segment_ops = 2
    if min_segment_flops is None:
        min_segment_flops = 0
    if min_segment_ops < 0 or min_segment_flops < 0:
        raise OptionError(
            f"min_segment_ops and min_segment_flops must not be negative, found "
            f"{min_segment_ops} and {min_segment_flops}"
        )
    entries = _compile_patterns(vendors)
    with _no_cycles_collected():
        return _Run(mod, entries, strategy, min_segment_ops, min_segment_flops).result()


def _compile_patterns(vendors: Sequence[Vendor]) -> list[VendorPatterns]:
    names: set[str] = set()
    for vendor in vendors:
        check_vendor(vendor)
        if vendor.name in names:
            raise VendorError(f"vendor {vendor.name!r} is given twice; give each vendor once")
        names.add(vendor.name)
    return [VendorPatterns(vendor) for vendor in vendors]


@contextmanager
def _no_cycles_collected() -> Iterator[None]:
    """The tables hold many objects and no cycles: collector runs would cost a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _functions(mod: tvm.IRModule) -> list[tuple[Any, Any]]:
    """Functions to partition, `main` first, then by name."""
    found = [
        (symbol, func)
        for symbol, func in mod.functions_items()
        if isinstance(func, relax.Function)
        and not any(func.attrs and key in func.attrs for key in _LEFT_ALONE)
    ]
    return sorted(found, key=lambda item: (item[0].name_hint != "main", str(item[0].name_hint)))


class _Run:
    """One partitioning."""

    def __init__(
        self,
        mod: tvm.IRModule,
        vendors: Sequence[VendorPatterns],
        strategy: Strategy,
        min_ops: int,
        min_flops: float,
    ) -> None:
        self.mod = mod
        self.vendors = vendors
        self.strategy = strategy
        self.names = [v.vendor.name for v in vendors]
        self.min_ops = min_ops
        self.min_flops = min_flops
        self.decoder = Decoder()
        self.taken = {str(symbol.name_hint) for symbol in mod.get_global_vars()}
        self.count: dict[str, int] = {}
        self.segments: list[Segment] = []
        self.ops: list[OpRecord] = []
        self.records: list[SegmentRecord] = []

    def result(self) -> PartitionResult:
        functions = dict(self.mod.functions_items())
        for symbol, func in _functions(self.mod):
            again, outlined = self.function(func, str(symbol.name_hint))
            functions[symbol] = again
            functions.update((o.symbol, o.function) for o in outlined)
        mod = tvm.IRModule(functions, attrs=self.mod.attrs, global_infos=self.mod.global_infos)
        report = PartitionReport(tuple(self.names), tuple(self.ops), tuple(self.records))
        return PartitionResult(mod, tuple(self.segments), report)

    def fresh(self, vendor: str) -> str:
        """A name for the next segment of a vendor."""
        while True:
            k = self.count.get(vendor, 0)
            self.count[vendor] = k + 1
            name = f"{vendor}_{k}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def function(self, func: Any, name: str) -> tuple[Any, list[Outlined]]:
        graph = OpGraph(func, name, self.decoder)  # 1. snapshot
        matches = match_graph(graph, self.vendors)  # 2. match
        costs = Costs(graph)
        drafts: dict[int, list[Draft]] = {}
        for index, scope in enumerate(graph.scopes):
            groups = group_scope(graph, scope.nodes, matches, self.names)  # 3. group
            kept = prune_scope(  # 4. prune
                graph, groups, matches, costs, min_ops=self.min_ops, min_flops=self.min_flops
            )
            drafts[index] = [Draft(vendor, nodes) for vendor, nodes in kept]
        again, outlined = outline_function(graph, drafts, self.fresh)  # 5. outline
        self.report(graph, matches, costs, outlined)  # 6. report
        return again, outlined

    def report(
        self, graph: OpGraph, matches: Matches, costs: Costs, outlined: Sequence[Outlined]
    ) -> None:
        """Segments and records of one function."""
        owner, composites = matches.owner, matches.composites
        where: dict[int, str] = {}
        for o in outlined:
            where.update(dict.fromkeys(o.nodes, o.name))
        self._ops(graph, matches, costs, where)
        for o in outlined:
            parts = [composites[c] for c in dict.fromkeys([owner[n] for n in o.nodes])]
            segment = build_segment(graph, o.name, o.vendor, o.nodes, parts, o.inputs, o.outputs)
            self.segments.append(segment)
            self.records.append(
                SegmentRecord(
                    name=o.name,
                    vendor=o.vendor,
                    function=graph.name,
                    ops=len(o.nodes),
                    composites=len(parts),
                    flops=_total([costs[n].flops for n in o.nodes]),
                    weight_bytes=sum([a.nbytes for a in segment.constants.values()]),
                    input_bytes=_total([costs.size(v) for v in o.inputs]),
                    output_bytes=_total([costs.size(v) for v in o.outputs]),
                    inputs=len(segment.inputs),
                    outputs=len(segment.outputs),
                )
            )

    def _ops(
        self, graph: OpGraph, matches: Matches, costs: Costs, where: Mapping[int, str]
    ) -> None:
        """One record per op."""
        explain = Explainer(graph, self.vendors, matches)
        function = graph.name
        for node, op in enumerate(graph.op):
            cost = costs[node]
            segment = where.get(node)
            vendor, pattern = HOST, None
            refusals: tuple[Refusal, ...] = ()
            if segment is None:
                refusals = explain(node)
            else:
                composite = matches.composites[matches.owner[node]]
                vendor, pattern = composite.vendor, composite.pattern
            self.ops.append(
                OpRecord(
                    len(self.ops),
                    function,
                    op,
                    graph.names[node],
                    vendor,
                    segment,
                    pattern,
                    cost.flops,
                    cost.bytes,
                    cost.text,
                    refusals,
                )
            )


def _total(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
