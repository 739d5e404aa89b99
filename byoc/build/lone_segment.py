"""A segment without its model: a program that only calls it, to time it or to look into it."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.runtime.plan import Plan, PlanTensor, Port, Task
from byoc.runtime.program import Program, VendorUse
from byoc.segment import Artifact, PortType, TensorType

__all__ = ["lone_plan", "lone_program"]


def lone_plan(
    name: str, reads: Sequence[TensorType], writes: Sequence[TensorType], processor: str
) -> Plan:
    """Make a plan that only calls one segment.

    Args:
        name: the segment's.
        reads: types of its inputs, every size known.
        writes: types of its outputs, likewise.
        processor: the queue it runs on.

    Returns:
        A plan with the inputs "in0", "in1", … and the outputs "out0", ….
    """
    tensors = [
        *(PlanTensor(_shape(t), t.dtype, "input", k) for k, t in enumerate(reads)),
        *(PlanTensor(_shape(t), t.dtype, "output", k) for k, t in enumerate(writes)),
    ]
    args = tuple(range(len(tensors)))
    task = Task("segment", name, args, len(writes), processor=processor, source=(name,))
    return Plan(
        inputs=tuple(Port(f"in{k}", k) for k in range(len(reads))),
        outputs=tuple(Port(f"out{k}", len(reads) + k) for k in range(len(writes))),
        tensors=tuple(tensors),
        tasks=(task,),
        arena_bytes=0,
    )


def lone_program(
    artifact: Artifact, use: VendorUse, reads: Sequence[TensorType], writes: Sequence[TensorType]
) -> Program:
    """Make a program that only calls one segment.

    Args:
        artifact: the segment as its vendor compiled it.
        use: how its vendor runs it.
        reads: types of its inputs, every size known.
        writes: types of its outputs, likewise.

    Returns:
        A program for a `Session`, with the ports of `lone_plan`.
    """
    plan = lone_plan(artifact.segment, reads, writes, use.processor)
    return Program(
        name=artifact.segment,
        inputs=tuple(PortType(p.name, t) for p, t in zip(plan.inputs, reads, strict=True)),
        outputs=tuple(PortType(p.name, t) for p, t in zip(plan.outputs, writes, strict=True)),
        body=plan,
        artifacts=(artifact,),
        vendors={artifact.vendor: use},
        segment_outputs={artifact.segment: len(writes)},
    )


def _shape(kind: TensorType) -> tuple[int, ...]:
    return tuple(int(d) for d in kind.shape)
