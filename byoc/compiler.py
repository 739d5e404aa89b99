"""The pipeline, top to bottom::

    model ─import─▶ Model ─partition─▶ segments + remainder ─build─▶ Program ─▶ Executable
                              ▲                                  │
                              └──────── placement="measured" ────┘  builds, times, partitions again

`partition_model` stops after the second arrow: a dry run, nothing is built. What lies between
`Model` and `Executable` is a recipe (`byoc.recipes`), chosen by the options.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from byoc.build.compiler_lock import one_at_a_time
from byoc.build.foreign_ops import with_torch
from byoc.build.readiness import Background
from byoc.build.segments import HealSpec
from byoc.errors import FallbackWarning
from byoc.executable import Executable
from byoc.placement.constraints import resolve_constraints
from byoc.plugins.discovery import Requested, VendorSpec, resolve
from byoc.plugins.precision import FLOAT32, in_precision
from byoc.recipes import (
    AUTO,
    MEASURED,
    ORDER,
    CompileOptions,
    overrides_of,
    partition,
    recipe_for,
    with_fixed_sizes,
)
from byoc.runtime.isolation.processes import IsolateSpec, resolve_isolation
from byoc.specialise.options import Specialise
from byoc.support.arguments import check_path
from byoc.support.internal_errors import expect_no_foreign

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.frontends.relay.file import Params
    from byoc.partition import PartitionResult
    from byoc.partition.placing import Costs, Strategy
    from byoc.partition.placing.policy import Policy

__all__ = ["MEASURED", "compile", "partition_model"]


@one_at_a_time
def partition_model(
    model: Any,
    vendors: VendorSpec = (),
    *,
    placement: str | Strategy = ORDER,
    policy: Policy | str | os.PathLike[str] | None = None,
    costs: Costs | None = None,
    dims: Mapping[str, int] | None = None,
    lock: str | os.PathLike[str] | None = None,
    locked: str | os.PathLike[str] | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
    params: Params | None = None,
) -> PartitionResult:
    """Decide which op of a model runs where, without building anything.

    Args:
        model: what `byoc.frontends.import_model` reads: the path of an ONNX, TFLite or Relay file,
            an `onnx.ModelProto`, a `tvm.IRModule`, …
        vendors: who may take ops: names or `Vendor` values, or a mapping of these to options.
        placement: who gets an op that several could take: "order" (the earlier vendor), "model"
            (least predicted time), or a `byoc.partition.placing.Strategy`.
        policy: constraints to obey, or the path of the YAML file that holds them.
        costs: figures to predict from; None: the vendors' own.
        dims: symbolic dimension → its size, {"batch": 1}: the model is split for it alone.
        lock: a file to write the placement to.
        locked: such a file, to be obeyed: it is the placement.
        min_segment_ops: segments with fewer ops stay on the host; None: the default of
            `byoc.partition.partition_module`.
        min_segment_flops: segments with less work (floating-point operations) stay on the host.
        params: parameters of a Relay model, name → array, or the path of a `.params` file.

    Returns:
        The module with one function per segment, the segments, and the report. A vendor that cannot
        run here (its SDK is missing) is asked all the same, and a warning of the report says so.

    Raises:
        ModelError: the model cannot be read or holds something unsupported.
        VendorError: a vendor is unknown, or breaks its contract.
        OptionError: an option is not legal, or excludes another one.
        LockError: `locked` does not fit the model.
        InternalError: byoc itself fails.

    Examples:
        >>> parts = byoc.partition_model(model, vendors=["dnnl"])
        >>> [segment.vendor for segment in parts.segments]
        ['dnnl']
        >>> print(parts.report.table())  # doctest: +ELLIPSIS
        segment  ops  composites ...
    """
    if lock is not None:
        check_path("lock", lock)
    requests = resolve(vendors, to_run=False)
    options = CompileOptions(
        placement=placement,
        constraints=resolve_constraints(policy, costs, min_segment_ops, min_segment_flops),
        locked=locked,
        dry_run=True,
        dims=dims,
    )
    from byoc.frontends import import_model

    source = with_fixed_sizes(import_model(model, params), options)
    requests = _with_torch(source, requests)
    chosen = [request.vendor for request in requests]
    with expect_no_foreign(source.name, "partitioning"):
        options = replace(options, constraints=options.constraints.after(source.rules, chosen))
        parts = partition(source, requests, options)
        if lock is not None:
            from byoc.placement.lock import lock_placement

            lock_placement(lock, source.mod, parts.report, chosen)
    told = tuple(
        f"vendor {request.vendor.name!r} cannot run here: {request.unusable}; the split is what it "
        f"would take"
        for request in requests
        if request.unusable
    )
    if told:
        report = replace(parts.report, warnings=(*told, *parts.report.warnings))
        parts = replace(parts, report=report)
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
    precision: str = FLOAT32,
    max_error: float | None = None,
    calibration: Sequence[Mapping[str, Any]] | None = None,
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
    """Compile a model for the host and the given vendors.

    With ``vendors=[]`` the whole model runs on the host: the reference to compare with.

    Args:
        model: as for `partition_model`, and so are `vendors`, `policy`, `costs`, `lock`, `locked`,
            `min_segment_ops`, `min_segment_flops` and `params`.
        vendors: who may take ops: names or `Vendor` values, or a mapping of these to options.
        placement: also "measured": segments and whole plans are built and timed, and the fastest
            plan is shipped; measurements are kept in the user's cache (`byoc cache`).
        policy: constraints to obey, or the path of the YAML file that holds them.
        costs: figures to predict from; None: the vendors' own.
        budget: how long measuring may take, in seconds or as "60s", "2m"; None: until no better
            plan turns up.
        dims: symbolic dimension → its size, {"batch": 1}: the model is compiled for it alone, and
            with all of them given, it is static. Measured placement keeps them symbolic and
            measures with these sizes.
        precision: what vendors compute in: "f32"; "bf16" or "f16", where the vendor and this CPU or
            device can (others compute in float32, which is said); "auto": whichever is fastest,
            segment by segment, within `max_error`. Inputs, outputs and the host's share stay as
            they are.
        max_error: largest relative error, against float32, of each segment's and of the model's
            outputs; segments beyond it stay in float32 and are named in the report. None: no bound;
            0.05 for "auto".
        calibration: inputs to compare precisions on, each a mapping of names to arrays; None:
            random ones.
        lock: a file to write the placement to.
        locked: such a file, to be obeyed: it is the placement.
        min_segment_ops: segments with fewer ops stay on the host.
        min_segment_flops: segments with less work (floating-point operations) stay on the host.
        heal: segments with a host fallback, which answers when the vendor fails at run time: None:
            those that run off the CPU; True or a `byoc.runtime.Healing` (limits): all; False: none.
        isolate: vendors that run out of process, where they can take nothing else down: True: all;
            a list of names: these; a `byoc.runtime.Isolation`: limits.
        background: return as soon as host fallbacks can answer, and build engines meanwhile: True,
            or a `byoc.build.background.Background`; see `Executable.ready`. All segments have
            fallbacks then.
        specialise: for models with symbolic dimensions, plans of their own for shapes that come
            often: True, or a `byoc.specialise.Specialise`; see `Executable.specialisations`.
        params: parameters of a Relay model, name → array, or the path of a `.params` file.

    Returns:
        The compiled model, in memory and ready to be called.

    Raises:
        ModelError: the model cannot be read or holds something unsupported.
        VendorError: a vendor is unknown, not usable, or breaks its contract.
        OptionError: an option is not legal, or excludes another one.
        LockError: `locked` does not fit the model.
        CompileError: a vendor or the host cannot compile its part.
        InternalError: byoc itself fails.

    Examples:
        >>> exe = byoc.compile(model, vendors=["dnnl"])
        >>> y = exe(x)
        >>> y.shape
        (1, 10)
    """
    if lock is not None:
        check_path("lock", lock)
    requests = resolve(vendors)
    asked = [request.vendor.name for request in requests]
    options = CompileOptions(
        placement=placement,
        constraints=resolve_constraints(policy, costs, min_segment_ops, min_segment_flops),
        locked=locked,
        budget=budget,
        dims=dims,
        precision=precision,
        max_error=max_error,
        calibration=calibration,
        heal=heal,
        isolation=resolve_isolation(isolate, asked),
        background=Background() if background is True else background or None,
        specialise=Specialise() if specialise is True else specialise or None,
    )
    from byoc.frontends import import_model

    source = with_fixed_sizes(import_model(model, params), options)
    requests = _with_torch(source, requests)
    chosen = [request.vendor for request in requests]
    with expect_no_foreign(source.name, "compiling"):
        asked_for, told = in_precision(requests, FLOAT32 if precision == AUTO else precision)
        constraints = options.constraints.after(source.rules, chosen)
        options = replace(options, constraints=constraints, told=_told(told))
        if not options.compares:
            requests = asked_for
        recipe = recipe_for(options)
        built = recipe(source, requests, options)
        if lock is not None:
            from byoc.placement.lock import lock_placement

            lock_placement(lock, source.mod, built.report, chosen)
    overrides = overrides_of(model, source, built.runner, recipe, requests, options)
    return Executable(built.runner, built.report, overrides)


def _told(sentences: tuple[str, ...]) -> tuple[str, ...]:
    """Warn of vendors that cannot do what was asked of them; the report says so, too."""
    for sentence in sentences:
        warnings.warn(sentence, FallbackWarning, stacklevel=4)
    return sentences


def _with_torch(source: Model, requests: Sequence[Requested]) -> tuple[Requested, ...]:
    """The vendors, and the one that runs operators of PyTorch where the model holds some: said."""
    from byoc.frontends.foreign_calls import told_of_torch

    told = told_of_torch(source.mod)
    if not told:
        return tuple(requests)
    found = with_torch(requests)
    for request in found[len(requests) :]:
        warnings.warn(
            f"model {source.name!r}: {request.vendor.name} runs what byoc cannot express, between "
            f"what it compiles: {told}. A file saved of it needs "
            f"{request.vendor.name} and these operators to run; add "
            f"{request.vendor.name!r} to vendors to say that it is meant",
            FallbackWarning,
            stacklevel=4,
        )
    return found
