"""The passes in order: snapshot, match, group, prune, outline, report."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import tvm
from tvm import relax

from byoc.errors import OptionError, VendorError, choices
from byoc.ir.decode import Decoder
from byoc.partition.context import Scene, Spent, Want
from byoc.partition.explaining.advice import advise, warn
from byoc.partition.explaining.recorder import Recorder
from byoc.partition.explaining.whatif import Placed
from byoc.partition.grouping.splits import find_splits
from byoc.partition.matching.match import Matches, VendorPatterns
from byoc.partition.outlining.outline import Outlined, outline_function
from byoc.partition.outlining.segments import build_segment
from byoc.partition.placing.constraints import Wishes, check_budget, check_offload
from byoc.partition.placing.policy import Policy, unused_rules
from byoc.partition.placing.problem import Limits
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import Strategy, resolve_strategy
from byoc.report.partition_report import PartitionReport
from byoc.report.records import BorderRecord, OpRecord, PlanRecord, SegmentRecord, SplitRecord
from byoc.segment import Segment
from byoc.vendor import Vendor, check_vendor

__all__ = ["PartitionResult", "functions_of", "make_want", "partition_module", "scenes_of"]

_LISTED = 200  # names in an error message, at most

_LEFT_ALONE = ("Codegen", "Composite", "Primitive")


@dataclass(frozen=True)
class PartitionResult:
    """mod: the module with one private function per segment. segments: in the order they are
    named, topological within a function. report: where every op went.
    """

    mod: tvm.IRModule
    segments: tuple[Segment, ...]
    report: PartitionReport
    placed: tuple[Placed, ...] = field(default=(), repr=False, compare=False)
    """What `byoc.partition.what_if` starts from: the functions as they were placed."""


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
    entries = _compile_patterns(vendors)
    want = make_want(vendors, placement, policy, costs, min_segment_ops, min_segment_flops)
    with _no_cycles_collected():
        return _Run(mod, entries, want).result()


def make_want(
    vendors: Sequence[Vendor],
    placement: str | Strategy,
    policy: Policy | None,
    costs: Costs | None,
    min_segment_ops: int | None,
    min_segment_flops: float | None,
) -> Want:
    """What was asked for, checked. Raises OptionError."""
    strategy = resolve_strategy(placement)
    costs = costs or Costs()
    costs.check({vendor.name: vendor for vendor in vendors})
    if policy is not None:
        policy.check_places([vendor.name for vendor in vendors])
        check_budget(policy, [vendor.processor for vendor in vendors])
        if min_segment_ops is None:
            min_segment_ops = policy.min_segment_ops
        if min_segment_flops is None:
            min_segment_flops = policy.min_segment_flops
    if min_segment_ops is None:
        min_segment_ops = 1 if strategy.costed else 2
    if min_segment_flops is None:
        min_segment_flops = 0
    if min_segment_ops < 0 or min_segment_flops < 0:
        raise OptionError(
            f"min_segment_ops and min_segment_flops must not be negative, found "
            f"{min_segment_ops} and {min_segment_flops}"
        )
    if policy is None:
        return Want(strategy, costs, Limits(min_segment_ops, min_segment_flops))
    limits = Limits(min_segment_ops, min_segment_flops, policy.max_segments, policy.weight_budget)
    return Want(strategy, costs, limits, Wishes(policy))


def scenes_of(
    mod: tvm.IRModule,
    vendors: Sequence[Vendor],
    placement: str | Strategy,
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> list[Scene]:
    """The functions of a module as they are before anything is placed."""
    entries = _compile_patterns(vendors)
    want = make_want(vendors, placement, policy, costs, min_segment_ops, min_segment_flops)
    scenes: list[Scene] = []
    first, decoder = 0, Decoder()
    for symbol, func in functions_of(mod):
        scene = Scene(func, str(symbol.name_hint), first, entries, want, decoder)
        first += len(scene.graph)
        scenes.append(scene)
    return scenes


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


def functions_of(mod: tvm.IRModule) -> list[tuple[Any, Any]]:
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

    def __init__(self, mod: tvm.IRModule, vendors: Sequence[VendorPatterns], want: Want) -> None:
        self.mod = mod
        self.vendors = vendors
        self.names = [v.vendor.name for v in vendors]
        self.want = want
        self.decoder = Decoder()
        self.taken = {str(symbol.name_hint) for symbol in mod.get_global_vars()}
        self.count: dict[str, int] = {}
        self.segments: list[Segment] = []
        self.ops: list[OpRecord] = []
        self.records: list[SegmentRecord] = []
        self.borders: list[BorderRecord] = []
        self.splits: list[SplitRecord] = []
        self.placed: list[Placed] = []
        self.predicted = 0.0

    def result(self) -> PartitionResult:
        functions = dict(self.mod.functions_items())
        spent = Spent(0, {})
        for symbol, func in functions_of(self.mod):
            again, outlined = self.function(func, str(symbol.name_hint), spent)
            functions[symbol] = again
            functions.update((o.symbol, o.function) for o in outlined)
        self.check_places()
        warnings: tuple[str, ...] = ()
        if self.want.wishes is not None:
            policy = self.want.wishes.policy
            warnings = unused_rules(policy, self.ops)
            if policy.require_full_offload:
                check_offload(self.ops)
        mod = tvm.IRModule(functions, attrs=self.mod.attrs, global_infos=self.mod.global_infos)
        name = self.want.strategy.name
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
        report = replace(report, advice=advise(report), warnings=warnings + warn(report))
        return PartitionResult(mod, tuple(self.segments), report, tuple(self.placed))

    def check_places(self) -> None:
        """Every key of a fixed placement must name an op."""
        places = self.want.strategy.places
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

    def fresh(self, vendor: str) -> str:
        """A name for the next segment of a vendor."""
        while True:
            k = self.count.get(vendor, 0)
            self.count[vendor] = k + 1
            name = f"{vendor}_{k}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def function(self, func: Any, name: str, spent: Spent) -> tuple[Any, list[Outlined]]:
        # 1. snapshot
        scene = Scene(func, name, len(self.ops), self.vendors, self.want, self.decoder)
        matches, drafts = scene.place(spent)  # 2. match, 3. group, 4. prune
        again, outlined = outline_function(scene.graph, drafts, self.fresh)  # 5. outline
        self.report(scene, matches, outlined)  # 6. report
        return again, outlined

    def report(self, scene: Scene, matches: Matches, outlined: Sequence[Outlined]) -> None:
        """Segments and records of one function."""
        graph, owner, composites = scene.graph, matches.owner, matches.composites
        recorder = Recorder(scene, matches, outlined)
        records: list[SegmentRecord] = []
        borders = recorder.borders()
        self.ops += recorder.ops()
        for at, o in enumerate(outlined):
            parts = [composites[c] for c in dict.fromkeys([owner[n] for n in o.nodes])]
            segment = build_segment(graph, o.name, o.vendor, o.nodes, parts, o.inputs, o.outputs)
            self.segments.append(segment)
            records.append(recorder.segment(at, segment, len(parts)))
        self.records += records
        self.borders += borders
        self.splits += find_splits(graph, [(o.name, o.vendor, o.nodes) for o in outlined])
        self.predicted += recorder.predicted(records, borders)
        self.placed.append(Placed(scene, matches))
