"""From a partitioned model to a `Program`: segments by their vendors, the remainder by the host.

    parts ──▶ foreign ops placed? ──▶ segments ──vendors──▶ artifacts ─┐
                                      remainder ──host──▶ kernels ─────┴─▶ Program

In: an imported model and what partitioning made of it. Out: everything that is needed to run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from byoc.build.kernels import compile_apart, in_plan
from byoc.build.segments import HealSpec, compile_segments, vendor_use
from byoc.plugins.discovery import Requested
from byoc.runtime.isolation.processes import isolates
from byoc.runtime.program import REPORT_MEMBER, Healing, Isolation, Program, VmProgram
from byoc.segment import Artifact, HostArtifact

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionReport, PartitionResult

__all__ = ["build_program", "compile_host_first", "compile_program", "with_report"]


def compile_program(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    heal: HealSpec = None,
    isolation: Isolation | None = None,
    built: Mapping[str, Artifact | HostArtifact] | None = None,
) -> tuple[Program, PartitionReport]:
    """Compile the segments of a partitioned model and what is left for the host.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors that were asked for.
        heal: which segments get a host fallback, and whether vendors may refuse segments.
        isolation: vendors that run out of process; None: none.
        built: segment → its artifact, where it is compiled already.

    Returns:
        The program, and the report with a warning for every segment that its vendor refused.

    Raises:
        ModelError: a foreign op is left on the host.
        ByocError: a vendor refuses a segment, or the host cannot run the rest.
    """
    from byoc.build.foreign_ops import check_placed

    check_placed(parts.mod, model.name, [request.vendor for request in requests])
    artifacts, refused = compile_segments(parts.segments, requests, heal, built or {})
    remarks = [f"segment {n!r} is left to its host twin: {why}" for n, why in refused.items()]
    report = replace(parts.report, warnings=(*parts.report.warnings, *remarks))
    parts = replace(parts, report=report)
    program = build_program(model, parts, requests, artifacts, heal, isolation=isolation)
    return replace(program, refused=refused), report


def compile_host_first(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    heal: HealSpec = None,
    isolation: Isolation | None = None,
) -> tuple[Program, PartitionReport, tuple[str, ...]]:
    """Compile the host's share of a partitioned model, with a fallback for every segment.

    Segments that the host cannot run have no fallback: their engines are built here.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors that were asked for.
        heal: limits of the fallbacks; all segments get one, whatever it says.
        isolation: vendors that run out of process; None: none.

    Returns:
        The program, the report with a warning for every segment that had to be built now, and the
        names of the segments whose engines are still to come.

    Raises:
        ModelError: a foreign op is left on the host.
        ByocError: a vendor refuses a segment that has no fallback, or the host cannot run the rest.
    """
    from byoc.build.foreign_ops import check_placed

    check_placed(parts.mod, model.name, [request.vendor for request in requests])
    waiting = tuple(Artifact(s.name, s.vendor, b"") for s in parts.segments)
    refused: dict[str, str] = {}
    limits: HealSpec = heal if isinstance(heal, Healing) else True
    program = build_program(model, parts, requests, waiting, limits, refused, isolation)
    now = {s.name: compile_apart(s, requests) for s in parts.segments if s.name in refused}
    artifacts = tuple(now.get(a.segment, a) for a in program.artifacts)
    late = tuple(s.name for s in parts.segments if s.name not in refused)
    remarks = [
        f"segment {name!r} has no host twin and was built before the first answer: {why}"
        for name, why in refused.items()
    ]
    report = replace(parts.report, warnings=(*parts.report.warnings, *remarks))
    return replace(program, artifacts=artifacts), report, late


def build_program(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    artifacts: Sequence[Artifact | HostArtifact],
    heal: HealSpec = None,
    refused: dict[str, str] | None = None,
    isolation: Isolation | None = None,
) -> Program:
    """Compile what is left for the host and put the program together.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors that were asked for.
        artifacts: one per segment; empty ones stand for engines that are still to come.
        heal: which segments get a host fallback.
        refused: takes up the segments that cannot have the fallback they should have, with the
            reason. Without it they are an error.
        isolation: vendors that run out of process; None: none.

    Returns:
        The program, the partition report among its extras.

    Raises:
        CompileError: the host cannot run what is left to it.
    """
    from byoc import host
    from byoc.build.fallback import make_fallbacks
    from byoc.build.memory_plan import make_plan
    from byoc.ir.ports import port_types

    used = {artifact.vendor for artifact in artifacts}
    vendors = {r.vendor.name: vendor_use(r) for r in requests if r.vendor.name in used}
    inputs, outputs = port_types(parts.mod["main"], model.inputs, model.outputs, model.values)
    processors = {a.segment: vendors[a.vendor].processor for a in artifacts}
    healed = _healed(processors, heal)
    isolated = [a.segment for a in artifacts if isolates(isolation, a.vendor)]
    plain, given = in_plan(artifacts, parts.segments, {*healed, *isolated})
    shared: dict[str, Any] = {
        "name": model.name,
        "inputs": inputs,
        "outputs": outputs,
        "artifacts": plain,
        "vendors": vendors,
        "segment_outputs": {s.name: len(s.outputs) for s in parts.segments},
        "signatures": {s.name: s.signature for s in parts.segments},
        "extras": _extras(parts.report),
        "isolation": isolation,
        # Unasked for, a vendor that is not there at all stays an error.
        "healing": heal if isinstance(heal, Healing) else Healing(refusals=heal is True),
    }
    if host.needs_vm(parts.mod):
        from byoc.build.vm_fallback import with_vm_fallbacks

        mod, vm_fallbacks = with_vm_fallbacks(parts.mod, plain, healed, refused)
        whole = host.build_vm(mod, given=given)
        return Program(
            body=VmProgram(), host=whole, target=whole.target, twins=vm_fallbacks, **shared
        )
    lowered = host.lower(parts.mod, given=given)
    planned = make_plan(
        lowered.main, model.inputs, model.outputs, processors, sources=lowered.sources,
        owners={name: label.segment for name, label in lowered.labels.items()},
    )  # fmt: skip
    fallbacks = make_fallbacks(parts.mod, plain, lowered.kernels, healed, refused)
    library = host.build(fallbacks.kernels) if len(fallbacks.kernels.functions) else None
    calls = [task.function for task in planned.plan.tasks if task.kind == "host"]
    scratch = host.scratch_bytes(calls, library.scratch) if library else 0
    return Program(
        body=replace(planned.plan, scratch_bytes=scratch),
        host=library,
        target=library.target if library else None,
        constants=planned.constants,
        twins=fallbacks.plans,
        **shared,
    )


def with_report(program: Program, report: PartitionReport) -> Program:
    """The program with another partition report among its extras.

    Args:
        program: a built program.
        report: what replaces the report that it was built with.

    Returns:
        A new program over the same parts.
    """
    return replace(program, extras={**program.extras, **_extras(report)})


def _extras(report: PartitionReport) -> dict[str, bytes]:
    return {REPORT_MEMBER: report.to_json(indent=None).encode()}


def _healed(processors: Mapping[str, str], heal: HealSpec) -> list[str]:
    """Names of the segments that get a host fallback, of all with their processors."""
    if heal is None:
        return [name for name, processor in processors.items() if processor != "cpu"]
    return [] if heal is False else list(processors)
