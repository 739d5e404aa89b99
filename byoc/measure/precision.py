"""Which segments compute in a narrower precision: those that stay within a bound of error.

    segment   f32   bf16                          the model as a whole
    dnnl_0    ref   0.004 ≤ bound, faster ──▶ bf16 ┐
    dnnl_1    ref   0.2   > bound         ──▶ f32  ├─▶ error of its outputs ≤ bound? else the
    host      (always f32)                        ┘   segment with the largest error goes back

Every segment is compared with its float32 form on what float32 gives it. Errors of segments add up,
so the model's own outputs are compared as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.build.kernels import closed, compile_apart
from byoc.build.program import compile_program
from byoc.build.segments import HealSpec, compile_segment
from byoc.measure.segment_calls import Recording, SegmentCall, lone_session, record
from byoc.plugins.precision import FLOAT32
from byoc.report.partition_report import PartitionReport
from byoc.runtime import Session
from byoc.runtime.program import Isolation, Program
from byoc.segment import Array, Artifact, HostArtifact, Segment
from byoc.timing.interleaved import interleaved

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.plugins.discovery import Requested

__all__ = ["DEFAULT_ERROR", "compare_precisions"]

DEFAULT_ERROR = 0.05
"""The bound of precision "auto" where none is given: a few times bfloat16's step of 1/256."""

_ROUNDS = 5
_TURNS = 3


@dataclass(frozen=True)
class _Try:
    """A segment in one precision.

    Attributes:
        precision: the word.
        artifact: what the vendor made of it.
        error: against float32.
        seconds: of a call; 0 where that does not matter.
    """

    precision: str
    artifact: Artifact
    error: float = 0.0
    seconds: float = 0.0


def compare_precisions(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    narrow: Mapping[str, Sequence[Requested]],
    samples: Sequence[Mapping[str, Any]],
    *,
    max_error: float,
    fastest: bool,
    heal: HealSpec = None,
    isolation: Isolation | None = None,
) -> tuple[Program, PartitionReport]:
    """Compile each segment in the precision that suits it.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors, computing in float32.
        narrow: precision → the vendors, computing in it where they can.
        samples: inputs to compare on.
        max_error: bound of the relative error of every segment, and of the model's outputs.
        fastest: take what is measured to be fastest; else what is narrow.
        heal: which segments get a host fallback.
        isolation: vendors that run out of process; None: none.

    Returns:
        The program, and the report, which names the segments that stay in float32 and why.

    Raises:
        InputError: a sample does not fit.
        ByocError: what vendors and the host raise.
    """
    wide = {s.name: compile_segment(s, requests) for s in parts.segments}
    alone = {s.name: closed(s, wide[s.name]) for s in parts.segments}
    recording = record(model, parts, requests, alone, samples)
    chosen: dict[str, _Try] = {}
    told: list[str] = []
    for segment in parts.segments:
        calls = recording.calls.get(segment.name)
        tries = _tries(segment, requests, narrow)
        if not calls or not tries:
            continue
        artifact = wide[segment.name]
        if isinstance(artifact, HostArtifact):
            told.append(f"segment {segment.name!r} stays in float32: kernels are not compared")
            continue
        plain = _Try(FLOAT32, artifact)
        best, why = _best(segment, plain, tries, calls, max_error, fastest)
        if best is not plain:
            chosen[segment.name] = best
        told += [f"segment {segment.name!r} {sentence}" for sentence in why]

    def build() -> tuple[Program, PartitionReport]:
        built = {**wide, **{name: found.artifact for name, found in chosen.items()}}
        used = [_asked(r, narrow, chosen.values()) for r in requests]
        report = replace(parts.report, warnings=(*parts.report.warnings, *told))
        return compile_program(
            model, replace(parts, report=report), used, heal, isolation, built=built
        )

    while chosen:
        program, report = build()
        error = _error_of_model(program, recording, samples)
        if error <= max_error:
            return replace(program, artifacts=_noted(program.artifacts, chosen, error)), report
        worst = max(chosen, key=lambda name: chosen[name].error)
        told.append(
            f"segment {worst!r} stays in float32: with it in {chosen[worst].precision} the "
            f"model's outputs differ by {error:.2g}, max_error is {max_error:g}"
        )
        del chosen[worst]
    return build()


def _tries(
    segment: Segment, requests: Sequence[Requested], narrow: Mapping[str, Sequence[Requested]]
) -> dict[str, Requested]:
    """Precision → the segment's vendor computing in it, where it can."""
    (plain,) = (r for r in requests if r.vendor.name == segment.vendor)
    found = {}
    for precision, others in narrow.items():
        (request,) = (r for r in others if r.vendor.name == segment.vendor)
        if request.options != plain.options:
            found[precision] = request
    return found


