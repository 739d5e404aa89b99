"""From a partitioned model to a `Program`: segments by their vendors, the remainder by the host."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from byoc.errors import ByocError, CompileError
from byoc.executable import REPORT_MEMBER
from byoc.plugins.discovery import Requested
from byoc.runtime.program import Healing, Program, VendorUse, VmProgram
from byoc.segment import Artifact, Segment

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult

__all__ = ["HealSpec", "build_program", "compile_segment", "compile_segments", "vendor_use"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

COMPILING = threading.RLock()
"""Held by whoever uses TVM's compiler: it keeps its block builders in one list for all threads."""

HealSpec = bool | Healing | None
"""None: host twins for segments off the CPU. True or a `Healing`: for all. False: for none."""


def one_at_a_time(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function, whose calls hold `COMPILING`."""

    @functools.wraps(function)
    def alone(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with COMPILING:
            return function(*args, **kwargs)

    return alone


def compile_segment(segment: Segment, requests: Sequence[Requested]) -> Artifact:
    """What the segment's vendor makes of it.

    Raises whatever ByocError the vendor raises; CompileError when it fails or breaks the contract.
    """
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


def compile_segments(
    segments: Sequence[Segment], requests: Sequence[Requested], heal: HealSpec = None
) -> tuple[tuple[Artifact, ...], dict[str, str]]:
    """All segments, and why some are not there: segment name → what its vendor said.

    heal: where it asks for it (`Healing.refusals`), a segment that its vendor refuses is an empty
    artifact, for its host twin to stand in; else `compile_segment` raises.
    """
    lenient = heal is True or (isinstance(heal, Healing) and heal.refusals)
    artifacts, refused = [], {}
    for segment in segments:
        try:
            artifacts.append(compile_segment(segment, requests))
        except ByocError as error:
            if not lenient:
                raise
            refused[segment.name] = str(error)
            artifacts.append(Artifact(segment.name, segment.vendor, b""))
    return tuple(artifacts), refused


def vendor_use(request: Requested) -> VendorUse:
    """A vendor as a program uses it."""
    vendor = request.vendor
    return VendorUse(vendor.version, request.options.model_dump(), vendor.runtime, vendor.processor)


def build_program(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    artifacts: tuple[Artifact, ...],
    heal: HealSpec = None,
    refused: dict[str, str] | None = None,
) -> Program:
    """Compile what is left for the host and put the program together.

    heal: which segments get a host twin: None those not on processor "cpu", True or a `Healing`
    all, False none. refused: takes up the segments that cannot have the twin they should have,
    with the reason; without it they are an error. Raises CompileError.
    """
    from byoc import host
    from byoc.build.fallback import make_twins
    from byoc.build.memory_plan import make_plan
    from byoc.ir.ports import port_types

    used = {artifact.vendor for artifact in artifacts}
    vendors = {r.vendor.name: vendor_use(r) for r in requests if r.vendor.name in used}
    main = parts.mod["main"]
    inputs, outputs = port_types(main, model.inputs, model.outputs, model.values)
    shared: dict[str, Any] = {
        "name": model.name,
        "inputs": inputs,
        "outputs": outputs,
        "artifacts": artifacts,
        "vendors": vendors,
        "segment_outputs": {s.name: len(s.outputs) for s in parts.segments},
        "extras": {REPORT_MEMBER: parts.report.to_json(indent=None).encode()},
    }
    processors = {a.segment: vendors[a.vendor].processor for a in artifacts}
    healed = [
        a.segment
        for a in artifacts
        if (processors[a.segment] != "cpu" if heal is None else heal is not False)
    ]
    # Unasked for, a vendor that is not there at all stays an error.
    shared["healing"] = heal if isinstance(heal, Healing) else Healing(refusals=heal is True)
    if host.needs_vm(parts.mod):
        from byoc.build.vm_fallback import with_vm_twins

        mod, vm_twins = with_vm_twins(parts.mod, artifacts, healed, refused)
        whole = host.build_vm(mod)
        return Program(body=VmProgram(), host=whole, target=whole.target, twins=vm_twins, **shared)
    lowered = host.lower(parts.mod)
    planned = make_plan(
        lowered.main, model.inputs, model.outputs, processors, sources=lowered.sources
    )
    twins = make_twins(parts.mod, artifacts, lowered.kernels, healed, refused)
    library = host.build(twins.kernels) if len(twins.kernels.functions) else None
    calls = [task.function for task in planned.plan.tasks if task.kind == "host"]
    scratch = host.scratch_bytes(calls, library.scratch) if library else 0
    return Program(
        body=replace(planned.plan, scratch_bytes=scratch),
        host=library,
        target=library.target if library else None,
        constants=planned.constants,
        twins=twins.plans,
        **shared,
    )
