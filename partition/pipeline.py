"""The passes in order: snapshot, match, place, group, prune, outline, report.

In: a Relax module and vendors. Out: a `PartitionResult`: the module with one function per
segment, the segments as vendors receive them, and a report of where every op went.

    for each function   snapshot ─ match ─ (place) ─ group ─ prune ─ outline ─ record
                        └──── FunctionContext.place ───────────┘
    for the module      checks of the policy, the report, advice
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import tvm

from byoc.errors import OptionError, choices
from byoc.ir.decode import Decoder
from byoc.partition.explaining.advice import advise, told_of_kept, warn
from byoc.partition.explaining.recorder import Recorder
from byoc.partition.grouping.splits import NamedSegment, find_splits
from byoc.partition.matching.match import VendorPatterns, compile_vendors
from byoc.partition.outlining.outline import Outlined, outline_function
from byoc.partition.outlining.segments import build_segment
from byoc.partition.placing.constraints import check_offload
from byoc.partition.placing.context import (
    FunctionContext,
    PlacedFunction,
    PlacementRequest,
    UsedBudget,
    make_request,
)
from byoc.partition.placing.policy import Policy, unused_rules
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import Strategy
from byoc.partition.result import PartitionResult
from byoc.partition.snapshot.functions import functions_of
from byoc.report.partition_report import PartitionReport
from byoc.report.records import BorderRecord, OpRecord, PlanRecord, SegmentRecord, SplitRecord
from byoc.segment import Segment
from byoc.vendor import Vendor

__all__ = ["PartitionResult", "partition_module"]

_LISTED = 200  # names in an error message, at most


def partition_module(
    mod: tvm.IRModule,
    vendors: Sequence[Vendor],
    *,
    placement: str | Strategy = "order",
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> PartitionResult:
    """Split a module among vendors and the host.

    Examples:
        >>> result = partition_module(mod, [vendor], min_segment_ops=1)
        >>> {op.place for op in result.report.ops}
        {'dnnl'}

    Args:
        mod: Relax in A-normal form with types, as every frontend delivers; not changed. Functions
            with the attribute Codegen, Composite or Primitive are left alone.
        vendors: may be empty (everything stays on the host). Names must differ.
        placement: who gets an op that several could take. "order": who comes first in `vendors`;
            "model": what makes the predicted time least; or a `Strategy`.
        policy: constraints to obey; its minimums count where the two below are None.
        costs: figures to predict from, the vendors' own when None.
        min_segment_ops: segments with fewer ops go to the host, unless they are heavy (1 MFLOP).
            None: 2, and 1 where the strategy weighs costs.
        min_segment_flops: segments with less work go to the host. None: 0.

    Returns:
        The module with one private function per segment, the segments, and the report.

    Raises:
        VendorError: a vendor breaks the contract (a pattern that cannot be read, a check that
            raises), or a strategy chooses what is no candidate.
        OptionError: a threshold is negative, a name is unknown, or a constraint cannot be met.
    """
    entries = compile_vendors(vendors)
    request = make_request(
        vendors,
        placement=placement,
        policy=policy,
        costs=costs,
        min_segment_ops=min_segment_ops,
        min_segment_flops=min_segment_flops,
    )
    with _no_cycles_collected():
        return _Run(mod, entries, request).result()


@contextmanager
def _no_cycles_collected() -> Iterator[None]:
    """The tables hold many objects and no cycles: collector runs would cost a third of the time.

    What was made meanwhile then goes to the oldest generation unseen (`gc.freeze` moves it out of
    all of them, `gc.unfreeze` into the last), or the first allocation would make a run over it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_freeze_count() == 0:  # what the user froze stays frozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


