"""The pipeline, top to bottom::

    model ─import─▶ Model ─partition─▶ segments + remainder ─build─▶ Program ─▶ Executable
                              ▲                                  │
                              └──────── placement="measured" ────┘  builds, times, partitions again

`partition_model` stops after the second arrow: a dry run, nothing is built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from byoc.build.program import HealSpec, build_program, compile_segments, one_at_a_time
from byoc.errors import OptionError
from byoc.executable import Executable
from byoc.kit.foreign_op import check_placed
from byoc.placement.policy_file import resolve_policy
from byoc.plugins.discovery import Requested, VendorSpec, resolve
from byoc.runtime.isolation.processes import IsolateSpec, resolve_isolation

if TYPE_CHECKING:
    from byoc.build.background import Background
    from byoc.frontends import Model
    from byoc.frontends.relay.file import Params
    from byoc.partition import PartitionReport, PartitionResult
    from byoc.partition.placing import Costs, Strategy
    from byoc.partition.placing.policy import Policy
    from byoc.specialise import Specialise

__all__ = ["MEASURED", "compile", "partition_model"]

MEASURED = "measured"
"""The name of the strategy that builds and times (`byoc.measure`)."""

ORDER = "order"
"""The name of the strategy that asks vendors in their order."""


@one_at_a_time
def partition_model(
    model: Any,
    vendors: VendorSpec = (),
    *,
    placement: str | Strategy = ORDER,
    policy: Policy | str | os.PathLike[str] | None = None,
    costs: Costs | None = None,
    lock: str | os.PathLike[str] | None = None,
    locked: str | os.PathLike[str] | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
    params: Params | None = None,
) -> PartitionResult:
    """Split a model without building anything.

    model: what `byoc.frontends.import_model` reads: the path of an ONNX, TFLite or Relay file, an
    `onnx.ModelProto`, a `tvm.IRModule`, … vendors: names or `Vendor`
    values, or a mapping of these to options.
    placement: who gets an op that several could take: "order" (the earlier vendor), "model" (least
    predicted time), or a `byoc.partition.placing.Strategy`. policy: wishes to obey, or the YAML
    file that holds them. costs: figures to predict from.
    lock: a file to write the placement to. locked: such a file, to be obeyed: it is the placement.
    min_segment_ops, min_segment_flops: smaller segments stay on the host (None: the default of
    `byoc.partition.partition_module`).
    params: parameters of a Relay model, name → array or the path of a `.params` file.
    Raises ModelError, VendorError, OptionError, LockError when `locked` does not fit the model.
    """
    if placement == MEASURED:
        raise OptionError(
            "placement 'measured' builds and times, a dry run does neither: use 'model', which "
            "predicts, or byoc.compile(…, placement='measured') and its report"
        )
    requests = resolve(vendors)
    wishes = _wishes(policy, costs, min_segment_ops, min_segment_flops)
    source = _import(model, params)
    wishes["policy"] = _with_rules_of(source, wishes["policy"], requests)
    parts = _partition(source, requests, placement, locked, **wishes)
    _write_lock(lock, source, parts.report, requests)
    return parts


@one_at_a_time
def compile(
    model: Any,
    vendors: VendorSpec = (),
    *,
    placement: str | Strategy = ORDER,
    policy: Policy | str | os.PathLike[str] | None = None,
    costs: Costs | None = None,
    budget: float | str | None = None,
    dims: Mapping[str, int] | None = None,
    lock: str | os.PathLike[str] | None = None,
    locked: str | os.PathLike[str] | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
    heal: HealSpec = None,
    isolate: IsolateSpec = None,
    background: bool | Background = False,
    specialise: bool | Specialise = False,
    params: Params | None = None,
) -> Executable:
    """Compile a model for the host and the given vendors; arguments as `partition_model`.

    With ``vendors=[]`` the whole model runs on the host: the reference to compare with.
    placement: also "measured": segments and whole plans are built and timed, and the fastest plan
    is shipped; figures are kept in the user's cache (`byoc cache`). budget: how long measuring may
    take, in seconds or as "60s", "2m"; None: until no better plan turns up. dims: sizes of symbolic
    dimensions to measure with.
    heal: segments with a host twin, which answers when the vendor fails at run time: None those
    that run off the CPU, True or a `byoc.runtime.Healing` (limits) all, False none.
    isolate: vendors that run out of process, where they can take nothing else down: True all, a
    list of names these, a `byoc.runtime.Isolation` (limits).
    background: return as soon as host twins can answer, build engines meanwhile (True, or a
    `byoc.build.background.Background`); see `Executable.ready`. All segments have twins then.
    specialise: for models with symbolic dimensions, plans of their own for shapes that come often
    (True, or a `byoc.specialise.Specialise`); see `Executable.specialisations`.
    Raises ModelError, VendorError, OptionError, LockError, CompileError.
    """
    requests = resolve(vendors)
    wishes = _wishes(policy, costs, min_segment_ops, min_segment_flops)
    isolation = resolve_isolation(isolate, [request.vendor.name for request in requests])
    source = _import(model, params)
    wishes["policy"] = _with_rules_of(source, wishes["policy"], requests)
    if placement == MEASURED and locked is None:
        from byoc.measure.strategy import compile_measured

        if specialise:
            raise OptionError(
                "placement='measured' times one shape, specialise builds plans for others: leave "
                "one of the two out"
            )
        if background:
            raise OptionError(
                "placement='measured' builds every engine to time it: nothing is left to build in "
                "the background; leave one of the two out"
            )
        best = compile_measured(
            model, source, requests, budget=budget, dims=dims, heal=heal, isolation=isolation,
            **wishes,
        )  # fmt: skip
        _write_lock(lock, source, best.report, requests)
        return best
    if specialise and background:
        raise OptionError(
            "background is for models of fixed shapes, specialise for symbolic ones, whose plans "
            "it builds in the background anyway: leave one of the two out"
        )
    if specialise and locked is not None:
        raise OptionError(
            "specialise places the ops of every shape anew, which a lock of the symbolic model "
            "cannot tell: leave locked out"
        )
    if budget is not None or dims is not None:
        raise OptionError("budget and dims belong to placement='measured'")
    parts = _partition(source, requests, placement, locked, **wishes)
    check_placed(parts.mod, source.name, [request.vendor.name for request in requests])
    if background:
        from byoc.build.background import compile_in_background

        session, builds, report = compile_in_background(
            source, parts, requests, heal, background, isolation
        )
        _write_lock(lock, source, report, requests)
        return Executable(session.program, report, session=session, builds=builds)
    artifacts, refused = compile_segments(parts.segments, requests, heal)
    remarks = [f"segment {n!r} is left to its host twin: {why}" for n, why in refused.items()]
    warnings = (*parts.report.warnings, *remarks)
    parts = replace(parts, report=replace(parts.report, warnings=warnings))
    program = build_program(source, parts, requests, artifacts, heal)
    _write_lock(lock, source, parts.report, requests)
    program = replace(program, refused=refused, isolation=isolation)
    if not specialise:
        return Executable(program, parts.report)
    from byoc.specialise.build import make_shapes

    session, shapes = make_shapes(
        source,
        program,
        requests,
        lambda model: _partition(model, requests, placement, None, **wishes),
        heal,
        specialise,
    )
    return Executable(program, parts.report, session=session, shapes=shapes)


def _import(model: Any, params: Params | None) -> Model:
    from byoc.frontends import import_model

    return import_model(model, params)


def _with_rules_of(
    model: Model, policy: Policy | None, requests: Sequence[Requested]
) -> Policy | None:
    """The policy, after the wishes that the model's file holds: the user's come later and win."""
    if not model.rules:
        return policy
    from byoc.partition.placing.policy import Policy

    names = [request.vendor.name for request in requests]
    for rule in model.rules:
        if rule.place not in names:
            raise OptionError(
                f"{rule.at}the model places operators on {rule.place!r}, which is not among the "
                f"vendors of this run ({', '.join(names) or 'none'}): add it to vendors=, or "
                f"ignore what the file says with byoc.frontends.read_relay(…, placement=False)"
            )
    if policy is None:
        return Policy(rules=model.rules)
    return replace(policy, rules=(*model.rules, *policy.rules))


def _wishes(
    policy: Policy | str | os.PathLike[str] | None,
    costs: Costs | None,
    min_ops: int | None,
    min_flops: float | None,
) -> dict[str, Any]:
    """What every way of partitioning takes."""
    return {
        "policy": resolve_policy(policy),
        "costs": costs,
        "min_segment_ops": min_ops,
        "min_segment_flops": min_flops,
    }


def _partition(
    model: Model,
    requests: Sequence[Requested],
    placement: str | Strategy,
    locked: str | os.PathLike[str] | None,
    **wishes: Any,
) -> PartitionResult:
    from byoc.partition import partition_module

    vendors = [request.vendor for request in requests]
    if locked is None:
        return partition_module(model.mod, vendors, placement=placement, **wishes)
    if placement != ORDER:
        raise OptionError(f"locked is the placement: placement={placement!r} cannot be obeyed too")
    from byoc.placement.lock import read_lock

    lock = read_lock(locked)
    parts = partition_module(
        model.mod, vendors, placement=lock.strategy(model.mod, vendors), **wishes
    )
    lock.check(parts.report)
    warnings = (*parts.report.warnings, *lock.outdated(vendors))
    return replace(parts, report=replace(parts.report, warnings=warnings))


def _write_lock(
    path: str | os.PathLike[str] | None,
    model: Model,
    report: PartitionReport,
    requests: Sequence[Requested],
) -> None:
    if path is not None:
        from byoc.placement.lock import make_lock, write_lock

        write_lock(make_lock(model.mod, report, [r.vendor for r in requests]), path)
