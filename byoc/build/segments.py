"""Segments compiled by their vendors.

In: segments of a partitioned model and the vendors that were asked for. Out: an `Artifact` each,
or a `HostArtifact`, or an error that names vendor and segment, whatever the vendor did wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType

from byoc.build.compiler_lock import COMPILING
from byoc.build.kept_artifacts import is_kept, kept_artifact
from byoc.build.kernel_checks import check_host_artifact
from byoc.contract_checks import check_artifact
from byoc.errors import ByocError, CompileError
from byoc.plugins.discovery import Requested
from byoc.runtime.program import Healing, VendorUse
from byoc.segment import Artifact, HostArtifact, Segment
from byoc.vendor import HostRuntime

__all__ = ["HealSpec", "compile_segment", "compile_segments", "vendor_use"]

HealSpec = bool | Healing | None
"""Which segments get a host fallback. None: those off the CPU; True or a `Healing`: all of them;
False: none."""


def compile_segment(segment: Segment, requests: Sequence[Requested]) -> Artifact | HostArtifact:
    """Have a segment compiled by its vendor.

    Args:
        segment: what to compile.
        requests: the vendors that were asked for; the segment's is among them.

    Returns:
        The vendor's artifact of the segment; kernels where its runtime is a `HostRuntime`.

    Raises:
        ByocError: whatever the vendor raises to refuse.
        CompileError: the vendor fails in another way, or breaks the contract.
    """
    (request,) = (r for r in requests if r.vendor.name == segment.vendor)
    gives_kernels = isinstance(request.vendor.runtime, HostRuntime)
    artifact: Artifact | HostArtifact
    try:
        if is_kept(request.vendor) and not gives_kernels:
            artifact = kept_artifact(segment, request)
        else:
            # A vendor that gives kernels makes them with TVM's compiler.
            with COMPILING if gives_kernels else nullcontext():
                artifact = request.vendor.compile(segment, request.options)
    except ByocError:
        raise
    except Exception as error:  # a vendor's bug must name the vendor and the segment
        raise CompileError(
            f"vendor author: compile() of {segment.vendor!r} failed on segment {segment.name!r} "
            f"({len(segment.nodes)} ops): {type(error).__name__}: {error}; until it is mended, "
            f"compile without {segment.vendor!r}"
        ) from error
    if gives_kernels:
        return check_host_artifact(artifact, segment)
    return check_artifact(artifact, segment)


def compile_segments(
    segments: Sequence[Segment],
    requests: Sequence[Requested],
    heal: HealSpec = None,
    built: Mapping[str, Artifact | HostArtifact] = MappingProxyType({}),
) -> tuple[tuple[Artifact | HostArtifact, ...], dict[str, str]]:
    """Have all segments compiled by their vendors.

    Args:
        segments: what to compile.
        requests: the vendors that were asked for.
        heal: where it asks for it (`Healing.refusals`), a segment that its vendor refuses becomes
            an empty artifact, for its host fallback to stand in.
        built: segment → its artifact, where it is compiled already.

    Returns:
        One artifact per segment, and why some are empty: segment name → what its vendor said.

    Raises:
        ByocError: as `compile_segment`, unless `heal` lets refusals pass.
    """
    lenient = heal is True or (isinstance(heal, Healing) and heal.refusals)
    artifacts: list[Artifact | HostArtifact] = []
    refused: dict[str, str] = {}
    for segment in segments:
        try:
            known = built.get(segment.name)
            artifacts.append(known or compile_segment(segment, requests))
        except ByocError as error:
            if not lenient:
                raise
            refused[segment.name] = str(error)
            artifacts.append(Artifact(segment.name, segment.vendor, b""))
    return tuple(artifacts), refused


def vendor_use(request: Requested) -> VendorUse:
    """Describe a vendor as a program needs it: version, options, runtime, processor.

    Args:
        request: the vendor with its checked options.

    Returns:
        What a `Program` keeps of it.
    """
    vendor = request.vendor
    options = request.options.model_dump(mode="json")  # the same before and after saving
    return VendorUse(vendor.version, options, vendor.runtime, vendor.processor)
