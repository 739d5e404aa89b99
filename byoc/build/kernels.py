"""Segments whose vendors give kernels: into the model's plan, or apart from it.

Most become tasks of the plan that calls them, their kernels a part of the host library. A segment
that must be able to fail alone, or to run without its model, is built apart: a plan and a library
of its own, which `byoc.runtime` calls like any vendor's segment::

    HostArtifact ─┬─▶ host.lower(given=…) ─▶ tasks of the model's plan
                  └─▶ build_apart ─▶ plan │ shared object ─▶ Artifact.blob
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from byoc.build.compiler_lock import one_at_a_time
from byoc.build.segments import compile_segment
from byoc.errors import CompileError
from byoc.plugins.discovery import Requested
from byoc.runtime.plan import Plan, encode_plan
from byoc.segment import Array, Artifact, HostArtifact, Requires, Segment

if TYPE_CHECKING:
    from byoc.host import Given, HostLibrary

__all__ = ["Apart", "build_apart", "closed", "compile_apart", "in_plan"]


@dataclass(frozen=True, eq=False)
class Apart:
    """A segment's kernels, compiled apart from its model.

    Attributes:
        plan: The calls; its ports are the segment's.
        constants: What the plan's constants are.
        library: The kernels.
    """

    plan: Plan
    constants: tuple[Array, ...]
    library: HostLibrary


@one_at_a_time
def build_apart(segment: Segment, artifact: HostArtifact) -> Apart:
    """Compile the kernels of a segment by themselves.

    Args:
        segment: The segment, of fixed shapes.
        artifact: What its vendor gave.

    Returns:
        A plan, its constants and the library.

    Raises:
        CompileError: The segment has symbolic shapes, or TVM cannot compile a kernel.
    """
    from byoc import host
    from byoc.build.memory_plan import make_plan
    from byoc.host.given import lone_module
    from byoc.ir.arrays import same_array

    if not segment.is_static:
        raise CompileError(
            f"segment {segment.name!r} of vendor {segment.vendor!r} has symbolic shapes: its "
            f"kernels run in the model only, without heal=True, isolate= or background="
        )
    module, labels = lone_module(segment, artifact)
    lowered = host.lower(module)
    ports = segment.signature
    planned = make_plan(
        lowered.main,
        [f"x{i}" for i in range(len(ports.inputs))],
        [f"y{i}" for i in range(len(ports.outputs))],
        sources={name: label.source for name, label in labels.items()},
    )
    known = list(artifact.constants.values())
    constants = tuple(same_array(array, known) for array in planned.constants)
    return Apart(planned.plan, constants, host.build(lowered.kernels))


def closed(segment: Segment, artifact: Artifact | HostArtifact) -> Artifact:
    """Return what runs a segment without its model.

    Args:
        segment: The segment.
        artifact: What its vendor made of it.

    Returns:
        The artifact itself; of kernels, one with a library of its own, which kernel_segment.cc of
        the runtime reads.

    Raises:
        CompileError: as `build_apart`.
    """
    if not isinstance(artifact, HostArtifact):
        return artifact
    apart = build_apart(segment, artifact)
    plan = encode_plan(apart.plan)
    blob = len(plan).to_bytes(8, "little") + plan + apart.library.export()
    wanted = {*artifact.requires.cpu_features, *apart.library.features}
    requires = replace(artifact.requires, cpu_features=tuple(sorted(wanted)))
    return Artifact(segment.name, segment.vendor, blob, apart.constants, artifact.notes, requires)


def compile_apart(segment: Segment, requests: Sequence[Requested]) -> Artifact:
    """Have a segment compiled by its vendor, so that it runs without its model.

    Args:
        segment: what to compile.
        requests: the vendors that were asked for; the segment's is among them.

    Returns:
        The vendor's artifact; of kernels, one that holds a library of its own.

    Raises:
        ByocError: as `byoc.build.segments.compile_segment` and `build_apart`.
    """
    return closed(segment, compile_segment(segment, requests))


def in_plan(
    artifacts: Sequence[Artifact | HostArtifact],
    segments: Sequence[Segment],
    apart: Collection[str],
) -> tuple[tuple[Artifact, ...], Given]:
    """Sort out which segments become tasks of the model's plan.

    Args:
        artifacts: one for each segment that has one.
        segments: the segments of the model.
        apart: names of those that must be able to fail alone.

    Returns:
        An artifact for each, without a blob where its kernels become tasks; and those kernels.

    Raises:
        CompileError: a segment cannot be built apart from its model.
    """
    by_name = {segment.name: segment for segment in segments}
    plain: list[Artifact] = []
    given: dict[str, tuple[Segment, HostArtifact]] = {}
    for artifact in artifacts:
        if not isinstance(artifact, HostArtifact):
            plain.append(artifact)
        elif artifact.segment in apart:
            plain.append(closed(by_name[artifact.segment], artifact))
        else:
            given[artifact.segment] = (by_name[artifact.segment], artifact)
            plain.append(_record(artifact))
    return tuple(plain), given


def _record(artifact: HostArtifact) -> Artifact:
    """What a program says of a segment whose kernels are tasks of its plan."""
    from byoc import host

    wanted = {*artifact.requires.cpu_features, *host.kernel_features(artifact.kernels)}
    requires: Requires = replace(artifact.requires, cpu_features=tuple(sorted(wanted)))
    return Artifact(artifact.segment, artifact.vendor, b"", (), artifact.notes, requires)