def _best(
    segment: Segment,
    plain: _Try,
    tries: Mapping[str, Requested],
    calls: Sequence[SegmentCall],
    max_error: float,
    fastest: bool,
) -> tuple[_Try, list[str]]:
    """The form to take, and what there is to say of the others."""
    within, why = [], []
    sessions: dict[str, Session] = {}
    for precision, request in tries.items():
        artifact = compile_apart(segment, [request])
        session = lone_session(segment, artifact, request, calls[0])
        made = [_again(segment, artifact, request, call, calls[0], session) for call in calls]
        error = max(
            _relative(a, b)
            for call, outputs in zip(calls, made, strict=True)
            for a, b in zip(outputs, call.outputs, strict=True)
        )
        if error > max_error:
            why.append(
                f"stays in float32: in {precision} its outputs differ by {error:.2g}, max_error "
                f"is {max_error:g} ({_ops(segment)})"
            )
            continue
        sessions[precision] = session
        within.append(_Try(precision, artifact, error))
    if not within or not fastest:
        return (within[0] if within else plain), why
    request = next(iter(tries.values()))
    sessions[FLOAT32] = lone_session(segment, plain.artifact, request, calls[0])
    seconds = _seconds(sessions, calls[0].inputs)
    timed = [replace(found, seconds=seconds[found.precision]) for found in (plain, *within)]
    best = min(timed, key=lambda found: found.seconds)
    if best.precision != FLOAT32:
        return best, why
    others = ", ".join(f"{t.seconds * 1e3:.3g} ms in {t.precision}" for t in timed[1:])
    why.append(f"stays in float32: {best.seconds * 1e3:.3g} ms a call against {others}")
    return plain, why


def _again(
    segment: Segment,
    artifact: Artifact,
    request: Requested,
    call: SegmentCall,
    first: SegmentCall,
    session: Session,
) -> Sequence[Array]:
    """The segment's outputs for the inputs of a call; `session` takes the shapes of `first`."""
    if [a.shape for a in call.inputs] != [a.shape for a in first.inputs]:
        session = lone_session(segment, artifact, request, call)
    return session.run_positional(call.inputs)


def _seconds(sessions: Mapping[str, Session], inputs: Sequence[Array]) -> dict[str, float]:
    """Median seconds of a call of each, taken in turns."""
    names = list(sessions)
    calls = [lambda s=sessions[name]: s.run_positional(inputs) for name in names]
    found: dict[str, list[float]] = {name: [] for name in names}
    rounds = interleaved(calls, [_TURNS] * len(calls), rotate=True)
    for _, times in zip(range(_ROUNDS), rounds, strict=False):
        for place, seconds in times.items():
            found[names[place]] += seconds
    return {name: median(seconds) for name, seconds in found.items()}


def _asked(
    request: Requested, narrow: Mapping[str, Sequence[Requested]], chosen: Iterable[_Try]
) -> Requested:
    """The vendor with the options that the file is to tell: narrow where a segment of it is."""
    for found in chosen:
        if found.artifact.vendor == request.vendor.name:
            (asked,) = (r for r in narrow[found.precision] if r.vendor.name == request.vendor.name)
            return asked
    return request


def _error_of_model(
    program: Program, recording: Recording, samples: Sequence[Mapping[str, Any]]
) -> float:
    session = Session(program)
    return max(
        _relative(array, expected[name])
        for sample, expected in zip(samples, recording.outputs, strict=True)
        for name, array in session.run(sample).items()
    )


def _relative(found: Array, expected: Array) -> float:
    """Largest difference over the largest magnitude; infinite where only one side is finite."""
    if not expected.size or np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    if expected.dtype.kind not in "fc":
        return float(np.mean(found != expected))  # integers, choices: the share that changed
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not (np.isfinite(a[~same]).all() and np.isfinite(b[~same]).all()):
        return float("inf")
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return float(np.abs(a - b)[~same].max(initial=0.0)) / scale if scale else float("inf")


def _ops(segment: Segment) -> str:
    names = [name for node in segment.nodes for name in node.source[-1:]]
    shown = ", ".join(names[:3])
    return f"{len(segment.nodes)} ops: {shown}{', …' if len(names) > 3 else ''}"


def _noted(
    artifacts: Sequence[Artifact], chosen: Mapping[str, _Try], error: float
) -> tuple[Artifact, ...]:
    """The artifacts, those that are narrow with a note on what that costs; `error`: the model's."""
    notes = {
        name: f"{found.precision}: its outputs differ from float32 by {found.error:.2g}, the "
        f"model's by {error:.2g}"
        for name, found in chosen.items()
    }
    return tuple(
        replace(a, notes=(*a.notes, notes[a.segment])) if a.segment in notes else a
        for a in artifacts
    )