class _Run:
    """The partitioning of one module: names already taken, and the records so far."""

    def __init__(
        self, mod: tvm.IRModule, vendors: Sequence[VendorPatterns], request: PlacementRequest
    ) -> None:
        self.mod = mod
        self.vendors = vendors
        self.names = [v.vendor.name for v in vendors]
        self.request = request
        self.decoder = Decoder()
        self.taken = {str(symbol.name_hint) for symbol in mod.get_global_vars()}
        self.count: dict[str, int] = {}
        self.segments: list[Segment] = []
        self.ops: list[OpRecord] = []
        self.records: list[SegmentRecord] = []
        self.borders: list[BorderRecord] = []
        self.splits: list[SplitRecord] = []
        self.placed: list[PlacedFunction] = []
        self.kept: list[tuple[str, str, str]] = []
        self.predicted = 0.0

    def result(self) -> PartitionResult:
        functions = dict(self.mod.functions_items())
        used = UsedBudget(0, {})
        for symbol, func in functions_of(self.mod):
            again, outlined = self.function(func, str(symbol.name_hint), used)
            functions[symbol] = again
            functions.update((o.symbol, o.function) for o in outlined)
        mod = tvm.IRModule(functions, attrs=self.mod.attrs, global_infos=self.mod.global_infos)
        report = self.report(self.check())
        return PartitionResult(mod, tuple(self.segments), report, tuple(self.placed))

    def function(self, func: Any, name: str, used: UsedBudget) -> tuple[Any, list[Outlined]]:
        context = FunctionContext(  # 1. snapshot
            func,
            name=name,
            first=len(self.ops),
            vendors=self.vendors,
            request=self.request,
            decoder=self.decoder,
        )
        placed = context.place(used)  # 2. match, 3. group, 4. prune
        again, outlined = outline_function(context.graph, placed.drafts, self.fresh)  # 5. outline
        self.record(placed, outlined)  # 6. report
        return again, outlined

    def fresh(self, vendor: str) -> str:
        """A name for the next segment of a vendor."""
        while True:
            k = self.count.get(vendor, 0)
            self.count[vendor] = k + 1
            name = f"{vendor}_{k}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def record(self, placed: PlacedFunction, outlined: Sequence[Outlined]) -> None:
        """Segments and records of one function."""
        graph, matches = placed.context.graph, placed.matches
        recorder = Recorder(placed, outlined)
        records: list[SegmentRecord] = []
        borders = recorder.borders()
        self.ops += recorder.ops()
        self.kept += recorder.kept_whole()
        for at, o in enumerate(outlined):
            owners = dict.fromkeys([matches.owner[n] for n in o.nodes])
            parts = [matches.composites[c] for c in owners]
            segment = build_segment(
                graph,
                o.nodes,
                name=o.name,
                vendor=o.vendor,
                composites=parts,
                inputs=o.inputs,
                outputs=o.outputs,
            )
            self.segments.append(segment)
            records.append(recorder.segment(at, segment, len(parts)))
        self.records += records
        self.borders += borders
        self.splits += find_splits(
            graph, [NamedSegment(o.name, o.vendor, o.nodes) for o in outlined]
        )
        self.predicted += recorder.predicted(records, borders)
        self.placed.append(placed)

    # -- the whole module --------------------------------------------------------------------------

    def check(self) -> tuple[str, ...]:
        """Check what was asked for against the whole module: the warnings."""
        self.check_fixed()
        if self.request.constraints is None:
            return ()
        policy = self.request.constraints.policy
        warnings = unused_rules(policy, self.ops)
        if policy.require_full_offload:
            check_offload(self.ops)
        return warnings

    def check_fixed(self) -> None:
        """Every key of a fixed placement must name an op."""
        places = self.request.strategy.places
        if not places:
            return
        known: set[int | str] = {op.index for op in self.ops} | {op.name for op in self.ops}
        for key in places:
            if key not in known:
                hint = (
                    choices(key, {op.name for op in self.ops})
                    if isinstance(key, str) and len(self.ops) <= _LISTED
                    else f"it has ops 0 to {len(self.ops) - 1}"
                )
                raise OptionError(f"the placement names {key!r}, no op of the model; {hint}")

    def report(self, warnings: tuple[str, ...]) -> PartitionReport:
        name = self.request.strategy.name
        plan = PlanRecord(name, self.predicted, segments=len(self.records), shipped=True)
        report = PartitionReport(
            tuple(self.names),
            tuple(self.ops),
            tuple(self.records),
            placement=name,
            borders=tuple(self.borders),
            plans=(plan,),
            warnings=warnings,
            splits=tuple(self.splits),
        )
        warnings = told_of_kept(self.kept) + warnings + warn(report)
        return replace(report, advice=advise(report), warnings=warnings)
