"""The pipeline, top to bottom::

    model ─import─▶ Model ─partition─▶ segments + remainder ─build─▶ Program ─▶ Executable

`partition_model` stops after the second arrow: a dry run, nothing is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byoc.discovery import Requested, VendorSpec, resolve
from byoc.errors import ByocError, CompileError
from byoc.executable import REPORT_MEMBER, Executable
from byoc.opaque import check_placed
from byoc.runtime.program import Program, VendorUse, VmProgram
from byoc.segment import Artifact, Segment

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.partition.place import Costs, Strategy
    from byoc.partition.policy import Policy

__all__ = ["compile", "partition_model"]


def partition_model(
    model: Any,
    vendors: VendorSpec = (),
    *,
    placement: str | Strategy = "order",
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> PartitionResult:
    """Split a model without building anything.

    model: path of an ONNX file, `onnx.ModelProto`, `tvm.IRModule`. vendors: names or `Vendor`
    values, or a mapping of these to options.
    placement: who gets an op that several could take: "order" (the earlier vendor), "model" (least
    predicted time), or a `byoc.partition.place.Strategy`. policy: wishes to obey. costs: figures
    to predict from. min_segment_ops, min_segment_flops: smaller segments stay on the host (None:
    the default of `byoc.partition.partition_module`).
    Raises ModelError, VendorError, OptionError.
    """
    requests = resolve(vendors)
    return _partition(
        _import(model), requests, placement, policy, costs, min_segment_ops, min_segment_flops
    )


def compile(
    model: Any,
    vendors: VendorSpec = (),
    *,
    placement: str | Strategy = "order",
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> Executable:
    """Compile a model for the host and the given vendors; arguments as `partition_model`.

    With ``vendors=[]`` the whole model runs on the host: the reference to compare with.
    Raises ModelError, VendorError, OptionError, CompileError.
    """
    requests = resolve(vendors)
    source = _import(model)
    parts = _partition(
        source, requests, placement, policy, costs, min_segment_ops, min_segment_flops
    )
    check_placed(parts.mod, source.name, [request.vendor.name for request in requests])
    artifacts = tuple(_compile_segment(segment, requests) for segment in parts.segments)
    program = _build(source, parts, requests, artifacts)
    return Executable(program, parts.report)


def _import(model: Any) -> Model:
    from byoc.frontends import import_model

    return import_model(model)


def _partition(
    model: Model,
    requests: Sequence[Requested],
    placement: str | Strategy,
    policy: Policy | None,
    costs: Costs | None,
    min_segment_ops: int | None,
    min_segment_flops: float | None,
) -> PartitionResult:
    from byoc.partition import partition_module

    return partition_module(
        model.mod,
        [request.vendor for request in requests],
        placement=placement,
        policy=policy,
        costs=costs,
        min_segment_ops=min_segment_ops,
        min_segment_flops=min_segment_flops,
    )


def _compile_segment(segment: Segment, requests: Sequence[Requested]) -> Artifact:
    (request,) = (r for r in requests if r.vendor.name == segment.vendor)
    try:
        artifact = request.vendor.compile(segment, request.options)
    except ByocError:
        raise
    except Exception as error:  # a vendor's bug must name the vendor and the segment
        raise CompileError(
            f"vendor author: compile() of {segment.vendor!r} failed on segment {segment.name!r} "
            f"({len(segment.nodes)} ops): {type(error).__name__}: {error}; until it is mended, "
            f"compile without {segment.vendor!r}"
        ) from error
    if not isinstance(artifact, Artifact) or artifact.segment != segment.name:
        raise CompileError(
            f"vendor author: compile() of {segment.vendor!r} must return the byoc.Artifact of "
            f"segment {segment.name!r}, found {artifact!r:.80}"
        )
    return artifact


def _build(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    artifacts: tuple[Artifact, ...],
) -> Program:
    """Compile what is left for the host and put the program together."""
    from byoc import host
    from byoc.planning import make_plan, port_types

    used = {artifact.vendor for artifact in artifacts}
    vendors = {
        r.vendor.name: VendorUse(
            r.vendor.version, r.options.model_dump(), r.vendor.runtime, r.vendor.processor
        )
        for r in requests
        if r.vendor.name in used
    }
    main = parts.mod["main"]
    inputs, outputs = port_types(main, model.inputs, model.outputs)
    shared: dict[str, Any] = {
        "name": model.name,
        "inputs": inputs,
        "outputs": outputs,
        "artifacts": artifacts,
        "vendors": vendors,
        "segment_outputs": {s.name: len(s.outputs) for s in parts.segments},
        "extras": {REPORT_MEMBER: parts.report.to_json().encode()},
    }
    if host.needs_vm(parts.mod):
        whole = host.build_vm(parts.mod)
        return Program(body=VmProgram(), host=whole, target=whole.target, **shared)
    lowered = host.lower(parts.mod)
    processors = {a.segment: vendors[a.vendor].processor for a in artifacts}
    planned = make_plan(
        lowered.main, model.inputs, model.outputs, processors, sources=lowered.sources
    )
    library = host.build(lowered.kernels) if len(lowered.kernels.functions) else None
    return Program(
        body=planned.plan,
        host=library,
        target=library.target if library else None,
        constants=planned.constants,
        **shared,
    )
