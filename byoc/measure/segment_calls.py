"""What the segments of a model are given and what they answer, for inputs of the whole model.

The model runs once per sample, with a stand-in for every vendor: it calls the segment by itself and
keeps both sides. So whatever calls segments is followed, branches and symbolic shapes too::

    main ──▶ stand-in ──▶ session of dnnl_0 ──▶ outputs ──▶ main
                 └── kept: (inputs, outputs) of dnnl_0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byoc.build.lone_segment import lone_program
from byoc.build.program import compile_program
from byoc.build.segments import vendor_use
from byoc.build.stand_in import stand_in
from byoc.runtime import Session
from byoc.segment import Array, Artifact, Segment, TensorType

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition import PartitionResult
    from byoc.plugins.discovery import Requested

__all__ = ["Recording", "SegmentCall", "lone_session", "record"]


class SegmentCall(NamedTuple):
    """One call of a segment: its inputs and outputs, in order."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


@dataclass
class Recording:
    """A model's runs on samples.

    Attributes:
        outputs: for each sample, the model's outputs by name.
        calls: segment → its first call with each sample; one that was not called is missing.
    """

    outputs: list[Mapping[str, Array]] = field(default_factory=list)
    calls: dict[str, list[SegmentCall]] = field(default_factory=dict)


def lone_session(
    segment: Segment, artifact: Artifact, request: Requested, call: SegmentCall
) -> Session:
    """Make a session that only calls one segment.

    Args:
        segment: the segment.
        artifact: what its vendor made of it.
        request: the vendor.
        call: arrays of the shapes to call it with.

    Returns:
        The session; its inputs and outputs are the segment's, in order.
    """
    reads, writes = (
        [TensorType(a.shape, segment.type(v).dtype) for a, v in zip(arrays, values, strict=True)]
        for arrays, values in ((call.inputs, segment.inputs), (call.outputs, segment.outputs))
    )
    return Session(lone_program(artifact, vendor_use(request), reads, writes))


def record(
    model: Model,
    parts: PartitionResult,
    requests: Sequence[Requested],
    artifacts: Mapping[str, Artifact],
    samples: Sequence[Mapping[str, Any]],
) -> Recording:
    """Run a partitioned model on samples and keep what its segments are given and answer.

    Args:
        model: the model as it was imported.
        parts: what partitioning made of it.
        requests: the vendors that were asked for.
        artifacts: segment → what its vendor made of it.
        samples: inputs of the model by name.

    Returns:
        Outputs of the model, and the calls of its segments.

    Raises:
        InputError: a sample does not fit.
        ByocError: the host cannot run the rest, or a segment fails.
    """
    found = Recording()
    seen: dict[str, SegmentCall] = {}
    sessions: dict[Any, Session] = {}
    asked = {request.vendor.name: request for request in requests}

    def answer(segment: Segment, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        call = SegmentCall(tuple(np.array(a) for a in inputs), tuple(outputs))
        key = (segment.name, *(array.shape for array in inputs))
        if key not in sessions:
            artifact, request = artifacts[segment.name], asked[segment.vendor]
            sessions[key] = lone_session(segment, artifact, request, call)
        made = tuple(sessions[key].run_positional(call.inputs))
        for target, array in zip(outputs, made, strict=True):
            np.copyto(target, array)
        seen.setdefault(segment.name, SegmentCall(call.inputs, made))

    stand_ins = [stand_in(request, parts.segments, answer) for request in requests]
    program, _ = compile_program(model, parts, stand_ins, heal=False)
    session = Session(program)
    for sample in samples:
        seen.clear()
        found.outputs.append(session.run(sample))
        for name, call in seen.items():
            found.calls.setdefault(name, []).append(call)
    return found
